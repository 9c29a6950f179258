"""How does an image with boxes become what a detection trains on, or is tested on?

The longer side is brought to the network's square and the rest is padded with 0; boxes follow. The
images of RSNA are square, so that nothing is padded there.

Source: MGCA's detection data set (bilinear, no augmentation, all images). Ours: the options to
mirror half of the training images, to train on a part of each, and to leave out some of those
without a box.
Shapes: P pixels of the square's side, M the most boxes that an image of the set has, G those of
this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trainers.data import sampling
from trainers.data.cases import Case
from trainers.data.transforms import (
    BILINEAR,
    mirror,
    pad_to,
    read_image,
    resize_keep,
    to_tensor_normalised,
)


class Located:
    """Images with boxes, read as they are asked for, and kept resized if `cache` says so."""

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        px: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        train: bool,
        hflip: bool = False,
        crop_min: float = 1.0,
        negatives: float | None = None,
        cache: bool = False,
        missing: int = 0,
    ) -> None:
        self.cases = list(cases)
        self.missing = missing
        """Images that the labels name and that are not there."""
        self._px, self._mean, self._std = px, mean, std
        self._train, self._hflip, self._crop_min = train, hflip, crop_min
        self._negatives = negatives
        self._most = max((len(case.boxes) for case in cases), default=0)
        self._kept: dict[int, tuple[Image.Image, tuple[int, int]]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.cases)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return one image as the network sees it; raises `BadItem` if it is broken.

        Returns:
            `name`, `image` (3, P, P) and, to train, `boxes` (M, 4), left, top, right and bottom in
            pixels of the square, of which the first `count` are meant; to test, `patient`,
            `height` and `width` of the original, `scale` (2,), by which x and y were multiplied,
            and `truth` (G, 4), x, y, width and height of the boxes in the original.
        """
        case = self.cases[index]
        small, (width, height) = self._prepared(index)
        inner = resized(width, height, self._px)
        scale = np.array([inner[0] / width, inner[1] / height])
        truth = np.array(case.boxes, np.float64).reshape(-1, 4)
        if not self._train:
            return {
                "name": case.name,
                "patient": case.patient,
                "image": self._tensor(small),
                "height": torch.tensor(height),
                "width": torch.tensor(width),
                "scale": torch.from_numpy(scale),
                "truth": truth,
            }
        corners = np.concatenate([truth[:, :2], truth[:, :2] + truth[:, 2:]], axis=1)
        corners *= np.tile(scale, 2)
        if self._crop_min < 1:
            small, corners = crop(small, corners, self._crop_min, rng)
        if self._hflip and rng.random() < 0.5:
            small = mirror(small)
            corners[:, [0, 2]] = self._px - corners[:, [2, 0]]
        boxes = np.zeros((self._most, 4), np.float32)
        boxes[: len(corners)] = corners
        return {
            "name": case.name,
            "image": self._tensor(small),
            "boxes": torch.from_numpy(boxes),
            "count": torch.tensor(len(corners)),
        }

    def epoch_indices(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the items of one epoch, shuffled; see `sampling.epoch`."""
        positive = np.array([bool(case.boxes) for case in self.cases], dtype=bool)
        return sampling.epoch(positive, self._negatives, rng)

    def picture(self, name: str) -> Image.Image:
        """Return the original image called `name`, in grey."""
        return read_image(next(case.image for case in self.cases if case.name == name))

    def _prepared(self, index: int) -> tuple[Image.Image, tuple[int, int]]:
        if self._kept is None:
            return self._prepare(self.cases[index])
        if index not in self._kept:
            self._kept[index] = self._prepare(self.cases[index])
        return self._kept[index]

    def _prepare(self, case: Case) -> tuple[Image.Image, tuple[int, int]]:
        image = read_image(case.image)
        return pad_to(resize_keep(image, self._px, side="long"), self._px), image.size

    def _tensor(self, image: Image.Image) -> torch.Tensor:
        return to_tensor_normalised(image, self._mean, self._std)


def crop(
    image: Image.Image, corners: NDArray[np.float64], least: float, rng: np.random.Generator
) -> tuple[Image.Image, NDArray[np.float64]]:
    """Return a random square part of a square `image`, enlarged to its size, and its boxes.

    A box is cut where the part ends, and left out if less than half of it is left.

    Args:
        image: of P pixels a side.
        corners: (G, 4) left, top, right and bottom.
        least: share of the area, up to 1.
        rng: drawn from three times.
    """
    px = image.width
    side = px * math.sqrt(rng.uniform(least, 1.0))
    left, top = rng.uniform(0, px - side, size=2)
    part = image.resize((px, px), BILINEAR, box=(left, top, left + side, top + side))
    moved = (corners - np.tile([left, top], 2)) * (px / side)
    cut = moved.clip(0, px)
    area, rest = ((c[:, 2:] - c[:, :2]).prod(axis=1) for c in (moved, cut))
    return part, cut[rest >= area / 2]


def resized(width: int, height: int, px: int) -> tuple[int, int]:
    """Return the size that `resize_keep` gives an image whose longer side becomes `px`."""
    long = max(width, height)
    return _scaled(width, px, long), _scaled(height, px, long)


def _scaled(length: int, px: int, long: int) -> int:
    return px if length == long else max(1, int(length * (px / long) + 0.5))
