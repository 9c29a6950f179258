"""How does a labelled image become what a classification trains on, or is tested on?

Training takes a random part of random shape and flips half of the time; testing takes the middle.

Source: MRM's fine-tuning code (`RandomResizedCrop`, bilinear; `Resize` and `CenterCrop`).
Shapes: P pixels of the square's side, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from PIL import Image

from trainers.data import labelled
from trainers.data.cases import Case, Split
from trainers.data.transforms import (
    BILINEAR,
    center_crop,
    hflip,
    random_resized_crop,
    read_image,
    resize_keep,
    to_tensor_normalised,
)

SHAPES = (3 / 4, 4 / 3)
"""Width over height of a training crop, from and to. Source: torchvision's default."""


class Classified:
    """Images with labels, read as they are asked for, and kept decoded if `cache` says so."""

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        px: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        train: bool,
        crop_min: float = 0.08,
        cache: bool = False,
        missing: int = 0,
    ) -> None:
        self.cases = list(cases)
        self.missing = missing
        """How many more cases there would be, were their images there."""
        self._px, self._mean, self._std = px, mean, std
        self._train, self._crop_min = train, crop_min
        self._kept: dict[int, Image.Image] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.cases)

    def still(self) -> Classified:
        """Return the same images as a test sees them: the middle, never mirrored."""
        settings = {"px": self._px, "mean": self._mean, "std": self._std}
        return Classified(self.cases, train=False, cache=self._kept is not None, **settings)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return one image as the network sees it; raises `BadItem` if it is broken.

        Returns:
            `name`, `patient`, `image` (3, P, P), and `label` (C,) uint8.
        """
        case = self.cases[index]
        image = self._decoded(index)
        if self._train:
            scale = (self._crop_min, 1.0)
            image = random_resized_crop(image, self._px, scale, SHAPES, BILINEAR, rng)
            image = hflip(image, rng)
        else:
            image = center_crop(resize_keep(image, self._px), self._px)
        return {
            "name": case.name,
            "patient": case.patient,
            "image": to_tensor_normalised(image, self._mean, self._std),
            "label": torch.tensor(case.labels, dtype=torch.uint8),
        }

    def _decoded(self, index: int) -> Image.Image:
        if self._kept is None:
            return read_image(self.cases[index].image)
        if index not in self._kept:
            self._kept[index] = read_image(self.cases[index].image)
        return self._kept[index]


class View(Protocol):
    """The settings of a classification that say how its images are seen."""

    image_px: int
    crop_min: float
    mean: float | Sequence[float]
    std: float | Sequence[float]
    cache: bool


class Splits(NamedTuple):
    """What to train, validate and test on."""

    train: Classified
    val: Classified
    test: Classified
    facts: dict[str, Any]


def of_split(split: Split, view: View) -> Splits:
    """Return the three parts of `split` as the network sees them."""
    settings = _settings(view)
    return Splits(
        Classified(split.train, train=True, crop_min=view.crop_min, cache=view.cache, **settings),
        Classified(split.val, train=False, cache=view.cache, **settings),
        Classified(split.test, train=False, cache=view.cache, **settings),
        split.facts,
    )


def of_folder(named: Sequence[Case], images: Path, labels: Path, view: View) -> Classified:
    """Return, to test on, those of the cases that `labels` names whose image lies in `images`.

    Raises:
        MissingError: none is there.
        InputError: an image is there twice.
    """
    there, missing = labelled.present(named, images, labels)
    return Classified(there, train=False, missing=missing, **_settings(view))


def _settings(view: View) -> dict[str, Any]:
    return {"px": view.image_px, "mean": view.mean, "std": view.std}
