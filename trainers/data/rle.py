"""How does SIIM-ACR write a mask as text?

Relative run lengths: pairs `gap length`, where a run begins `gap` pixels after the end of the run
before it (the first after pixel 0), and pixels are counted down the columns, left to right.
Several rows of one image are parts of one mask; `-1` stands for no mask.
Source: the SIIM-ACR Pneumothorax Segmentation competition's `mask_functions.py`.
Shapes: H and W height and width in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

EMPTY = "-1"


def decode(text: str, width: int, height: int) -> NDArray[np.uint8]:
    """Return the mask (H, W) that `text` describes, of 0 and 1.

    Raises:
        ValueError: `text` is no list of pairs, or runs past the last pixel.
    """
    try:
        numbers = np.array(text.split(), dtype=np.int64)
    except ValueError:
        raise ValueError("run lengths are not whole numbers") from None
    if not numbers.size or numbers.tolist() == [-1]:
        return np.zeros((height, width), dtype=np.uint8)
    if numbers.size % 2:
        raise ValueError(f"{numbers.size} run lengths; expected pairs of gap and length")
    if numbers.min() < 0:
        raise ValueError(f"a run length is {numbers.min()}; expected 0 or more")
    ends = np.cumsum(numbers)[1::2]
    if ends[-1] > width * height:
        raise ValueError(f"runs end at pixel {ends[-1]}, beyond {width} x {height}")
    # +1 where a run begins, -1 where it ends; one run may begin where another ends
    change = np.zeros(width * height + 1, dtype=np.int32)
    np.add.at(change, ends - numbers[1::2], 1)
    np.add.at(change, ends, -1)
    flat = (np.cumsum(change[:-1]) > 0).astype(np.uint8)
    return np.ascontiguousarray(flat.reshape(width, height).T)


def encode(mask: NDArray[np.generic]) -> str:
    """Return the text for `mask` (H, W), where anything but 0 is in; `-1` when nothing is."""
    flat = np.concatenate([[0], (np.asarray(mask) != 0).T.ravel(), [0]]).astype(np.int8)
    edges = np.flatnonzero(np.diff(flat))
    if not edges.size:
        return EMPTY
    return " ".join(map(str, np.diff(edges, prepend=0).tolist()))


def union(texts: Iterable[str], width: int, height: int) -> NDArray[np.uint8]:
    """Return the mask (H, W) of an image from all its rows.

    Raises:
        ValueError: as `decode`.
    """
    mask = np.zeros((height, width), dtype=np.uint8)
    for text in texts:
        mask |= decode(text, width, height)
    return mask
