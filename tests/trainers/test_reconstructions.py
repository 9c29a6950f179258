"""Reconstructions: what a sheet shows, and that each pre-training that rebuilds images has one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainers import plots, reconstructions
from trainers.data import generate
from trainers.modules.patches import Rebuilt
from trainers.pretrain import main

TINY = (
    "--preset quick --image_px 32 --patch_px 8 --embed_dim 24 --num_heads 2 --depth 3 "
    "--device cpu --threads 1 --warmup_epochs 0 --epochs 0 --steps 2 --batch_size 4"
).split()
REPORTS = "--bert_dim 16 --bert_depth 1 --report_length 16 --vocab_size 200".split()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("generated")
    others = set(generate.COLLECTIONS) - {"mimic_cxr", "mimic"}
    few = [word for name in sorted(others) for word in (f"--{name}", "0")]
    line = ["--out", str(root), "--count", "32", "--image_px", "64", "--workers", "1", *few]
    assert generate.main(line) == 0
    return root / "mimic_cxr"


def pictures(folder: Path) -> dict[str, str]:
    events = map(json.loads, (folder / "events.jsonl").read_text().splitlines())
    return {e["path"]: e["caption"] for e in events if e["kind"] == "sample"}


def colours(path: Path) -> set[tuple[int, int, int]]:
    return {colour for _, colour in Image.open(path).convert("RGB").getcolors(1 << 24)}


def test_hidden_patches_are_blank_in_the_column_of_what_was_seen(tmp_path: Path) -> None:
    hidden = torch.zeros(2, 8, 8, dtype=torch.bool)
    hidden[:, 4:] = True
    grey = torch.full((2, 8, 8), 0.25)
    path, caption = reconstructions.save(
        Rebuilt(grey, hidden, {"rebuilt": torch.full((2, 8, 8), 0.75)}), ["a/x.png", "y.png"],
        tmp_path,
    )  # fmt: skip
    assert caption == "50% of the patches hidden and rebuilt; held out: x.png, y.png"
    blank = tuple(int(plots.BLANK[i : i + 2], 16) for i in (1, 3, 5))
    assert {(64, 64, 64), (192, 192, 192), blank} <= colours(tmp_path / path)
    sheet = np.asarray(Image.open(tmp_path / path).convert("RGB"))
    share = {c: (sheet == c).all(axis=2).sum() for c in ((64, 64, 64), (192, 192, 192), blank)}
    assert share[64, 64, 64] / share[192, 192, 192] == pytest.approx(1.5, rel=0.02)
    assert share[blank] / share[192, 192, 192] == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize(
    ("method", "more"),
    [
        ("mae", ["--norm_pix_loss"]),
        ("mrm", REPORTS),
        ("deep_mrm", [*REPORTS, "--tap_blocks", "1,2"]),
    ],
)
def test_a_pretraining_that_rebuilds_images_shows_some_held_out_ones(
    records: Path, tmp_path: Path, method: str, more: list[str]
) -> None:
    line = ["--method", method, "--data_path", str(records), "--output_dir", str(tmp_path)]
    assert main([*line, *TINY, *more]) == 0
    ((path, caption),) = pictures(tmp_path).items()
    assert caption.startswith("75% of the patches hidden")
    image = Image.open(tmp_path / path)
    columns = 5 if method == "deep_mrm" else 3
    assert image.width / plots.DPI == pytest.approx(columns * reconstructions.SIDE + 0.1, abs=0.01)
    values = json.loads((tmp_path / "result.json").read_text())["values"]
    assert values["val/image_error"] == pytest.approx(values["val/loss_image"])
    if method != "mae":
        assert 0 <= values["val/masked_token_accuracy"] <= 1
        assert values["val/loss_report_masked"] > 0
    if method == "deep_mrm":
        assert {"val/image_error_1", "val/image_error_2"} <= values.keys()


def test_a_pretraining_that_rebuilds_no_pixels_shows_none(records: Path, tmp_path: Path) -> None:
    line = ["--method", "mrm+hog", "--data_path", str(records), "--output_dir", str(tmp_path)]
    assert main([*line, *TINY, *REPORTS]) == 0
    assert not pictures(tmp_path)
