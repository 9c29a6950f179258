"""Does an encoder help to tell COVID-19 from other pneumonia? AUROC on a small collection.

Label 1 is COVID-19; label 0 is everything else in the collection: SARS, bacterial and fungal
pneumonia, ARDS, and the odd image without a finding.

Images come from figures of many papers, and their source goes with the label: an AUROC here says
less of the disease than it seems to.

Source: `trainers.modules.small_sets`; divisions and labels in `trainers.data.covid`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trainers import curves, predictions, scores
from trainers.config import option
from trainers.data import classified, covid
from trainers.data.classified import Classified, Splits
from trainers.modules import classifier, small_sets
from trainers.weights import AnySize

METRIC = "AUROC"
CLASSES = ("covid",)
PRESETS = small_sets.PRESETS


@dataclass(frozen=True, kw_only=True)
class Config(classifier.Config):
    """What `--task covid` can be told; the defaults are MRM's."""

    split: Literal["groups", "mrm", "refers"] = option(
        "groups", "groups (no patient in two parts), mrm or refers (published; some are)"
    )


class Task(classifier.Classifier):
    """A classifier of COVID-19 against all else."""

    def __init__(self, config: Config, encoder_size: AnySize) -> None:
        super().__init__(config, encoder_size, classes=len(CLASSES))


collect = classifier.collect
score = scores.label_scores
bounds = scores.label_bounds


def join(parts: Sequence[Sequence[predictions.Scored]]) -> predictions.Arrays:
    """Return the arrays that `predictions.npz` holds."""
    return predictions.join_scores(parts, classes=CLASSES)


def open_splits(config: Config, data_path: Path, *, ratio: int, seed: int) -> Splits:
    """Return the splits that `ratio` percent of the labels give; see `covid.read`."""
    split = covid.read(data_path, "covid", ratio, division=config.split, seed=seed)
    return classified.of_split(split, config)


def open_folder(config: Config, images: Path, labels: Path) -> Classified:
    """Return, to test on, what `labels` names and `images` holds; see `covid.named`.

    Raises:
        MissingError: none of the images is there.
    """
    return classified.of_folder(covid.named(labels, "covid"), images, labels, config)


def samples(arrays: Mapping[str, Any], test: Classified, folder: Path) -> list[tuple[str, str]]:
    """Draw the curves of the scores; return each picture's path within `folder` and caption."""
    return curves.save(arrays, folder)
