"""Is an encoder shown images by the mean and deviation that it was trained with, everywhere?"""

from __future__ import annotations

import csv
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import catalog, finetune, normalisation, pretrain, probe, weights
from trainers.config import ConfigError, MissingError, parse_value
from trainers.data import records as record_lists
from trainers.data import tokens
from trainers.data.batch import Seeded
from trainers.modules import targets, vit
from trainers.normalisation import IMAGENET, JAX, MRM, Levels
from trainers.weights import EncoderSize

SIZE = EncoderSize(image_px=32, patch_px=8, embed_dim=24, depth=2, num_heads=2)
METHODS = [name for name in pretrain.pretrainable() if name == catalog.base_of(name)]


def write_encoder(path: Path, config: dict[str, Any]) -> Path:
    encoder = vit.build_encoder(SIZE, fixed_positions=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(weights.encoder_content(encoder, SIZE, config=config, step=1), path)
    return path


def own(method: str) -> dict[str, Any]:
    return {"program": "pretrain", "method": method, "recipe": "x"}


@pytest.fixture(scope="module")
def black(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records whose radiographs are black throughout."""
    root = tmp_path_factory.mktemp("black")
    with (root / "training.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"])
        for i in range(20):
            Image.new("L", (40, 40)).save(root / f"{i}.png")
            out.writerow([f"{i}.png", "No focal consolidation. Heart size is normal. Clear lungs."])
    return root


@pytest.mark.parametrize("method", METHODS)
def test_a_method_normalises_its_images_as_its_encoder_says(
    method: str, black: Path, tmp_path: Path
) -> None:
    argv = ["--method", method, "--preset", "quick", "--data_path", str(black), "--vocab_size",
            "200", "--output_dir", str(tmp_path)]  # fmt: skip
    config = pretrain.configure(argv).configs[-1]
    module = pretrain.method_module(method)
    found = record_lists.read_records(black)
    tokenizer = None
    if pretrain.reads_reports(module):
        kept = tmp_path / "tokenizer.json"
        tokens.train_tokenizer([r.report for r in found.train], 200).save(str(kept))
        tokenizer = pretrain.read_tokenizer(module, config, kept)
    item = Seeded(module.items(config, found.val, tokenizer, train=False), 0)[0, 0]
    images = [
        v for v in item.values() if torch.is_tensor(v) and v.is_floating_point() and v.ndim > 2
    ]
    assert images
    told = normalisation.of_method(method)
    wanted = -torch.tensor(told.mean) / torch.tensor(told.std)
    for image in images:
        seen = image.flatten(0, -4) if image.ndim > 3 else image[None]
        assert torch.allclose(seen.mean(dim=(0, 2, 3)), wanted.expand(3), atol=1e-5)


@pytest.mark.parametrize(
    ("method", "told"), [("mae", IMAGENET), ("mrm+hog", MRM), ("refers", IMAGENET)]
)
def test_an_encoder_of_a_run_carries_them(
    method: str, told: normalisation.Normalisation, tmp_path: Path
) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own(method))
    content = torch.load(path, weights_only=True)
    assert (content["mean"], content["std"]) == (list(told.mean), list(told.std))
    assert weights.load_encoder(path)[2].normalisation == told


def test_what_the_file_says_outranks_its_method(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("mae"))
    content = torch.load(path, weights_only=True)
    torch.save({**content, "mean": [0.1], "std": [0.2]}, path)
    assert weights.normalisation_at(path) == ((0.1,), (0.2,))


def test_a_file_that_does_not_tell_is_taken_for_mrms_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_encoder(tmp_path / "encoder.pt", {})
    with caplog.at_level(logging.WARNING):
        assert weights.normalisation_at(path) == MRM
    assert str(path) in caplog.text
    assert "0.4978" in caplog.text


@pytest.mark.parametrize(
    ("kind", "told"),
    [("mrm", MRM), ("npz", JAX), ("mae", IMAGENET), ("refers", IMAGENET), ("timm", IMAGENET)],
)
def test_of_published_files_it_follows_from_the_layout(
    kind: str, told: normalisation.Normalisation
) -> None:
    assert normalisation.of_file({}, kind) == told


def configured(task: str, *more: str) -> dict[str, Any]:
    return finetune.configure(["--task", task, "--preset", "quick", *more]).flat


@pytest.mark.parametrize("task", ["nih", "siim", "report", "shenzhen_lungs", "covid"])
def test_a_fine_tuning_takes_them_from_its_encoder_unless_told_otherwise(
    task: str, tmp_path: Path
) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("mae"))
    start = ("--method", "mae", "--pretrained", str(path))
    taken = configured(task, *start)
    assert (taken["mean"], taken["std"]) == IMAGENET
    told = configured(task, *start, "--mean", "0.5")
    assert (told["mean"], told["std"]) == (0.5, IMAGENET.std)
    three = configured(task, *start, "--mean=[0.1, 0.2, 0.3]", "--std", "auto")
    assert (three["mean"], three["std"]) == ((0.1, 0.2, 0.3), IMAGENET.std)
    assert len({taken["recipe"], told["recipe"], three["recipe"]}) == 3


def test_a_printed_configuration_is_taken_back_as_it_was(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("refers"))
    flat = configured("nih", "--method", "refers", "--pretrained", str(path))
    kept = tmp_path / "config.json"
    kept.write_text(json.dumps(flat))
    assert configured("nih", "--config", str(kept)) == flat


def test_a_run_that_is_yet_to_write_its_encoder_is_asked_for_its_method(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    (run / "config.json").write_text(json.dumps(own("refers")))
    path = run / "checkpoints/encoder.pt"
    before = configured("nih", "--method", "refers", "--pretrained", str(path))
    assert before["mean"] == IMAGENET.mean
    write_encoder(path, own("refers"))
    assert configured("nih", "--method", "refers", "--pretrained", str(path)) == before


def test_a_run_that_is_only_planned_is_taken_by_its_method(tmp_path: Path) -> None:
    path = tmp_path / "runs/later/checkpoints/encoder.pt"
    start = ("--method", "refers", "--pretrained", str(path))
    assert configured("nih", *start, "--encoder_recipe", "r")["mean"] == IMAGENET.mean
    with pytest.raises(MissingError):
        configured("nih", *start)


def test_without_an_encoder_and_with_mrms_the_recipe_is_what_it_was(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("mrm"))
    for start in ((), ("--method", "mrm", "--pretrained", str(path))):
        plain = configured("nih", *start)
        assert (plain["mean"], plain["std"]) == (0.4978, 0.2449)
        assert (
            plain["recipe"] == configured("nih", *start, "--mean=0.4978", "--std=0.2449")["recipe"]
        )


def test_detection_keeps_its_protocols_half_unless_the_encoders_is_asked_for(
    tmp_path: Path,
) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("mae"))
    start = ("--method", "mae", "--pretrained", str(path))
    assert configured("rsna", *start)["mean"] == 0.5
    assert configured("rsna", *start, "--mean", "auto")["mean"] == IMAGENET.mean


@pytest.mark.parametrize("value", ["a", "0.1,0.2", "nan", [], True])
def test_what_is_no_grey_level_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"expected a number, three|`mean` is"):
        parse_value("mean", Levels, value)


def test_a_deviation_of_zero_is_refused() -> None:
    with pytest.raises(ConfigError, match="`std` is 0"):
        configured("nih", "--std", "0")


def test_a_teacher_is_shown_images_as_it_knows_them(tmp_path: Path) -> None:
    path = write_encoder(tmp_path / "encoder.pt", own("mae"))
    teacher = targets.Teacher(path, 4)
    assert teacher.mean.flatten().tolist() == pytest.approx(IMAGENET.mean)
    assert teacher.std.flatten().tolist() == pytest.approx(IMAGENET.std)


def write_shenzhen(root: Path) -> None:
    (root / "images").mkdir(parents=True)
    for part, count in (("train", 12), ("val", 4), ("test", 6)):
        lines = []
        for i in range(count):
            name = f"CHNCXR_{len(list((root / 'images').iterdir())):04d}_{i % 2}.png"
            grey = np.random.default_rng(i).integers(0, 255, (40, 40), dtype=np.uint8)
            Image.fromarray(grey).save(root / "images" / name)
            lines.append(f"{name} {1 - i % 2} {i % 2}\n")
        (root / f"{part}_list.txt").write_text("".join(lines))


def test_a_run_and_a_probe_say_which_they_used(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, run = tmp_path / "data", tmp_path / "run"
    write_shenzhen(data)
    path = write_encoder(tmp_path / "encoder.pt", own("mae"))
    line = ["--task", "shenzhen", "--data_path", str(data), "--pretrained", str(path)]
    made = ["--method", "mae", "--preset", "quick", "--output_dir", str(run), "--device", "cpu",
            "--threads", "1", "--image_px", "32", "--steps", "1", "--warmup_steps", "0",
            "--eval_every", "1"]  # fmt: skip
    assert finetune.main([*line, *made]) == 0
    result = json.loads((run / "result.json").read_text())
    assert result["encoder"]["normalisation"] == {
        "mean": list(IMAGENET.mean), "std": list(IMAGENET.std)
    }  # fmt: skip
    assert json.loads((run / "config.json").read_text())["mean"] == list(IMAGENET.mean)
    capsys.readouterr()
    assert probe.main([*line, "--device", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] == list(IMAGENET.mean)
    assert probe.main([*line, "--mean", "0.5", "--device", "cpu", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["mean"], told["std"]) == (0.5, list(IMAGENET.std))
