"""Does an encoder help to name fourteen findings? NIH ChestX-ray14, MRM's recipe; mean AUROC.

The head, its loss and its optimiser are MRM's: one learning rate for all layers, no class weights,
and a schedule that grows with the share of the labels. The checkpoint is the one with the best mean
AUROC on the validation list.

Source: MRM's fine-tuning code and its settings for 1, 10 and 100 % of the labels (Zhou et al., ICLR
2023). Ours: bf16 in place of fp16 with loss scaling; at 1 % a validation every ten epochs, since
one of 11,219 images after every nine updates would be nearly all of the run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainers import curves, predictions, scores
from trainers.config import option
from trainers.data import classified, nih
from trainers.data.classified import Classified, Splits
from trainers.modules import classifier
from trainers.weights import AnySize

METRIC = "AUROC"


@dataclass(frozen=True, kw_only=True)
class Config(classifier.Config):
    """What `--task nih` can be told; the defaults are MRM's."""

    split: nih.Which = option(
        "auto", "mrm (also REFERS's lists), official (NIH's own), or auto: mrm where it is there"
    )


PRESETS: dict[str, dict[str, Any]] = {
    "paper": {
        "optimizer": "sgd",
        "lr": 3e-3,
        "momentum": 0.9,
        "weight_decay": 0.0,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 96,
        "steps": 200_000,
        "warmup_steps": 5_000,
        "precision": "bf16",
        "num_workers": 8,
    },
    "quick": {
        "image_px": 64,
        "crop_min": 0.9,
        "drop_path": 0.0,
        "cache": True,
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.05,
        "clip_grad": 1.0,
        "schedule": "cosine",
        "schedule_lead": 1,
        "batch_size": 32,
        "steps": 600,
        "warmup_steps": 30,
        "eval_every": 60,
    },
}

BY_RATIO: dict[tuple[str, int], dict[str, Any]] = {
    ("paper", 1): {"steps": 3_000, "warmup_steps": 50, "lr": 3e-2, "eval_every": 90},
    ("paper", 10): {"steps": 30_000, "warmup_steps": 500, "lr": 3e-3},
}
"""Settings that differ with preset and share of the labels."""


class Task(classifier.Classifier):
    """A classifier of the fourteen findings, each on its own."""

    def __init__(self, config: Config, encoder_size: AnySize) -> None:
        super().__init__(config, encoder_size, classes=len(nih.CLASSES))


collect = classifier.collect
score = scores.label_scores
bounds = scores.label_bounds


def join(parts: Sequence[Sequence[predictions.Scored]]) -> predictions.Arrays:
    """Return the arrays that `predictions.npz` holds."""
    return predictions.join_scores(parts, classes=nih.CLASSES)


def settle(given: dict[str, Any]) -> None:
    """Put the division that the data have into `given`, so that no recipe stands for both.

    Raises:
        MissingError: the data set's folder holds no lists.
    """
    data_path = Path(str(given.get("data_path", "")))
    if given.get("split", "auto") == "auto" and given.get("data_path") and data_path.is_dir():
        given["split"] = nih.which_split(data_path)


def open_splits(config: Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `nih.read`."""
    split = nih.read(data_path, ratio, seed=seed, split=config.split)
    return classified.of_split(split, config)


def open_folder(config: Config, images: Path, labels: Path) -> Classified:
    """Return, to test on, what `labels` names and `images` holds; see `nih.named`.

    Raises:
        MissingError: none of the images is there.
    """
    return classified.of_folder(nih.named(labels), images, labels, config)


def samples(arrays: Mapping[str, Any], test: Classified, folder: Path) -> list[tuple[str, str]]:
    """Draw the curves of the scores; return each picture's path within `folder` and caption."""
    return curves.save(arrays, folder)
