"""What would predictions score if images counted more or less often than once?

From the arrays of `trainers.predictions`, whatever their task, a function of weights: with ones it
gives what the task's own `score` gives, with the draws of a bootstrap what each of them gives. Two
runs on the same images can so be given the same draws.

METEOR is not among the scores: its counts take a Java program that starts anew for every run.
Shapes: N images, R columns of weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trainers import scores
from trainers.config import InputError
from trainers.scores import Arrays, Floats

Kind = Literal["classification", "segmentation", "detection", "reports"]
Weighed = Callable[[NDArray[np.integer]], dict[str, Floats]]
"""Takes (N, R), how often each image counts, and gives (R,) of each metric by its name."""

NEEDED: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("names", "patient", "score", "label", "classes"),
    "segmentation": ("names", "patient", "prediction", "truth", "offset"),
    "detection": ("names", "patient", "prediction", "score", "truth", "prediction_offset",
                  "truth_offset"),
    "reports": ("names", "patient", "generated", "reference"),
}  # fmt: skip
TRUTH: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("label",),
    "segmentation": ("height", "width", "truth"),
    "detection": ("truth", "truth_offset"),
    "reports": ("reference",),
}
"""What two runs on the same images must have alike."""
SHOWN: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("AUROC",),
    "segmentation": ("Dice", "Dice_pooled"),
    "detection": ("mAP", "AP50"),
    "reports": ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "ROUGE-L", "P", "R", "F1"),
}
"""The metrics that are compared where none are named, those that predictions have of them."""


def kind_of(arrays: Arrays) -> Kind:
    """Return what the predictions are of.

    Raises:
        InputError: they are of nothing that is known.
    """
    order: tuple[Kind, ...] = ("reports", "detection", "segmentation", "classification")
    for kind in order:
        if all(name in arrays for name in NEEDED[kind]):
            return kind
    raise InputError(f"no predictions of a known kind: they hold {', '.join(sorted(arrays))}")


def of(arrays: Arrays) -> Weighed:
    """Return the scores of `arrays` as a function of weights; what does not change is done once."""
    kind = kind_of(arrays)
    if kind == "classification":
        return _of_labels(arrays)
    if kind == "segmentation":
        overlap = scores.overlap_of(arrays)
        return lambda weight: scores.weighted_dice(overlap, weight)
    return _of_boxes(arrays) if kind == "detection" else _of_reports(arrays)


class Drawn(NamedTuple):
    """What K runs score, by the name of the metric."""

    points: dict[str, Floats]
    """(K,) on the images as they are."""
    draws: dict[str, Floats]
    """(K, R) on draws of their patients, the same for all runs."""


def draw(runs: Sequence[Arrays], patient: ArrayLike, *, seed: int, resamples: int) -> Drawn:
    """Return what each of `runs`, of the same images in one order, scores on the same draws."""
    weighed = [of(arrays) for arrays in runs]
    once = np.ones((len(np.asarray(patient)), 1), np.uint16)
    points = [each(once) for each in weighed]
    parts = [
        [each(weight) for each in weighed]
        for weight in scores.patient_draws(patient, seed=seed, resamples=resamples)
    ]
    names = [name for name in points[0] if all(name in point for point in points)]
    return Drawn(
        {name: np.concatenate([point[name] for point in points]) for name in names},
        {
            name: np.stack([np.concatenate([p[k][name] for p in parts]) for k in range(len(runs))])
            for name in names
        },
    )


def _of_labels(arrays: Arrays) -> Weighed:
    score, label = np.asarray(arrays["score"], np.float64), arrays["label"]

    def weighed(weight: NDArray[np.integer]) -> dict[str, Floats]:
        columns = [
            scores.weighted_aurocs(score[:, c], label[:, c], weight) for c in range(label.shape[1])
        ]
        return {"AUROC": scores.mean_of_known(np.stack(columns))}

    return weighed


def _of_boxes(arrays: Arrays) -> Weighed:
    from trainers import average_precision  # the COCO tools, for this alone

    matches = average_precision.matches_of(average_precision.evaluate(arrays), arrays)
    return lambda weight: average_precision.weighted_boxes(matches, weight)


def _of_reports(arrays: Arrays) -> Weighed:
    from trainers import report_scores  # and the caption tools for this

    texts = (tuple(arrays[name].tolist()) for name in ("generated", "reference"))
    counted = report_scores.count_words(*texts, meteor=False)

    def weighed(weight: NDArray[np.integer]) -> dict[str, Floats]:
        words = report_scores.weighted_words(counted, weight)
        return words | report_scores.weighted_labels(arrays, weight)

    return weighed
