"""ConVIRT as a person runs it: pre-trained, stopped, resumed, fine-tuned with either encoder."""

from __future__ import annotations

import csv
import json
import signal
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet50

from trainers import checkpoints, finetune
from trainers.pretrain import main

TINY = (
    "--method convirt --preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 "
    "--resnet_width 4 --bert_dim 16 --bert_depth 1 --bert_heads 2 --projection_dim 8 "
    "--report_length 12 --vocab_size 200 --device cpu --threads 1 --log_every 1 --batch_size 8 "
    "--text sentence --distortion 1 --warmup_epochs 0"
).split()
PLATEAU = (
    "--optimizer adam --schedule plateau --plateau_patience 1 --eval_every 3 --lr 0.01"
).split()
CHEST = "--preset quick --device cpu --threads 1 --image_px 32 --steps 4 --eval_every 2".split()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 40 small pictures with reports in MRM's form."""
    root = tmp_path_factory.mktemp("records")
    rng = np.random.default_rng(0)
    words = "no focal consolidation small left pleural effusion heart size is normal".split()
    with (root / "training.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image_path", "report_content"])
        for i in range(40):
            Image.fromarray(rng.integers(0, 255, (40, 40), dtype=np.uint8)).save(root / f"{i}.png")
            said = ". ".join(" ".join(rng.choice(words, 4)) for _ in range(3))
            writer.writerow([f"{i}.png", f"FINAL REPORT FINDINGS: {said}."])
    return root


@pytest.fixture(scope="module")
def shenzhen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Shenzhen set in miniature, with lungs."""
    root = tmp_path_factory.mktemp("shenzhen")
    for folder in ("images", "masks"):
        (root / folder).mkdir()
    rng, number = np.random.default_rng(1), 0
    for part, count in {"train": 12, "val": 6, "test": 6}.items():
        lines = []
        for _ in range(count):
            name = f"CHNCXR_{number:04}_{number % 2}"
            image = rng.integers(0, 90, (40, 44)).astype(np.uint8)
            image[:20, :20] += 120 * (number % 2)
            Image.fromarray(image).save(root / "images" / f"{name}.png")
            mask = np.zeros((40, 44), np.uint8)
            mask[10:30, 5:20] = 255
            Image.fromarray(mask).save(root / "masks" / f"{name}.png")
            lines.append(f"{name}.png {1 - number % 2} {number % 2}")
            number += 1
        (root / f"{part}_list.txt").write_text("\n".join(lines) + "\n")
    return root


def arguments(records: Path, folder: Path, *more: str) -> list[str]:
    return ["--data_path", str(records), "--output_dir", str(folder), *TINY, *more]


def metrics(folder: Path, name: str) -> dict[int, float]:
    """Return what was logged under `name` by step, the later attempt's where two logged one."""
    found: dict[int, float] = {}
    for line in (folder / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        if event["kind"] == "metrics" and name in event["values"]:
            found[event["step"]] = event["values"][name]
    return dict(sorted(found.items()))


@pytest.mark.parametrize("encoder", ["resnet50", "vit"])
def test_an_encoder_is_pretrained_then_judged_by_labels_and_by_masks(
    records: Path, shenzhen: Path, tmp_path: Path, encoder: str
) -> None:
    run = tmp_path / "run"
    assert main(arguments(records, run, "--image_encoder", encoder, "--steps", "4")) == 0
    result = json.loads((run / "result.json").read_text())
    for name in ("loss_contrast", "recall_at_1_image_to_text", "recall_at_10_text_to_image"):
        assert np.isfinite(result["values"][f"val/{name}"])
    file = run / checkpoints.ENCODER
    saved = checkpoints.load(file)
    network = saved["size"].get("network", "vit")
    assert network == encoder
    if encoder == "resnet50":
        assert saved["size"]["width"] == 4
        assert saved["model"]["layer4.2.bn3.running_var"].shape == (128,)
    for task in ("shenzhen", "shenzhen_lungs"):
        folder = tmp_path / task
        lungs = ["--channels", "8", "--aux_channels", "4"] if task == "shenzhen_lungs" else []
        words = ["--task", task, "--method", "convirt", "--pretrained", str(file), *CHEST, *lungs]
        places = ["--data_path", str(shenzhen), "--output_dir", str(folder)]
        assert finetune.main([*words, *places, "--layer_decay", "0.5"]) == 0
        scored = json.loads((folder / "result.json").read_text())
        assert 0 <= scored["values"][f"test/{scored['metric']}"] <= 1
        tuned = checkpoints.load(folder / checkpoints.BEST)["model"]
        assert {f"encoder.{name}" for name in saved["model"]} <= tuned.keys()


def test_training_starts_from_torchvisions_weights(records: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    theirs = resnet50().state_dict()
    torch.save(theirs, tmp_path / "resnet50.pth")
    run = tmp_path / "run"
    wide = ["--image_encoder", "resnet50", "--resnet_width", "64", "--steps", "1", "--lr", "1e-12"]
    words = [*wide, "--batch_size", "2", "--pretrained", str(tmp_path / "resnet50.pth")]
    assert main(arguments(records, run, *words)) == 0
    ours = checkpoints.load(run / checkpoints.ENCODER)["model"]
    assert set(theirs) - set(ours) == {"fc.weight", "fc.bias"}
    learnt = [n for n in ours if not n.endswith(("running_mean", "running_var", "tracked"))]
    assert all(torch.allclose(ours[n], theirs[n], atol=1e-6) for n in learnt)


def test_weights_of_the_other_kind_of_encoder_are_refused(
    records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    assert main(arguments(records, run, "--image_encoder", "resnet50", "--steps", "1")) == 0
    start = ["--pretrained", str(run / checkpoints.ENCODER)]
    other = arguments(records, tmp_path / "vit", "--image_encoder", "vit", "--steps", "1")
    assert main([*other, *start]) == 4
    assert "expected a vision transformer" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL]
)
def test_a_stopped_training_on_a_plateau_resumes_to_the_same_weights_bit_for_bit(
    records: Path, tmp_path: Path, number: signal.Signals, cut: Callable[..., int]
) -> None:
    whole, torn = tmp_path / "whole", tmp_path / "torn"
    options = ["--image_encoder", "resnet50", "--steps", "30", "--save_every_s", "0.05", *PLATEAU]
    assert main(arguments(records, whole, *options)) == 0
    assert cut(arguments(records, torn, *options), 13, number) in (143, -number)
    last = str(torn / checkpoints.LAST)
    assert main(arguments(records, torn, *options, "--resume", last)) == 0
    rates = metrics(whole, "train/lr")
    assert min(rates.values()) < max(rates.values())  # it was lowered on the way
    assert metrics(torn, "train/lr") == rates
    assert metrics(torn, "train/loss") == metrics(whole, "train/loss")
    theirs, ours = (checkpoints.load(f / checkpoints.LAST) for f in (whole, torn))
    assert ours["plateau"] == theirs["plateau"]
    for name, value in theirs["model"].items():
        assert torch.equal(value, ours["model"][name]), name
