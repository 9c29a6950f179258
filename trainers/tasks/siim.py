"""Does an encoder help to outline a pneumothorax? SIIM-ACR by MRM's recipe; metric: Dice.

`Dice` is the published one: of each image at its original size, where an image without a
pneumothorax scores 1 if nothing is predicted and 0 otherwise; the mean over all images. Most of
it is earned by the many images without one, so it stands beside `Dice_nothing`, what predicting
nothing would score, `Dice_positive`, over images with a pneumothorax only, and `Dice_pooled`, over
the pixels of all images.

By `split` there are two protocols: `clean`, and `legacy`, which is the task `siim_legacy` and takes
the lists that MRM was published with. Those share images, so that it also gives the same four over
the test images that are in neither the training nor the validation list, as `Dice_unseen`,
`Dice_unseen_positive`, `Dice_unseen_pooled` and `Dice_unseen_nothing`.

Source: Zhou et al., "Advancing Radiograph Representation Learning with Masked Record Modeling",
ICLR 2023, and its segmentation configuration. Ours: layer decay as BEiT defines it (the released
constructor cannot read this encoder), bf16 in place of fp16, one GPU with 8 images for four with 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainers import overlays, predictions, scores
from trainers.config import ConfigError, option
from trainers.data import labelled, siim
from trainers.data.cases import Case
from trainers.data.segmented import Segmented
from trainers.modules import segmentation

METRIC = "Dice"


@dataclass(frozen=True, kw_only=True)
class Config(segmentation.Config):
    """What `--task siim` can be told; the defaults are MRM's."""

    negatives: float = option(0.4, "images without a mask in an epoch, per image with one")
    split: siim.Protocol = option("clean", "whose lists: clean, or MRM's own (legacy), which leak")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.negatives < 0:
            raise ConfigError(f"`negatives` is {self.negatives}; expected 0 or more")


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
        "steps": 160_000,
        "warmup_steps": 1_500,
        "eval_every": 500,
        "precision": "bf16",
        "num_workers": 8,
    },
    # a new network on few images, for a minute of one core: tuned on generated data so that a
    # randomly initialised encoder beats predicting nothing, which it does late with MRM's weights
    "quick": {
        "image_px": 64,
        "channels": 48,
        "aux_channels": 24,
        "dropout": 0.1,
        "drop_path": 0.0,
        "dice_weight": 1.0,
        "negatives": 0.4,
        "cache": True,
        "optimizer": "adamw",
        "lr": 1e-3,
        "beta1": 0.9,
        "beta2": 0.999,
        "weight_decay": 0.05,
        "schedule": "poly",
        "batch_size": 8,
        "steps": 240,
        "warmup_steps": 20,
        "eval_every": 40,
        "layer_decay": 0.75,
    },
}
BY_RATIO: dict[tuple[str, int], dict[str, Any]] = {
    ("paper", 10): {"steps": 5_000, "warmup_steps": 100, "eval_every": 50},
    ("paper", 1): {"steps": 5_000, "warmup_steps": 100, "eval_every": 50},
}
"""What a preset has otherwise at a share of the labels; MRM gives 10 %, 1 % is ours."""


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


def open_splits(config: Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `siim.read`."""
    split = siim.read(data_path, ratio, seed=seed, protocol=config.split)
    settings: dict[str, Any] = {
        "px": config.image_px,
        "mean": config.mean,
        "std": config.std,
        "cache": config.cache,
    }
    # the bootstrap draws patients, whom only the DICOM headers name
    test: list[Case] = [siim.with_patient(case) for case in split.test]
    seen = siim.seen(data_path) if config.split == "legacy" else None
    return Splits(
        Segmented(split.train, train=True, negatives=config.negatives, **settings),
        Segmented(split.val, train=False, **settings),
        Segmented(test, train=False, seen=seen, **settings),
        split.facts,
    )


def open_folder(config: Config, images: Path, labels: Path) -> Segmented:
    """Return, to test on, what `labels` names and `images` holds; see `siim.named`.

    Raises:
        MissingError: none of the images is there.
    """
    there, missing = labelled.present(siim.named(labels), images, labels)
    there = [siim.with_patient(case) for case in there]
    settings = {"px": config.image_px, "mean": config.mean, "std": config.std}
    return Segmented(there, train=False, missing=missing, **settings)


def samples(arrays: Mapping[str, Any], test: Segmented, folder: Path) -> list[tuple[str, str]]:
    """Write overlays of some test images; see `overlays.save`."""
    return overlays.save(dict(arrays), test.picture, folder)
