"""Does an encoder help to find pneumonia? RSNA's boxes, by MGCA's protocol or ours; metric: mAP.

`mAP` is the mean of the average precision at overlaps of 0.4, 0.45, ... 0.75 over every test image
and every box predicted. The published numbers are not that: they leave out images in which nothing
is to be found or nothing was found, and unsure boxes. `mAP_mgca` is made by their rules from the
same predictions, and stands beside it; see `trainers.average_precision`.

Source: MGCA's detection (Wang et al., NeurIPS 2022), and its released code: split, image size,
normalisation, frozen encoder, YOLOv3, AdamW at a constant rate, 50 epochs. Ours: the checkpoint is
the one with the best `mAP` on the validation set (theirs, the best `mAP_mgca`, with training ended
after ten epochs without a better one); bf16.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from trainers import average_precision, overlays, predictions
from trainers.data import rsna
from trainers.data.located import Located
from trainers.modules import detection

METRIC = "mAP"
Config = detection.Config

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "optimizer": "adamw",
        "lr": 5e-4,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 1e-6,
        "schedule": "constant",
        "batch_size": 16,
        "epochs": 50,
        "precision": "bf16",
        "cache": True,
        "num_workers": 8,
    },
    # an encoder and a head from scratch, for a minute of one core; tuned on generated images
    "quick": {
        "head": "faster_rcnn",
        "freeze": False,
        "image_px": 64,
        "channels": 32,
        "hidden": 64,
        "proposals": 50,
        "samples": 16,
        "hflip": True,
        "crop_min": 0.6,
        "negatives": 0.3,
        "cache": True,
        "optimizer": "adamw",
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 8,
        "steps": 600,
        "warmup_steps": 30,
        "eval_every": 200,
    },
}
BY_RATIO: dict[tuple[str, int], dict[str, Any]] = {
    ("paper", 1): {"lr": 2e-4, "batch_size": 8},
}
"""What a preset has otherwise at a share of the labels."""


class Splits(NamedTuple):
    """What to train, validate and test on."""

    train: Located
    val: Located
    test: Located
    facts: dict[str, Any]


Task = detection.Detector
collect = detection.collect
join = predictions.join_boxes
score = average_precision.box_scores
bounds = average_precision.box_bounds


def open_splits(config: detection.Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `rsna.read`."""
    split = rsna.read(data_path, ratio, seed=seed)
    settings = {**_settings(config), "cache": config.cache}
    train = Located(
        split.train,
        train=True,
        hflip=config.hflip,
        crop_min=config.crop_min,
        negatives=None if config.negatives < 0 else config.negatives,
        **settings,
    )
    return Splits(
        train,
        Located(split.val, train=False, **settings),
        Located(split.test, train=False, **settings),
        split.facts,
    )


def open_folder(config: detection.Config, images: Path, labels: Path) -> Located:
    """Return, to test on, what the table `labels` names and `images` holds.

    Raises:
        MissingError: none of the images is there.
        InputError: the table is not what it should be, or a box does not lie in its image.
    """
    there, missing = rsna.read_folder(images, labels)
    return Located(there, train=False, missing=missing, **_settings(config))


def _settings(config: detection.Config) -> dict[str, Any]:
    return {"px": config.image_px, "mean": config.mean, "std": config.std}


def samples(arrays: Mapping[str, Any], test: Located, folder: Path) -> list[tuple[str, str]]:
    """Write some test images with their true and predicted boxes; see `overlays.save_boxes`."""
    return overlays.save_boxes(dict(arrays), test.picture, folder)
