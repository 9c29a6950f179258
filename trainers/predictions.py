"""What stands in `predictions.npz`, so that every metric can be computed again from it?

Classification: `names`, `patient` (N,) text; `score` (N, C) float64; `label` (N, C) uint8;
`classes` (C,) text. Segmentation: `names`, `patient` (N,) text; `height`, `width` (N,) pixels of
the original image; `prediction`, `truth` uint8, the masks at that size, row by row, eight pixels
a byte as `numpy.packbits` has them, each image padded to whole bytes; `offset` (N + 1,), where in
them each image begins; and, where test images are also in other lists, `seen` (N,) uint8, which
of them are.
Detection: `names`, `patient`, `height`, `width` as before; `prediction` (P, 4) float64, the
predicted boxes of all images, each x, y, width and height in pixels of its original image, and
`score` (P,) float64, their confidence in [0, 1]; `truth` (G, 4) float64, the true boxes likewise;
`prediction_offset` and `truth_offset` (N + 1,), where in them each image begins.
Reports: `names`, `patient`; `generated` and `reference` (N,) text, the true one as it is scored
against; `constant` (1,) text, the training report that stands for all in the scores' floor;
`generated_labels`, `reference_labels` (N, 14) and `constant_labels` (1, 14) float64, what CheXbert
reads in them, and the same names with `_rules`, what the rules read.

Shapes: N images, C classes, H and W pixels of an image, which may differ between images, P
predicted and G true boxes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Arrays = dict[str, NDArray[np.generic]]

LISTED = {
    "offset": ("prediction", "truth"),
    "prediction_offset": ("prediction", "score"),
    "truth_offset": ("truth",),
}
"""Which arrays hold several rows an image, by the array that says where each image begins."""
SHARED = ("classes", "constant", "constant_labels", "constant_labels_rules")
"""Arrays that are of all images together."""


class Scored(NamedTuple):
    """What was said of one image, class by class."""

    name: str
    patient: str
    score: ArrayLike
    """(C,), the higher the likelier."""
    label: ArrayLike
    """(C,), zeros and ones."""


class Masked(NamedTuple):
    """What was drawn into one image, and what should have been."""

    name: str
    patient: str
    shape: tuple[int, int]
    """Height and width of the original image."""
    prediction: NDArray[np.uint8]
    """Of `pack_mask`, as is `truth`."""
    truth: NDArray[np.uint8]
    seen: bool | None = None
    """Whether the image is also in a training or validation list, where that is known."""


class Boxed(NamedTuple):
    """What was found in one image, and what was there to find."""

    name: str
    patient: str
    shape: tuple[int, int]
    """Height and width of the original image."""
    prediction: NDArray[np.float64]
    """(P, 4) x, y, width and height in pixels of the original image, as is `truth`."""
    score: NDArray[np.float64]
    """(P,) confidence in [0, 1]."""
    truth: NDArray[np.float64]
    """(G, 4)."""


class Written(NamedTuple):
    """What was written about one image, and what should have been."""

    name: str
    patient: str
    generated: str
    reference: str
    constant: str
    """The same for all."""


def join_scores(parts: Sequence[Sequence[Scored]], *, classes: Sequence[str]) -> Arrays:
    """Return the arrays of a classification, in the order of `parts`."""
    items = list(chain.from_iterable(parts))
    shape = (len(items), len(classes))
    return {
        "names": np.array([item.name for item in items], dtype=str),
        "patient": np.array([item.patient for item in items], dtype=str),
        "score": np.array([item.score for item in items], np.float64).reshape(shape),
        "label": np.array([item.label for item in items], np.uint8).reshape(shape),
        "classes": np.array(classes, dtype=str),
    }


def join_masks(parts: Sequence[Sequence[Masked]]) -> Arrays:
    """Return the arrays of a segmentation, in the order of `parts`."""
    items = list(chain.from_iterable(parts))
    nothing = [np.zeros(0, np.uint8)]
    known = any(item.seen is not None for item in items)
    marks = {"seen": np.array([bool(item.seen) for item in items], np.uint8)} if known else {}
    return marks | {
        "names": np.array([item.name for item in items], dtype=str),
        "patient": np.array([item.patient for item in items], dtype=str),
        "height": np.array([item.shape[0] for item in items], np.int64),
        "width": np.array([item.shape[1] for item in items], np.int64),
        "prediction": np.concatenate([*nothing, *(item.prediction for item in items)]),
        "truth": np.concatenate([*nothing, *(item.truth for item in items)]),
        "offset": np.cumsum([0, *(len(item.truth) for item in items)], dtype=np.int64),
    }


def join_boxes(parts: Sequence[Sequence[Boxed]]) -> Arrays:
    """Return the arrays of a detection, in the order of `parts`."""
    items = list(chain.from_iterable(parts))
    none = [np.zeros((0, 4))]
    return {
        "names": np.array([item.name for item in items], dtype=str),
        "patient": np.array([item.patient for item in items], dtype=str),
        "height": np.array([item.shape[0] for item in items], np.int64),
        "width": np.array([item.shape[1] for item in items], np.int64),
        "prediction": np.concatenate([*none, *(item.prediction for item in items)]),
        "score": np.concatenate([np.zeros(0), *(item.score for item in items)]),
        "prediction_offset": np.cumsum([0, *(len(item.score) for item in items)], dtype=np.int64),
        "truth": np.concatenate([*none, *(item.truth for item in items)]),
        "truth_offset": np.cumsum([0, *(len(item.truth) for item in items)], dtype=np.int64),
    }


def join_reports(parts: Sequence[Sequence[Written]]) -> Arrays:
    """Return the arrays of generated reports, in the order of `parts`."""
    items = list(chain.from_iterable(parts))
    return {
        "names": np.array([item.name for item in items], dtype=str),
        "patient": np.array([item.patient for item in items], dtype=str),
        "generated": np.array([item.generated for item in items], dtype=str),
        "reference": np.array([item.reference for item in items], dtype=str),
        "constant": np.array([item.constant for item in items[:1]], dtype=str),
    }


def pack_mask(mask: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Return a mask (H, W) as bytes, eight pixels each; whatever is not zero is foreground."""
    return np.packbits(np.asarray(mask) != 0)


def unpack_mask(packed: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask (H, W) that `pack_mask` packed."""
    return np.unpackbits(packed, count=shape[0] * shape[1]).reshape(shape).astype(bool)


def masks_of(
    arrays: Mapping[str, NDArray[np.generic]], index: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the predicted and the true mask of one image, (H, W) each."""
    part = slice(arrays["offset"][index], arrays["offset"][index + 1])
    shape = int(arrays["height"][index]), int(arrays["width"][index])
    return unpack_mask(arrays["prediction"][part], shape), unpack_mask(arrays["truth"][part], shape)


def boxes_of(
    arrays: Mapping[str, NDArray[np.generic]], index: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return predicted boxes (P, 4), their scores (P,) and true boxes (G, 4) of one image."""
    first, last = arrays["prediction_offset"][index : index + 2]
    begin, end = arrays["truth_offset"][index : index + 2]
    return arrays["prediction"][first:last], arrays["score"][first:last], arrays["truth"][begin:end]


def chosen(arrays: Mapping[str, NDArray[np.generic]], which: NDArray[np.integer]) -> Arrays:
    """Return the predictions of the images `which` (M,) alone, in that order."""
    listed = {offset: names for offset, names in LISTED.items() if offset in arrays}
    apart = {*SHARED, *listed, *(name for names in listed.values() for name in names)}
    images = len(arrays["names"])
    found = {
        name: values[which] if name not in apart and len(values) == images else values
        for name, values in arrays.items()
    }
    for offset, names in listed.items():
        rows, found[offset] = _rows(arrays[offset], which)
        found |= {name: arrays[name][rows] for name in names}
    return found


def _rows(
    offset: NDArray[np.generic], which: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return which rows are those of some images, and where each image then begins."""
    lengths = np.diff(offset)[which]
    begins = np.cumsum([0, *lengths], dtype=np.int64)
    rows = np.arange(begins[-1]) + np.repeat(offset[:-1][which] - begins[:-1], lengths)
    return rows, begins
