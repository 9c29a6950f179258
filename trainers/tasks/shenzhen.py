"""Does an encoder help to see tuberculosis? The Shenzhen set, MRM's recipe for labels; AUROC.

Source: network and optimiser as MRM's fine-tuning on NIH ChestX-ray14; the learning rate of 3e-2 as
REFERS (Zhou et al., 2022) has it for small sets, this one among them; 1,000 updates after 50 of
warm-up as MRM's authors give them for another set of a few hundred images (COVID-19). Ours: bf16 in
place of fp16, and the validation set (see `trainers.data.shenzhen`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trainers import curves, predictions, scores
from trainers.data import labelled, shenzhen
from trainers.data.classified import Classified
from trainers.modules import classifier
from trainers.weights import AnySize

METRIC = "AUROC"
Config = classifier.Config

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "optimizer": "sgd",
        "lr": 3e-2,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 96,
        "steps": 1_000,
        "warmup_steps": 50,
        "precision": "bf16",
        "cache": True,
        "num_workers": 8,
    },
    "quick": {
        "image_px": 64,
        "crop_min": 0.9,
        "drop_path": 0.0,
        "cache": True,
        "optimizer": "adamw",
        "lr": 5e-4,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 32,
        "steps": 150,
        "warmup_steps": 10,
        "eval_every": 30,
    },
}


class Splits(NamedTuple):
    """What to train, validate and test on."""

    train: Classified
    val: Classified
    test: Classified
    facts: dict[str, Any]


class Task(classifier.Classifier):
    """A classifier of tuberculosis."""

    def __init__(self, config: classifier.Config, encoder_size: AnySize) -> None:
        super().__init__(config, encoder_size, classes=len(shenzhen.CLASSES))


collect = classifier.collect
score = scores.label_scores
bounds = scores.label_bounds


def join(parts: Sequence[Sequence[predictions.Scored]]) -> predictions.Arrays:
    """Return the arrays that `predictions.npz` holds."""
    return predictions.join_scores(parts, classes=shenzhen.CLASSES)


def open_splits(config: classifier.Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `shenzhen.read`."""
    split = shenzhen.read(data_path, ratio, seed=seed)
    settings: dict[str, Any] = {
        "px": config.image_px,
        "mean": config.mean,
        "std": config.std,
        "cache": config.cache,
    }
    return Splits(
        Classified(split.train, train=True, crop_min=config.crop_min, **settings),
        Classified(split.val, train=False, **settings),
        Classified(split.test, train=False, **settings),
        split.facts,
    )


def open_folder(config: classifier.Config, images: Path, labels: Path) -> Classified:
    """Return, to test on, what `labels` names and `images` holds; see `shenzhen.named`.

    Raises:
        MissingError: none of the images is there.
    """
    there, missing = labelled.present(shenzhen.named(labels), images, labels)
    settings = {"px": config.image_px, "mean": config.mean, "std": config.std}
    return Classified(there, train=False, missing=missing, **settings)


def samples(arrays: Mapping[str, Any], test: Classified, folder: Path) -> list[tuple[str, str]]:
    """Draw the curves of the scores; return each picture's path within `folder` and caption."""
    return curves.save(arrays, folder)
