"""Does an encoder help to outline the lungs? Shenzhen's masks, by the recipe of `siim`; Dice.

Every image has lungs, so that `Dice`, the mean over images, is `Dice_positive` too, and predicting
nothing scores 0. Masks leave out the lung behind the heart. Images are squares of 512 pixels.

Source: network, losses and optimiser as MRM's segmentation configuration; masks, Stirenko et al.
2018 (arXiv:1803.01199). Ours: the split (of `trainers.data.shenzhen`) and the number of updates,
MRM's for 10 % of SIIM-ACR, about the same number of images.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainers import overlays, predictions, scores
from trainers.data import labelled, shenzhen
from trainers.data.segmented import Segmented
from trainers.modules import segmentation

METRIC = "Dice"
Config = segmentation.Config

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "optimizer": "adamw",
        "lr": 2e-5,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "layer_decay": 0.65,
        "schedule": "poly",
        "batch_size": 8,
        "steps": 5_000,
        "warmup_steps": 100,
        "eval_every": 50,
        "precision": "bf16",
        "cache": True,
        "num_workers": 8,
    },
    "quick": {
        "image_px": 64,
        "channels": 32,
        "aux_channels": 24,
        "dropout": 0.0,
        "drop_path": 0.0,
        "cache": True,
        "optimizer": "adamw",
        "lr": 2e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "schedule": "poly",
        "batch_size": 8,
        "steps": 80,
        "warmup_steps": 8,
        "eval_every": 40,
    },
}


class Splits(NamedTuple):
    """What to train, validate and test on."""

    train: Segmented
    val: Segmented
    test: Segmented
    facts: dict[str, Any]


Task = segmentation.Segmenter
collect = segmentation.collect
join = predictions.join_masks
score = scores.mask_scores
bounds = scores.mask_bounds


def open_splits(config: segmentation.Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `shenzhen.read`."""
    split = shenzhen.read(data_path, ratio, seed=seed, lungs=True)
    settings: dict[str, Any] = {
        "px": config.image_px,
        "mean": config.mean,
        "std": config.std,
        "cache": config.cache,
    }
    return Splits(
        Segmented(split.train, train=True, **settings),
        Segmented(split.val, train=False, **settings),
        Segmented(split.test, train=False, **settings),
        split.facts,
    )


def open_folder(config: segmentation.Config, images: Path, labels: Path) -> Segmented:
    """Return, to test on, what `labels` names and `images` holds; see `shenzhen.masked`.

    Raises:
        MissingError: none of the images is there.
    """
    there, missing = labelled.present(shenzhen.masked(labels), images, labels)
    settings = {"px": config.image_px, "mean": config.mean, "std": config.std}
    return Segmented(there, train=False, missing=missing, **settings)


def samples(arrays: Mapping[str, Any], test: Segmented, folder: Path) -> list[tuple[str, str]]:
    """Write overlays of some test images; see `overlays.save`."""
    return overlays.save(dict(arrays), test.picture, folder)
