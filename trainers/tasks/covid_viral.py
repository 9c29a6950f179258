"""Does an encoder help to tell viral from bacterial pneumonia? AUROC on a small collection.

Label 1 is viral (COVID-19, SARS, MERS and others); label 0 is bacterial (Streptococcus, Legionella
and others). Images of neither, such as fungal pneumonia, are left out.

The collection has ten times as many viral images as bacterial ones, so one bacterial patient more
or less in the test part moves the AUROC: read the interval with it.

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
CLASSES = ("viral",)
PRESETS = small_sets.PRESETS


@dataclass(frozen=True, kw_only=True)
class Config(classifier.Config):
    """What `--task covid_viral` can be told; the defaults are MRM's."""

    split: Literal["groups", "mrm"] = option(
        "groups", "groups (no patient in two parts), or mrm (published; some are)"
    )


class Task(classifier.Classifier):
    """A classifier of viral against bacterial pneumonia."""

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
    split = covid.read(data_path, "viral", ratio, division=config.split, seed=seed)
    return classified.of_split(split, config)


def open_folder(config: Config, images: Path, labels: Path) -> Classified:
    """Return, to test on, what `labels` names and `images` holds; see `covid.named`.

    Raises:
        MissingError: none of the images is there.
    """
    return classified.of_folder(covid.named(labels, "viral"), images, labels, config)


def samples(arrays: Mapping[str, Any], test: Classified, folder: Path) -> list[tuple[str, str]]:
    """Draw the curves of the scores; return each picture's path within `folder` and caption."""
    return curves.save(arrays, folder)
