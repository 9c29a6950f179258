"""How do a classification's scores look? ROC, precision-recall and calibration curves, as PNG.

One panel a class, small multiples where there are several. Everything is drawn from what
`predictions.npz` holds, so that a finished run's pictures can be drawn again.

Shapes: N images, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainers import plots, scores

Arrays = Mapping[str, NDArray[np.generic]]

MOST_BINS, LEAST_IN_BIN = 10, 10
WIDEST = 4
"""Panels side by side."""
CALIBRATION = "calibration"

Panel = Callable[[Any, NDArray[np.float64], NDArray[np.bool_]], str]
"""Draws the scores and labels (N,) of one class, and returns what is to be read above it."""


class Kind(NamedTuple):
    """One kind of picture."""

    file: str
    title: str
    across: str
    """What the axis of x says."""
    up: str
    panel: Panel


class Bins(NamedTuple):
    """Images of like scores, in order of their scores."""

    predicted: NDArray[np.float64]
    """The mean score of each bin."""
    share: NDArray[np.float64]
    """The share of positives in it."""
    low: NDArray[np.float64]
    """The 95 % interval of that share, from here."""
    high: NDArray[np.float64]
    """To here."""


def save(arrays: Arrays, folder: Path) -> list[tuple[str, str]]:
    """Draw the curves of every class; return each picture's path within `folder` and caption.

    A class without positives or without negatives has an empty panel that says so. Calibration is
    drawn where scores are probabilities, as all of this project's are.

    Args:
        arrays: of `predictions.join_scores`.
        folder: the run folder; the files go to its `samples/`.
    """
    score = np.asarray(arrays["score"], np.float64)
    label = np.asarray(arrays["label"]).astype(bool)
    names = [str(name) for name in arrays["classes"]]
    if not score.size:
        return []
    probable = score.min() >= 0 and score.max() <= 1
    written = []
    for kind in KINDS:
        if kind.file == CALIBRATION and not probable:
            continue
        path = f"{plots.FOLDER}/{kind.file}.png"
        _draw(kind, score, label, names, folder / path)
        written.append((path, f"{kind.title} of {', '.join(names)}; {len(score):,} images"))
    return written


def bins_of(score: NDArray[np.float64], label: NDArray[np.bool_]) -> Bins:
    """Return up to ten bins of equally many images, ten or more in each where there are as many.

    Images of one score share a bin, so bins may be fewer. The interval is Wilson's.

    Args:
        score: (N,), in [0, 1].
        label: (N,).
    """
    bins = max(1, min(MOST_BINS, len(score) // LEAST_IN_BIN))
    cuts = np.quantile(score, np.arange(1, bins) / bins, method="inverted_cdf")
    place = np.searchsorted(np.unique(cuts), score, side="left")
    there, place = np.unique(place, return_inverse=True)
    count = np.bincount(place, minlength=len(there))
    predicted = np.bincount(place, weights=score) / count
    share = np.bincount(place, weights=label) / count
    low, high = _wilson(share, count)
    return Bins(predicted, share, low, high)


def _wilson(
    share: NDArray[np.float64], count: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Source: Wilson 1927; Brown, Cai and DasGupta 2001, section 3.1.1."""
    z = 1.959964
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    spread = z / (1 + z**2 / count) * np.sqrt(share * (1 - share) / count + (z / count) ** 2 / 4)
    return np.clip(middle - spread, 0, share), np.clip(middle + spread, share, 1)


def _draw(
    kind: Kind,
    score: NDArray[np.float64],
    label: NDArray[np.bool_],
    names: list[str],
    path: Path,
) -> None:
    columns = min(WIDEST, len(names))
    rows = -(-len(names) // columns)
    side = 3.4 if columns == 1 else 2.5 if columns == 2 else 1.9
    with plots.figure(columns * side + 0.3, rows * (side + 0.25) + 0.2) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for index, axes in enumerate(grid.flat):
            if index >= len(names):
                axes.set_axis_off()
                continue
            axes.set_title(names[index].replace("_", " "), loc="left", pad=13)
            axes.set_aspect("equal")
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
            axes.set(xticks=(0, 0.5, 1), yticks=(0, 0.5, 1))
            if 0 < label[:, index].sum() < len(label):
                said = kind.panel(axes, score[:, index], label[:, index])
            else:
                lacking = "negative" if label[:, index].any() else "positive"
                said = f"no {lacking} among {len(label):,}"
            axes.text(0, 1.03, said, transform=axes.transAxes, **plots.SMALL)
            axes.set(xlabel=kind.across, ylabel=kind.up)
            if index + columns < len(names):
                axes.set_xlabel("")
            if index % columns:
                axes.set_ylabel("")
        plots.write(figure, path)


def _roc(axes: Any, score: NDArray[np.float64], label: NDArray[np.bool_]) -> str:
    from sklearn.metrics import roc_curve

    false, true, _ = roc_curve(label, score)
    axes.plot((0, 1), (0, 1), **plots.CHANCE)
    axes.plot(false, true, color=plots.BLUE)
    axes.fill_between(false, true, color=plots.BLUE, alpha=0.1, linewidth=0)
    return f"AUROC {scores.auroc(score, label):.3f}, {label.sum():,} positive"


def _precision_recall(axes: Any, score: NDArray[np.float64], label: NDArray[np.bool_]) -> str:
    from sklearn.metrics import average_precision_score, precision_recall_curve

    precision, recall, _ = precision_recall_curve(label, score, drop_intermediate=True)
    share = label.mean()
    axes.plot((0, 1), (share, share), **plots.CHANCE)
    axes.plot(recall, precision, color=plots.BLUE, drawstyle="steps-post")
    axes.fill_between(recall, precision, color=plots.BLUE, alpha=0.1, linewidth=0, step="post")
    return f"AP {average_precision_score(label, score):.3f}, {label.sum():,} positive"


def _calibration(axes: Any, score: NDArray[np.float64], label: NDArray[np.bool_]) -> str:
    bins = bins_of(score, label)
    top = 1.05 * float(max(bins.predicted.max(), bins.high.max()))
    if top > 0.8:
        top, ticks = 1.0, [0, 0.5, 1]
    else:  # rare findings would huddle in a corner
        ticks = plots.round_ticks(top)
    axes.set(xlim=(-0.02 * top, 1.02 * top), ylim=(-0.02 * top, 1.02 * top))
    axes.set(xticks=ticks, yticks=ticks)
    axes.plot((0, top), (0, top), **plots.CHANCE)
    reach = np.stack([bins.share - bins.low, bins.high - bins.share])
    axes.errorbar(
        bins.predicted, bins.share, yerr=reach, color=plots.BLUE, marker="o", markersize=3,
        elinewidth=0.8, capsize=1.5,
    )  # fmt: skip
    return f"mean {score.mean():.3f}, observed {label.mean():.3f}"


KINDS = (
    Kind("roc", "ROC curve", "false positive rate", "true positive rate", _roc),
    Kind("precision-recall", "precision-recall curve", "recall", "precision", _precision_recall),
    Kind(CALIBRATION, "calibration", "predicted probability", "observed share", _calibration),
)
