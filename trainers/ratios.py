"""How far would a difference of ratios move on other patients, in each draw of them anew?

Dice and ROUGE-L are ratios of sums over images. Their error follows from the sums by linearisation,
at little cost and in every draw of a bootstrap, so that this can be studentised: a few very large
masks make the plain percentile interval of `Dice_pooled` too narrow.

Shapes: N images, R draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainers import scores, weighing
from trainers.scores import Arrays, Floats


class Ratio(NamedTuple):
    """A score that is a sum over images divided by another."""

    numerator: Floats
    """(N,), as is `denominator`."""
    denominator: Floats


class Errors(NamedTuple):
    """The standard error of a difference between two sides."""

    here: float
    """On the images as they are."""
    drawn: Floats
    """(R,) in each draw."""


def of(arrays: Arrays) -> Mapping[str, Ratio]:
    """Return the scores of predictions that are ratios, by their name; none of most kinds."""
    kind = weighing.kind_of(arrays)
    if kind == "segmentation":
        return of_masks(scores.overlap_of(arrays))
    if kind == "reports":
        from trainers import report_scores  # the caption tools, for this alone

        texts = (tuple(arrays[name].tolist()) for name in ("generated", "reference"))
        rouge = report_scores.count_words(*texts, meteor=False).rouge
        return {"ROUGE-L": Ratio(rouge, np.ones_like(rouge))}
    return {}


def of_masks(overlap: scores.Overlap) -> Mapping[str, Ratio]:
    """Return every kind of Dice as a ratio."""
    each, positive = scores.dice_per_image(overlap), (overlap.true > 0).astype(np.float64)
    return {
        "Dice": Ratio(each, np.ones_like(each)),
        "Dice_positive": Ratio(each * positive, positive),
        "Dice_pooled": Ratio(2.0 * overlap.both, np.float64(overlap.predicted + overlap.true)),
    }


def errors(
    a: Sequence[Ratio],
    b: Sequence[Ratio],
    patient: ArrayLike,
    weights: Iterable[NDArray[np.integer]],
) -> Errors:
    """Return the standard error of the mean ratio of `a` less that of `b`; patients are drawn.

    Args:
        a: of the first side's runs, on the same images.
        b: of the second's; none where it is a number.
        patient: (N,).
        weights: (N, r) each, how often every image counts.
    """
    _, owner = np.unique(np.asarray(patient), return_inverse=True)
    order = np.argsort(owner, kind="stable")
    starts = np.flatnonzero(np.diff(owner[order], prepend=-1))
    signed = [(1 / len(a), ratio) for ratio in a] + [(-1 / len(b), ratio) for ratio in b]

    def error(weight: NDArray[np.integer]) -> Floats:
        moves = np.zeros(weight.shape)
        with np.errstate(invalid="ignore", divide="ignore"):
            for share, (above, below) in signed:
                total = below @ weight
                value = (above @ weight) / total
                moves += share * (above[:, None] - value * below[:, None]) / total
        of_patient = np.add.reduceat(moves[order], starts, axis=0)
        count = weight[order][starts].astype(np.float64)
        return np.sqrt((count * of_patient**2).sum(axis=0) * len(starts) / max(len(starts) - 1, 1))

    once = np.ones((len(owner), 1), np.uint16)
    return Errors(float(error(once)[0]), np.concatenate([error(weight) for weight in weights]))
