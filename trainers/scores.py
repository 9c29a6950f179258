"""How good are these predictions? AUROC and Dice with intervals: arrays in, floats out.

What a task calls takes the arrays of `trainers.predictions`: `label_scores` and `label_bounds` for
a classification, `mask_scores` and `mask_bounds` for a segmentation.

Shapes: N images, C classes, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 1000
CHUNK = 250
"""Resamples held at once, to bound memory; the result does not depend on it."""

Interval = tuple[float, float]
Floats = NDArray[np.float64]
Arrays = Mapping[str, NDArray[np.generic]]
ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int64)
"""How many bits of a byte are set."""


def label_scores(arrays: Arrays) -> dict[str, float]:
    """Return `AUROC`, the mean over classes; with several, also `AUROC/CLASS` of each."""
    each = class_aurocs(arrays["score"], arrays["label"])
    values = {"AUROC": float(mean_of_known(each[:, None])[0])}
    if each.size > 1:
        named = zip(arrays["classes"].tolist(), each.tolist(), strict=True)
        values |= {f"AUROC/{name}": value for name, value in named}
    return values


def label_bounds(arrays: Arrays, seed: int) -> dict[str, Interval]:
    """Return the 95 % intervals of `label_scores`, by a bootstrap over patients."""
    score, label, patient = arrays["score"], arrays["label"], arrays["patient"]
    mean, each = auroc_bounds(score, label, patient, seed=seed)
    bounds = {"AUROC": mean}
    if len(each) > 1:
        named = zip(arrays["classes"].tolist(), each.tolist(), strict=True)
        bounds |= {f"AUROC/{name}": (low, high) for name, (low, high) in named}
    return bounds


def mask_scores(arrays: Arrays) -> dict[str, float]:
    """Return every kind of Dice that `dice_scores` names.

    Where it is marked which images were `seen`, all of them once more, over the others alone: as
    `Dice_unseen`, `Dice_unseen_positive` and so on.
    """
    overlap = overlap_of(arrays)
    values = dice_scores(overlap)
    if "seen" in arrays:
        others = arrays["seen"] == 0
        values |= _of_unseen(dice_scores(Overlap(*(part[others] for part in overlap))))
    return values


def mask_bounds(arrays: Arrays, seed: int) -> dict[str, Interval]:
    """Return the 95 % intervals of `mask_scores`, by a bootstrap over patients."""
    overlap, patient = overlap_of(arrays), arrays["patient"]
    bounds = dice_bounds(overlap, patient, seed=seed)
    if "seen" in arrays and not np.all(arrays["seen"]):
        others = arrays["seen"] == 0
        rest = Overlap(*(part[others] for part in overlap))
        bounds |= _of_unseen(dice_bounds(rest, patient[others], seed=seed))
    return bounds


def _of_unseen(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("Dice", "Dice_unseen", 1): value for name, value in values.items()}


def auroc(score: ArrayLike, label: ArrayLike) -> float:
    """Return the area under the ROC curve: the share of pairs (positive, negative) in order.

    A tie counts half. Without a positive or without a negative there is no pair: nan.

    Args:
        score: (N,), any real numbers.
        label: (N,), zeros and ones.

    Raises:
        ValueError: a score is not a number.
    """
    score, positive = np.asarray(score, np.float64), np.asarray(label).astype(bool)
    if np.isnan(score).any():
        raise ValueError(f"{np.isnan(score).sum()} of {score.size} scores are not numbers")
    P, N = int(positive.sum()), score.size
    if P == 0 or P == N:
        return float("nan")
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of each tied group
    return float((rank[place][positive].sum() - P * (P + 1) / 2) / (P * (N - P)))


def class_aurocs(score: ArrayLike, label: ArrayLike) -> Floats:
    """Return (C,) the AUROC of every column of `score` (N, C); nan as in `auroc`."""
    score, label = np.asarray(score), np.asarray(label)
    return np.array([auroc(score[:, c], label[:, c]) for c in range(score.shape[1])])


def mean_auroc(score: ArrayLike, label: ArrayLike) -> float:
    """Return the mean over classes; a class without positives or negatives is left out."""
    return float(mean_of_known(class_aurocs(score, label)[:, None])[0])


def auroc_bounds(
    score: ArrayLike,
    label: ArrayLike,
    patient: ArrayLike,
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> tuple[Interval, Floats]:
    """Return 95 % percentile intervals of the mean AUROC, and (C, 2) of every class.

    Patients are drawn, with all their images, and the same draw serves every class. A draw in
    which a class lacks positives or negatives says nothing of that class: it is left out of the
    class's interval, and the class out of that draw's mean.
    """
    score, label = np.asarray(score, np.float64), np.asarray(label)
    C = score.shape[1]
    drawn = np.concatenate(
        [
            np.stack([weighted_aurocs(score[:, c], label[:, c], weight) for c in range(C)])
            for weight in patient_draws(patient, seed=seed, resamples=resamples)
        ],
        axis=1,
    )  # (C, R)
    return interval(mean_of_known(drawn)), np.array([interval(row) for row in drawn])


def weighted_aurocs(
    score: NDArray[np.floating], label: NDArray[np.generic], weight: NDArray[np.integer]
) -> Floats:
    """Return (R,) the AUROC under each column of `weight` (N, R): how often an image counts.

    Images are summed up once between each two neighbouring scores of positives, so the cost is
    one pass over `weight` however many resamples there are.
    """
    positive = label.astype(bool)
    cuts, group = np.unique(score[positive], return_inverse=True)
    if cuts.size == 0 or positive.all():
        return np.full(weight.shape[1], np.nan)
    below = np.searchsorted(cuts, score[~positive], side="left")
    tied = below < np.searchsorted(cuts, score[~positive], side="right")
    hits = _sum_by(group, weight[positive], cuts.size)  # (cuts, R)
    # a negative's place: 2k between cut k - 1 and cut k, 2k + 1 on cut k
    misses = _sum_by(2 * below + tied, weight[~positive], 2 * cuts.size + 1)
    passed = np.cumsum(misses, axis=0)[0 : 2 * cuts.size : 2] + 0.5 * misses[1::2]
    pairs = hits.sum(axis=0) * misses.sum(axis=0)
    with np.errstate(invalid="ignore"):
        return np.einsum("kr,kr->r", hits, passed) / pairs


def _sum_by(place: NDArray[np.integer], weight: NDArray[np.integer], places: int) -> Floats:
    """Return (places, R) the sum of the rows of `weight` that lie at each place."""
    order = np.argsort(place, kind="stable")
    there, start = np.unique(place[order], return_index=True)
    total = np.zeros((places, weight.shape[1]))
    if there.size:
        total[there] = np.add.reduceat(weight[order], start, axis=0, dtype=np.int32)
    return total


class Overlap(NamedTuple):
    """Pixels of each image, (N,) each."""

    both: NDArray[np.int64]
    predicted: NDArray[np.int64]
    true: NDArray[np.int64]


def overlap_of(arrays: Arrays) -> Overlap:
    """Return how many pixels prediction and truth share in each image, without unpacking."""
    prediction, truth = arrays["prediction"], arrays["truth"]
    start = arrays["offset"][:-1]
    if start.size == 0:
        return Overlap(*(np.zeros(0, np.int64) for _ in range(3)))
    parts = (prediction & truth, prediction, truth)
    return Overlap(*(np.add.reduceat(ONES[part], start) for part in parts))


def dice_per_image(overlap: Overlap) -> Floats:
    """Return (N,) the Dice of each image; where nothing is to be found, 1 for finding nothing.

    An image without a true mask scores 1 if none is predicted and 0 if any pixel is.

    Source: MRM's segmentation code, as MONAI's `DiceMetric(ignore_empty=False)`.
    """
    size = overlap.predicted + overlap.true
    return np.where(size == 0, 1.0, 2.0 * overlap.both / np.maximum(size, 1))


def dice_scores(overlap: Overlap) -> dict[str, float]:
    """Return every kind of Dice, so that none is taken for another.

    Returns:
        `Dice`, the published one: the mean of `dice_per_image` over all images;
        `Dice_positive`: the same over images with a true mask (nan without any);
        `Dice_pooled`: over the pixels of all images together (1 if there are none);
        `Dice_nothing`: what `Dice` is for predicting nothing anywhere, its floor.
    """
    each, positive = dice_per_image(overlap), overlap.true > 0
    return {
        "Dice": _share(each.sum(), each.size),
        "Dice_positive": _share(each[positive].sum(), int(positive.sum())),
        "Dice_pooled": float(dice_per_image(Overlap(*(np.sum(part) for part in overlap)))),
        "Dice_nothing": _share((~positive).sum(), each.size),
    }


def dice_bounds(
    overlap: Overlap, patient: ArrayLike, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the 95 % percentile interval of each kind of Dice; patients are drawn."""
    drawn = [
        weighted_dice(overlap, weight)
        for weight in patient_draws(patient, seed=seed, resamples=resamples)
    ]
    return {name: interval(np.concatenate([part[name] for part in drawn])) for name in drawn[0]}


def weighted_dice(overlap: Overlap, weight: NDArray[np.integer]) -> dict[str, Floats]:
    """Return (R,) each kind of Dice under each column of `weight` (N, R): how often it counts."""
    each, positive = dice_per_image(overlap), overlap.true > 0
    columns = np.stack([each, np.ones_like(each), each * positive, positive, *overlap])  # (7, N)
    total, images, found, positives, both, predicted, true = columns @ weight  # (R,) each
    with np.errstate(invalid="ignore"):
        return {
            "Dice": total / images,
            "Dice_positive": found / positives,
            "Dice_pooled": dice_per_image(Overlap(both, predicted, true)),
            "Dice_nothing": 1 - positives / images,
        }


def patient_draws(patient: ArrayLike, *, seed: int, resamples: int) -> Iterator[NDArray[np.uint16]]:
    """Yield (N, r) how often each image counts in r resamples of patients, `resamples` in all.

    As many patients are drawn as there are, with replacement.
    """
    rng = np.random.default_rng(seed)
    _, owner = np.unique(np.asarray(patient), return_inverse=True)
    patients = int(owner.max()) + 1
    for first in range(0, resamples, CHUNK):
        r = min(CHUNK, resamples - first)
        draw = rng.integers(0, patients, size=(r, patients))
        draw += np.arange(r)[:, None] * patients
        count = np.bincount(draw.ravel(), minlength=r * patients).reshape(r, patients)
        yield count.T.astype(np.uint16)[owner]


def interval(drawn: Floats) -> Interval:
    """Return the 2.5th and 97.5th percentile of what is a number; nan if nothing is."""
    known = drawn[~np.isnan(drawn)]
    if known.size == 0:
        return float("nan"), float("nan")
    low, high = np.percentile(known, [2.5, 97.5])
    return float(low), float(high)


def mean_of_known(rows: Floats) -> Floats:
    """Return the mean of each column over what is a number; nan where nothing is."""
    known = ~np.isnan(rows)
    with np.errstate(invalid="ignore"):
        return np.where(known, rows, 0.0).sum(axis=0) / known.sum(axis=0)


def _share(part: float, whole: int) -> float:
    return float(part) / whole if whole else float("nan")
