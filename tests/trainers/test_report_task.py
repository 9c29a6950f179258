"""Does report generation read, train, score and come back from its weights as its protocol says?"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import checkpoints, evaluate, finetune, report_scores
from trainers.config import ConfigError, InputError, resolve
from trainers.data import wording
from trainers.data.batch import collate
from trainers.data.items import BadItem
from trainers.modules.vit import EncoderSize
from trainers.resnets import ResNetSize
from trainers.tasks import report
from trainers.training import Training

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=2, num_heads=2)
TINY = {"image_px": 32, "writer_width": 32, "writer_depth": 1, "writer_heads": 4,
        "writer_inner": 32, "threshold": 1, "memory_slots": 2, "max_length": 16}  # fmt: skip
CONFIG = report.Config(**TINY, hflip="off", dropout=0.0, patch_dropout=0.0, min_words=1)
CORNERS = {"left upper": (0, 0), "right upper": (0, 20), "left lower": (20, 0),
           "right lower": (20, 20)}  # fmt: skip


def text_of(corner: str) -> str:
    return f"There is an opacity in the {corner} field. No effusion."


def write_corners(root: Path, parts: dict[str, int]) -> None:
    """Dark squares with one bright corner, and reports that say which."""
    (root / "images").mkdir(parents=True)
    rows = [("image_path", "report_content", "patient_id", "split")]
    number = 0
    for part, count in parts.items():
        for _ in range(count):
            corner = list(CORNERS)[number % 4]
            top, left = CORNERS[corner]
            pixels = np.random.default_rng(number).integers(0, 60, size=(40, 40)).astype(np.uint8)
            pixels[top : top + 20, left : left + 20] += 150
            name = f"images/n {number}.png"
            Image.fromarray(pixels).save(root / name)
            rows.append((name, text_of(corner), f"P{number}", part))
            number += 1
    with (root / "training.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Many small steps, which threads only slow down."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("corners")
    write_corners(root, {"train": 32, "val": 6, "test": 8})
    return root


def built(folder: Path, config: report.Config = CONFIG, size=SIZE):
    splits = report.open_splits(config, folder, ratio=100, seed=0)
    torch.manual_seed(0)
    model = report.Task(config, size)
    model.prepare(splits)
    return splits, model


def batch_of(part, count: int, *, seed: int = 0) -> dict:
    rng = np.random.default_rng(seed)
    chosen = rng.choice(len(part), size=count, replace=False)
    batch = collate([part.item(int(i), rng) for i in chosen])
    assert not batch.pop("skipped")
    return batch


def test_items_carry_what_training_and_testing_need(folder):
    splits, _ = built(folder)
    assert [len(part) for part in splits[:3]] == [32, 6, 8]
    train = batch_of(splits.train, 4)
    assert train["image"].shape == (4, 1, 3, 32, 32)
    assert train["ids"].shape == train["labels"].shape == (4, 16)
    ids, labels = train["ids"][0].tolist(), train["labels"][0].tolist()
    end = labels.index(wording.IGNORED)
    assert ids[0] == ids[end - 1] == labels[end - 1] == 0
    assert splits.vocabulary.text(ids[1:]).startswith("there is an opacity in the ")
    assert splits.vocabulary.text(ids[1:]).endswith(" field . no effusion .")
    test = batch_of(splits.test, 8)
    assert "ids" not in test
    assert set(test["report"]) == {text_of(corner) for corner in CORNERS}


def test_words_are_learnt_from_training_alone(tmp_path):
    write_corners(tmp_path, {"train": 8, "val": 4, "test": 4})
    table = tmp_path / "training.csv"
    lines = [
        line.replace("effusion", "quagga") if line.endswith(",test") else line
        for line in table.read_text().splitlines()
    ]
    table.write_text("\n".join(lines) + "\n")
    splits, model = built(tmp_path)
    assert "effusion" in splits.vocabulary.words
    assert "quagga" not in splits.vocabulary.words
    with torch.inference_mode():
        said = model.predict(batch_of(splits.test, 4))
    assert all(text.endswith(" field . no <unk> .") for text in said["reference"])


def test_references_are_cut_unless_asked_for_in_full(folder):
    for reference, words in (("cut", 5), ("full", 13)):
        config = report.Config(**{**TINY, "max_length": 6}, min_words=1, reference=reference)
        splits, model = built(folder, config)
        with torch.inference_mode():
            said = model.predict(batch_of(splits.test, 2))
        assert {len(text.split()) for text in said["reference"]} == {words}
        assert all(len(text.split()) <= 6 for text in said["generated"])


def test_mirroring_exchanges_the_sides_in_the_text_if_asked_to(folder):
    for hflip, told in (("on", {"left"}), ("on_with_text_swap", {"left", "right"})):
        config = report.Config(**TINY, min_words=1, hflip=hflip)
        splits = report.open_splits(config, folder, ratio=100, seed=0)
        seen, bright = set(), set()
        for seed in range(12):  # item 0 has its bright corner at the left
            item = splits.train.item(0, np.random.default_rng(seed))
            seen |= set(splits.vocabulary.text(item["ids"][1:].tolist()).split())
            image = item["image"][0, 0]
            bright.add("left" if image[:16, :8].mean() > image[:16, 24:].mean() else "right")
        assert seen & {"left", "right"} == told
        assert bright == {"left", "right"}


def test_an_indiana_report_is_written_from_both_images_one_after_the_other(tmp_path):
    parts = {}
    for part, count in (("train", 4), ("val", 2), ("test", 2)):
        parts[part] = []
        for number in range(count):
            name = f"CXR{len(parts)}{number}_IM-0001"
            (tmp_path / "images" / name).mkdir(parents=True)
            for view in (0, 1):
                grey = Image.new("L", (30, 40), 40 + 100 * view)
                grey.save(tmp_path / "images" / name / f"{view}.png")
            paths = [f"{name}/0.png", f"{name}/1.png"]
            parts[part].append({"id": name, "report": "Lungs are clear.", "image_path": paths})
    (tmp_path / "annotation.json").write_text(json.dumps(parts))
    config = report.Config(**{**TINY, "max_length": 0})
    splits, model = built(tmp_path, config)
    assert splits.vocabulary.length == 60
    batch = batch_of(splits.test, 2)
    assert batch["image"].shape == (2, 2, 3, 32, 32)
    assert batch["image"][0, 0].mean() < batch["image"][0, 1].mean()
    model.eval()
    with torch.inference_mode():
        both = model._patches(batch["image"])
        second = model._patches(batch["image"][:, 1:])
    assert both.shape == (2, 32, 24)
    torch.testing.assert_close(both[:, 16:], second)


def test_two_steps_reach_encoder_and_writer_and_a_frozen_encoder_stays(folder):
    for freeze in (False, True):
        config = report.Config(**TINY, min_words=1, freeze=freeze)
        splits, model = built(folder, config)
        before = {n: p.clone() for n, p in model.named_parameters()}
        optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
        model.train()
        assert model.encoder.training is not freeze
        for step in range(2):
            losses = model(batch_of(splits.train, 8, seed=step))
            assert set(losses) == {"words", "monitor/accuracy"}
            assert torch.isfinite(losses["words"])
            optimizer.zero_grad()
            losses["words"].backward()
            optimizer.step()
        moved = {n for n, p in model.named_parameters() if not torch.equal(p, before[n])}
        assert any(n.startswith("writer.memory") for n in moved)
        assert any(n.startswith("encoder.blocks.0.") for n in moved) is not freeze


def test_the_encoder_learns_at_half_the_rate():
    assert report.rate_of(CONFIG, "encoder.blocks.0.attn.qkv.weight") == 0.5
    assert report.rate_of(CONFIG, "writer.words.weight") == 1.0


def test_weights_bring_their_words_along(folder, tmp_path):
    splits, model = built(folder)
    path = tmp_path / "best.pt"
    checkpoints.save(path, {"model": model.state_dict()})
    fresh = report.Task(CONFIG, SIZE)
    fresh.load_state_dict(checkpoints.load(path)["model"])
    assert fresh.vocabulary == splits.vocabulary
    assert fresh.constant == splits.constant
    batch = batch_of(splits.test, 8)
    with torch.inference_mode():
        assert fresh.eval().predict(batch) == model.eval().predict(batch)
    other = splits._replace(vocabulary=wording.learn(["a b"], "iu", threshold=1, length=9))
    with pytest.raises(InputError, match="other words"):
        fresh.prepare(other)


def test_a_resnet_shows_the_places_of_its_last_map(folder):
    size = ResNetSize(width=4)
    splits, model = built(folder, size=size)
    with torch.inference_mode():
        assert model._patches(batch_of(splits.test, 2)["image"]).shape == (2, 1, size.embed_dim)


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> Path:
    """A fine-tuning that has learnt which corner is bright."""
    made = tmp_path_factory.mktemp("run") / "run"
    words = [f"--{k}={v}" for k, v in TINY.items() if k not in ("memory_slots",)]
    argv = [
        "--task", "report", "--preset", "quick", "--data_path", str(folder), "--device", "cpu",
        "--output_dir", str(made), "--threads", "1", "--steps", "220", "--eval_every", "110",
        "--min_words", "1", "--batch_size", "8", "--lr", "3e-3", *words,
    ]  # fmt: skip
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(report_scores, "_meteor", lambda pairs: None)  # Java takes ten seconds
        assert finetune.main(argv) == 0
    return made


def test_it_writes_what_it_sees_and_beats_the_best_constant_report(run):
    values = json.loads((run / "result.json").read_text())["values"]
    assert 0.5 < values["test/BLEU-4_constant"] < 0.85
    assert values["test/BLEU-4"] > values["test/BLEU-4_constant"] + 0.1
    assert values["test/F1_rules"] >= values["test/F1_rules_constant"]


def test_scores_are_computed_again_from_what_was_written(run, monkeypatch):
    monkeypatch.setattr(report_scores, "_meteor", lambda pairs: None)
    result = json.loads((run / "result.json").read_text())
    again = evaluate.recompute("report", [run / "predictions.npz"], seed=0)
    kept = {name: value for name, value in result["values"].items() if name.startswith("test/")}
    assert again["values"] == pytest.approx(kept)
    assert again["bounds"]["test/BLEU-4"] == pytest.approx(result["bounds"]["test/BLEU-4"])
    with np.load(run / "predictions.npz") as arrays:
        assert arrays["generated_labels_rules"].shape == (8, 14)
        assert set(arrays["reference"]) == {
            f"there is an opacity in the {corner} field . no effusion ." for corner in CORNERS
        }


def test_reports_are_shown_beside_the_true_ones(run):
    told = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
    shown = [event["path"] for event in told if event["kind"] == "sample"]
    assert shown == ["samples/reports.md", *(f"samples/report-{n}.png" for n in (1, 2, 3, 4))]
    assert "**True.** there is an opacity in the" in (run / shown[0]).read_text()
    with Image.open(run / shown[1]) as image:
        assert image.width > 1000


def test_a_folder_of_unseen_images_is_tested_on(folder, run, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report_scores, "_meteor", lambda pairs: None)
    labels = tmp_path / "labels.csv"
    rows = [(f"n {n}.png", text_of(list(CORNERS)[n % 4])) for n in range(38, 46)]
    with labels.open("w", newline="") as file:
        csv.writer(file).writerows([("image", "report"), *rows, ("gone.png", "Not there.")])
    argv = ["--task", "report", "--checkpoint", str(run / "checkpoints/best.pt"), "--images",
            str(folder), "--labels", str(labels), "--device", "cpu", "--json"]  # fmt: skip
    assert evaluate.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    result = json.loads((run / "result.json").read_text())
    assert said["values"]["test/BLEU-4"] == pytest.approx(result["values"]["test/BLEU-4"])
    assert said["missing"] == 1


def test_a_broken_image_is_named(tmp_path):
    write_corners(tmp_path, {"train": 8, "val": 4, "test": 4})
    splits = report.open_splits(CONFIG, tmp_path, ratio=100, seed=0)
    path = splits.test.items[0].images[0]
    path.write_bytes(path.read_bytes()[:80])
    with pytest.raises(BadItem, match=path.name):
        splits.test.item(0, np.random.default_rng(0))


def test_words_that_are_too_rare_stop_the_run(folder):
    config = report.Config(**{**TINY, "threshold": 1000})
    with pytest.raises(InputError, match="lower `threshold`"):
        report.open_splits(config, folder, ratio=100, seed=0)


def test_the_rules_of_the_data_go_into_the_recipe(folder, capsys):
    argv = ["--task", "report", "--preset", "quick", "--data_path", str(folder), "--print-config"]
    assert finetune.main(argv) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["rules"] == "mimic"
    assert finetune.main([*argv, "--rules", "iu"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] != said["recipe"]


def test_validation_looks_at_as_many_as_it_is_told(folder):
    config = report.Config(**TINY, val_items=3)
    names = [item.name for item in report.open_splits(config, folder, ratio=100, seed=0).val.items]
    assert names == ["images/n 32.png", "images/n 34.png", "images/n 37.png"]


@pytest.mark.parametrize(
    "given",
    [{"beam_size": 0}, {"max_length": -1}, {"dropout": 1.0}, {"writer_width": 36},
     {"chexbert_weights": "a.pth"}],
)  # fmt: skip
def test_settings_that_cannot_work_are_refused(given):
    with pytest.raises(ConfigError, match=next(iter(given))):
        report.Config(**given)


@pytest.mark.parametrize("preset", ["paper", "quick"])
def test_each_preset_names_settings_that_exist(preset):
    training, config = resolve([Training, report.Config], preset=report.PRESETS[preset], given={})
    if preset == "paper":
        assert (config.writer_width, config.writer_depth, config.memory_slots) == (512, 3, 3)
        assert (config.beam_size, config.reference, config.report_text) == (3, "cut", "findings")
        assert training.lr * config.encoder_rate == pytest.approx(5e-5)
