"""Is a variant of a method pre-trained as what it is called, and can it be called nothing else?"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import catalog, checkpoints, weights
from trainers.methods import mrm
from trainers.pretrain import main, method_module

TINY = (
    "--preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 --depth 2 "
    "--decoder_dim 16 --decoder_depth 1 --bert_dim 16 --bert_depth 1 --bert_heads 2 "
    "--report_length 16 --vocab_size 200 --device cpu --threads 1 --log_every 1 --warmup_epochs 0 "
    "--batch_size 8 --steps 3"
).split()
AUX = "--tap_blocks 1 --aux_dim 16 --aux_depth 1 --aux_heads 2".split()
OURS = [name for name in catalog.variants() if catalog.base_of(name) in ("mrm", "deep_mrm")]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 small pictures with reports, and a table of how they were taken."""
    root = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    words = "no focal consolidation small left pleural effusion heart size is normal".split()
    with (
        (root / "training.csv").open("w", newline="") as file,
        (root / "mimic-cxr-2.0.0-metadata.csv").open("w", newline="") as about,
    ):
        writer, facts = csv.writer(file), csv.writer(about)
        writer.writerow(["image_path", "report_content"])
        facts.writerow(["dicom_id", "ViewPosition"])
        for i in range(30):
            Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{i}.png")
            writer.writerow([f"{i}.png", "FINAL REPORT " + " ".join(rng.choice(words, 8)) + " ."])
            facts.writerow([str(i), "AP" if i % 3 else "PA"])
    return root


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of a small encoder, as a run leaves them."""
    torch.manual_seed(3)
    config = mrm.Config(
        image_px=32, patch_px=8, embed_dim=24, num_heads=2, depth=2, decoder_dim=24, bert_dim=12
    )
    made = mrm.Method(config, vocab_size=30)
    path = tmp_path_factory.mktemp("teacher") / "encoder.pt"
    torch.save(weights.encoder_content(made.encoder, made.size, config={}, step=1), path)
    return path


@pytest.mark.parametrize("name", catalog.variants())
def test_a_variant_is_called_after_a_method_that_is_none_and_changes_something(name: str) -> None:
    entry = catalog.METHODS[name]
    base, plus, suffix = name.partition("+")
    assert (entry.base, plus) == (base, "+")
    assert suffix in entry.settings.values()
    assert base in catalog.main_methods()
    assert entry.pretrains


def test_variants_stand_right_below_their_method() -> None:
    order = [catalog.base_of(name) for name in catalog.METHODS]
    assert order == sorted(order, key=order.index)


def arguments(records: Path, folder: Path, method: str, teacher: Path, *more: str) -> list[str]:
    own = AUX if catalog.base_of(method) == "deep_mrm" else []
    own = [*own, "--teacher", str(teacher)] if method.endswith("+dino") else own
    places = ["--data_path", str(records), "--output_dir", str(folder)]
    return ["--method", method, *places, *TINY, *own, *more]


def resolved(capsys: pytest.CaptureFixture[str], words: list[str]) -> dict[str, object]:
    assert main([*words, "--print-config"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", OURS)
def test_a_variant_trains_and_is_recorded_under_its_own_name(
    records: Path, tmp_path: Path, teacher: Path, name: str
) -> None:
    assert main(arguments(records, tmp_path, name, teacher)) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    config = json.loads((tmp_path / "config.json").read_text())
    assert result["method"] == config["method"] == name
    assert all(config[key] == value for key, value in catalog.METHODS[name].settings.items())
    values = result["values"]
    assert all(np.isfinite(value) for value in values.values())
    logged = {"val/loss_image", "val/loss_report_masked", "val/loss_report_all",
              "val/masked_token_accuracy"}  # fmt: skip
    assert logged <= values.keys()
    contrasts = config["contrast"] != "none"
    for name in ("val/recall_at_1_image_to_text", "val/loss_contrast"):
        assert (name in values) == contrasts
    _, size, report = weights.load_encoder(tmp_path / checkpoints.ENCODER)
    assert (size.embed_dim, report.unexpected) == (24, {})


@pytest.mark.parametrize("name", OURS)
def test_what_makes_the_variant_cannot_be_given_otherwise(
    records: Path, tmp_path: Path, teacher: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ((key, value),) = catalog.METHODS[name].settings.items()
    words = arguments(records, tmp_path, name, teacher)
    other = {"target": "pixel", "contrast": "none"}[key]
    assert main([*words, f"--{key}", other]) == 2
    assert f"`{name}` means `{catalog.base_of(name)}` with `{key}` {value}" in (
        capsys.readouterr().err
    )
    assert resolved(capsys, [*words, f"--{key}", value]) == resolved(capsys, words)


def test_a_variants_configuration_is_accepted_again(
    records: Path, tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = resolved(capsys, arguments(records, tmp_path, "mrm+dino", teacher))
    (tmp_path / "c.json").write_text(json.dumps(first))
    assert resolved(capsys, ["--config", str(tmp_path / "c.json")]) == first


def test_the_recipe_knows_the_teacher_by_what_is_in_it_not_by_its_place(
    records: Path, tmp_path: Path, teacher: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moved, other = tmp_path / "moved.pt", tmp_path / "other.pt"
    moved.write_bytes(teacher.read_bytes())
    other.write_bytes(teacher.read_bytes() + b" ")
    recipes = [
        resolved(capsys, arguments(records, tmp_path, "mrm+dino", path))["recipe"]
        for path in (teacher, moved, other)
    ]
    assert recipes[0] == recipes[1] != recipes[2]


def test_a_teacher_that_is_not_there_or_not_given_is_said_before_anything_is_written(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(arguments(records, run, "mrm+dino", Path("/nowhere.pth"))) == 3
    assert "/nowhere.pth" in capsys.readouterr().err
    words = ["--method", "mrm+dino", "--data_path", str(records), "--output_dir", str(run), *TINY]
    assert main(words) == 2
    assert "`teacher` is not given" in capsys.readouterr().err
    assert not run.exists()


def test_a_variant_is_made_by_the_file_of_its_method() -> None:
    assert method_module("mrm+hog") is mrm


def test_a_condition_of_labels_reads_the_metadata_beside_the_images(
    records: Path, tmp_path: Path, teacher: Path
) -> None:
    words = arguments(records, tmp_path, "mrm+conditional", teacher, "--condition", "labels")
    assert main(words) == 0
    values = json.loads((tmp_path / "result.json").read_text())["values"]
    assert 0 <= values["val/alone"] <= 1
    assert np.isfinite(values["val/loss_contrast"])


def test_a_growing_contrast_goes_on_where_it_was_when_a_run_is_resumed(
    records: Path, tmp_path: Path, teacher: Path
) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    plan = ["--contrast_ramp", "2", "--schedule", "constant"]
    assert main(arguments(records, whole, "mrm+infonce", teacher, *plan)) == 0
    # a run of two updates, made to look as if it had been cut after them
    assert main(arguments(records, cut, "mrm+infonce", teacher, *plan, "--steps", "2")) == 0
    last = checkpoints.load(cut / checkpoints.LAST)
    last["config"] = checkpoints.load(whole / checkpoints.LAST)["config"]
    checkpoints.save(cut / checkpoints.LAST, last)
    again = ["--resume", str(cut / checkpoints.LAST)]
    assert main(arguments(records, cut, "mrm+infonce", teacher, *plan, *again)) == 0
    theirs, ours = (checkpoints.load(f / checkpoints.LAST)["model"] for f in (whole, cut))
    assert all(torch.equal(value, ours[name]) for name, value in theirs.items())


def test_a_contrast_is_gone_on_from_with_its_projections(
    records: Path, tmp_path: Path, teacher: Path
) -> None:
    assert main(arguments(records, tmp_path, "mrm+infonce", teacher)) == 0
    last = checkpoints.load(tmp_path / checkpoints.LAST)["model"]
    known = ("image_px", "patch_px", "embed_dim", "num_heads", "depth", "decoder_dim",
             "decoder_depth", "decoder_heads", "bert_dim", "bert_depth", "bert_heads",
             "report_length", "contrast")  # fmt: skip
    config = json.loads((tmp_path / "config.json").read_text())
    made = mrm.Method(
        mrm.Config(**{name: config[name] for name in known}),
        vocab_size=len(last["report_decoder.bert_encoder.model.cls.predictions.bias"]),
    )
    report = weights.start_from(made, tmp_path / checkpoints.LAST)
    assert report.missing == ()
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in last.items())
