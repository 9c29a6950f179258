"""How well are boxes found? Average precision by the COCO tools, of one class, with intervals.

What a detection calls takes the arrays of `predictions.join_boxes`: `box_scores` and `box_bounds`.
Predictions are matched to true boxes, and precision is accumulated, by pycocotools: an image's 100
likeliest boxes, each taking the free true box that it overlaps most; precision at 101 levels of
recall. Of equal scores, the one that comes first in the arrays counts first, as there.

An image without boxes has nothing to miss, and everything found in it is wrong. Where no image has
a box there is nothing to find, and every value is nan; where something is to be found and nothing
is predicted, it is 0.

Shapes: N images, T overlaps, D predictions, R resamples.
"""

from __future__ import annotations

import contextlib
import io
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from trainers.predictions import boxes_of
from trainers.scores import RESAMPLES, Arrays, Floats, Interval, interval, patient_draws

OVERLAPS = np.array([0.4, 0.45, *np.linspace(0.5, 0.95, 10)])
"""The least overlap (IoU) at which a box is found. From 0.5 on the numbers are COCO's own."""
LOW, HALF, COCO_RANGE = slice(0, 8), 2, slice(2, 12)
"""Of these, 0.4 to 0.75 (Source: MGCA), 0.5 alone, and 0.5 to 0.95 (Source: COCO)."""
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
SURE = 0.5
"""Confidence from which MGCA takes a box as predicted."""


class Matches(NamedTuple):
    """Which predictions of a test set found a true box, the likeliest first."""

    right: NDArray[np.bool_]
    """(T, D)."""
    score: Floats
    """(D,)."""
    image: NDArray[np.int64]
    """(D,) the number of its image."""
    true: NDArray[np.int64]
    """(N,) true boxes of each image."""


def box_scores(arrays: Arrays) -> dict[str, float]:
    """Return every kind of average precision, so that none is taken for another.

    Returns:
        `mAP`: over all images and all predictions, the mean over overlaps of 0.4 to 0.75;
        `AP50`: the same at an overlap of 0.5; `AP_coco`: the mean over 0.5 to 0.95;
        `mAP_mgca`: as `mAP`, but by MGCA's rules: predictions below a confidence of 0.5 do not
        count, and neither does an image without boxes or without such a prediction, so that false
        alarms on healthy images and whole images missed cost nothing. 0 where no image is left;
        `mgca_share`: the share of all images that `mAP_mgca` looks at.
    """
    tools = evaluate(arrays)
    each = accumulate(tools)
    kept = counted_by_mgca(matches_of(tools, arrays))
    left = [int(i) for i in np.flatnonzero(kept)]
    published = accumulate(evaluate(arrays, images=left, least=SURE)) if left else 0.0 * each
    return {
        "mAP": float(each[LOW].mean()),
        "AP50": float(each[HALF]),
        "AP_coco": float(each[COCO_RANGE].mean()),
        "mAP_mgca": float(published[LOW].mean()),
        "mgca_share": float(kept.mean()),
    }


def box_bounds(arrays: Arrays, seed: int, *, resamples: int = RESAMPLES) -> dict[str, Interval]:
    """Return the 95 % percentile intervals of `box_scores`; patients are drawn.

    Images are matched once; a draw only counts them differently. A draw without a true box says
    nothing and is left out.
    """
    matches = matches_of(evaluate(arrays), arrays)
    drawn = [
        weighted_boxes(matches, weight)
        for weight in patient_draws(arrays["patient"], seed=seed, resamples=resamples)
    ]
    return {name: interval(np.concatenate([part[name] for part in drawn])) for name in drawn[0]}


def weighted_boxes(matches: Matches, weight: NDArray[np.integer]) -> dict[str, Floats]:
    """Return (R,) each of `box_scores` under each column of `weight` (N, R)."""
    kept = counted_by_mgca(matches)
    each = weighted_precisions(matches, weight)  # (T, R)
    published = weighted_precisions(_only(matches, matches.score >= SURE, kept), weight)
    # as in `box_scores`: 0 where there are boxes, but none in an image that counts
    nothing = np.isnan(published) & ~np.isnan(each)
    return {
        "mAP": each[LOW].mean(axis=0),
        "AP50": each[HALF],
        "AP_coco": each[COCO_RANGE].mean(axis=0),
        "mAP_mgca": np.where(nothing, 0.0, published)[LOW].mean(axis=0),
        "mgca_share": kept @ weight / weight.sum(axis=0),
    }


def counted_by_mgca(matches: Matches) -> NDArray[np.bool_]:
    """Return (N,) which images have a true box and a prediction of at least `SURE`."""
    sure = np.zeros(len(matches.true), dtype=bool)
    sure[matches.image[matches.score >= SURE]] = True
    return sure & (matches.true > 0)


def _only(matches: Matches, which: NDArray[np.bool_], images: NDArray[np.bool_]) -> Matches:
    """Return what is left with some predictions, and some images, alone.

    An image's likeliest predictions are matched first, so that leaving out the others changes
    nothing of theirs.
    """
    here = which & images[matches.image]
    return Matches(
        matches.right[:, here],
        matches.score[here],
        matches.image[here],
        np.where(images, matches.true, 0),
    )


def evaluate(arrays: Arrays, *, images: list[int] | None = None, least: float = 0.0) -> COCOeval:
    """Return the COCO tools with every prediction matched.

    Args:
        arrays: of `predictions.join_boxes`.
        images: the ones to look at; all of them if not given.
        least: confidence below which a prediction is left out.
    """
    numbers = list(range(len(arrays["names"]))) if images is None else images
    true, predicted = [], []
    for number in numbers:
        boxes, scores, truth = boxes_of(arrays, number)
        true += [_annotation(len(true) + i, number, box) for i, box in enumerate(truth, start=1)]
        predicted += [
            {**_annotation(0, number, box), "score": float(score)}
            for box, score in zip(boxes, scores, strict=True)
            if score >= least
        ]
    for place, one in enumerate(predicted, start=1):
        one["id"] = place
    with contextlib.redirect_stdout(io.StringIO()):  # the tools tell of every step
        tools = COCOeval(_table(numbers, true), _table(numbers, predicted), "bbox")
        tools.params.imgIds = numbers
        tools.params.iouThrs, tools.params.recThrs = OVERLAPS, RECALLS
        tools.params.maxDets = [MOST]
        tools.params.areaRng, tools.params.areaRngLbl = [[0, 1e10]], ["all"]
        tools.evaluate()
    return tools


def _annotation(number: int, image: int, box: Floats) -> dict[str, object]:
    x, y, width, height = box.tolist()
    return {
        "id": number,
        "image_id": image,
        "category_id": 1,
        "bbox": [x, y, width, height],
        "area": width * height,
        "iscrowd": 0,
    }


def _table(numbers: list[int], annotations: list[dict[str, object]]) -> COCO:
    table = COCO()
    table.dataset = {
        "images": [{"id": number} for number in numbers],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": annotations,
    }
    table.createIndex()
    return table


def accumulate(tools: COCOeval) -> Floats:
    """Return (T,) average precisions as the COCO tools have them; nan where no image has a box."""
    with contextlib.redirect_stdout(io.StringIO()):
        tools.accumulate()
    precision = tools.eval["precision"][:, :, 0, 0, 0]  # (T, recalls); -1 without a true box
    return np.where((precision < 0).any(axis=1), np.nan, precision.mean(axis=1))


def matches_of(tools: COCOeval, arrays: Arrays) -> Matches:
    """Return which predictions of `arrays` the COCO tools matched, the likeliest first."""
    seen = [part for part in tools.evalImgs if part is not None]
    right = [part["dtMatches"] > 0 for part in seen]
    score = np.concatenate([np.zeros(0), *(np.array(part["dtScores"], float) for part in seen)])
    image = np.repeat([p["image_id"] for p in seen], [len(p["dtScores"]) for p in seen])
    order = np.argsort(-score, kind="stable")
    return Matches(
        np.concatenate([np.zeros((len(OVERLAPS), 0), bool), *right], axis=1)[:, order],
        score[order],
        image.astype(np.int64)[order],
        np.diff(arrays["truth_offset"]).astype(np.int64),
    )


def weighted_precisions(matches: Matches, weight: NDArray[np.integer]) -> Floats:
    """Return (T, R) the average precision under each column of `weight` (N, R).

    An image that counts k times is as k equal images. nan where no image that counts has a box.

    Only predictions that are right at some overlap are looked at one by one; the wrong ones
    between two of them are summed up first, for all draws by one product of matrices.
    """
    N, R = weight.shape
    weight = weight.astype(np.float64)
    true = matches.true @ weight  # (R,)
    some = np.flatnonzero(matches.right.any(axis=0))
    if not some.size:
        return np.broadcast_to(np.where(true > 0, 0.0, np.nan), (len(matches.right), R))
    before = np.zeros((some.size, N))
    place = np.searchsorted(some, np.arange(len(matches.score)))
    wrong = (place < some.size) & ~matches.right.any(axis=0)
    np.add.at(before, (place[wrong], matches.image[wrong]), 1)
    own = weight[matches.image[some]]  # (K, R)
    passed = np.cumsum(before @ weight, axis=0) + np.cumsum(own, axis=0)  # predictions so far
    return np.stack([_precision(right[some], own, passed, true) for right in matches.right])


def _precision(right: NDArray[np.bool_], own: Floats, passed: Floats, true: Floats) -> Floats:
    """Return (R,) the average precision at one overlap.

    Args:
        right: (K,) which of the predictions looked at found a box.
        own: (K, R) how often each counts.
        passed: (K, R) how many predictions count up to it, itself included.
        true: (R,) true boxes that count.
    """
    found = np.cumsum(own * right[:, None], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(passed > 0, found / passed, 0.0)
        recall = found / true
    best = np.maximum.accumulate(precision[::-1], axis=0)[::-1]  # at this recall or a higher one
    levels = np.searchsorted(RECALLS, recall.ravel(), side="right").reshape(recall.shape)
    steps = np.diff(levels, axis=0, prepend=0)
    return np.where(true > 0, (steps * best).sum(axis=0) / len(RECALLS), np.nan)
