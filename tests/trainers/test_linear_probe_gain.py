"""Does `quick` pre-training on 500 pairs make a better encoder than none? Trains for minutes.

`refers` and `refers_mrm` go on from the encoder of `mae`, since their papers' start from a trained
one too. `convirt` has a ResNet and is held against a random one.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
from pathlib import Path

import pytest
import torch

from trainers import checkpoints, pretrain, probe, weights
from trainers.data import generate
from trainers.methods import convirt
from trainers.modules import encoders

SEEDS = (0, 1, 2)
FALL = {"mae": 3.0, "mrm": 2.5, "deep_mrm": 2.5, "convirt": 1.3, "refers": 1.3, "refers_mrm": 1.3}
"""By what factor the training loss falls, from the first update to the mean of the last ten."""
MARGIN = {
    "mae": 0.03,
    "mrm": 0.015,
    "deep_mrm": 0.03,
    "convirt": 0.05,
    "refers": 0.015,
    "refers_mrm": 0.015,
}
"""What each seed's encoder has, in AUROC, over the mean of three random ones."""
FROM_MAE = ("refers", "refers_mrm")


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated")
    counts = ["--mimic", "500", "--nih", "2000", "--siim", "0", "--rsna", "0", "--shenzhen", "0"]
    assert generate.main(["--out", str(root), "--image_px", "128", "--seed", "5", *counts]) == 0
    return root


def probed(sets: Path, *words: str) -> float:
    """Return the mean AUROC of a linear probe on the fourteen findings."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        line = ["--task", "nih", "--data_path", str(sets / "nih"), "--json", *words]
        assert probe.main(line) == 0
    return float(json.loads(said.getvalue())["values"]["linear/AUROC"])


def pretrained(method: str, seed: int, sets: Path, folder: Path, *words: str) -> list[float]:
    """Pre-train as `quick` has it and return the training losses."""
    line = ["--method", method, "--preset", "quick", "--data_path", str(sets / "mimic_cxr")]
    line += ["--output_dir", str(folder), "--seed", str(seed), "--log_every", "1", *words]
    assert pretrain.main([*line, "--device", "cpu", "--threads", "1"]) == 0
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return [e["values"]["train/loss"] for e in events if "train/loss" in e.get("values", {})]


def random_resnet(seed: int, path: Path) -> str:
    """Write the encoder that ConVIRT's `quick` starts from, and return where."""
    torch.manual_seed(seed)
    config = convirt.Config(resnet_width=convirt.PRESETS["quick"]["resnet_width"])
    size = convirt.encoder_size(config)
    encoder = encoders.build(size, image_px=64, drop_path=0.0)
    checkpoints.save(path, weights.encoder_content(encoder, size, config={}, step=0))
    return str(path)


@pytest.mark.long
@pytest.mark.parametrize("seed", SEEDS)
def test_losses_fall_and_a_linear_probe_sees_more_than_in_random_encoders(
    seed: int, sets: Path, tmp_path: Path
) -> None:
    vits = [probed(sets, "--seed", str(s)) for s in SEEDS]
    nets = [
        probed(sets, "--pretrained", random_resnet(s, tmp_path / f"random{s}.pt")) for s in SEEDS
    ]
    mean = {"vit": math.fsum(vits) / len(vits), "resnet": math.fsum(nets) / len(nets)}
    gain = {}
    for method, fall in FALL.items():
        start = str(tmp_path / "mae" / checkpoints.ENCODER)
        words = ["--pretrained", start] if method in FROM_MAE else []
        losses = pretrained(method, seed, sets, tmp_path / method, *words)
        reached = probed(sets, "--pretrained", str(tmp_path / method / checkpoints.ENCODER))
        gain[method] = reached - mean["resnet" if method == "convirt" else "vit"]
        fallen = math.fsum(losses[-10:]) / 10
        # not by logging: the trainers take its handlers over; `pytest -rP` shows it
        told = f"{method}: {reached:.4f}, random {mean}; loss {losses[0]:.3f} to {fallen:.3f}\n"
        sys.stdout.write(told)
        assert fallen < losses[0] / fall, method
    assert all(gain[method] > MARGIN[method] for method in gain), gain
