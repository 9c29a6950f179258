"""How does a report's radiograph become what a decoder of reports is trained or tested on?

Training takes a random square out of the image, whose short side was made a seventh longer,
and mirrors it half of the time; testing squeezes the whole image into the square.

Source: R2Gen (resize to 256, crop of 224, mirrored; resized to 224 x 224 to test). Ours: both
images of a report are mirrored or none, and `left` and `right` may be exchanged with them.
Shapes: I images of a report, P pixels of the square's side, T tokens of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from trainers.data.annotated import Item
from trainers.data.pairs import Hflip, swap_sides
from trainers.data.transforms import (
    BILINEAR,
    mirror,
    read_image,
    resize_keep,
    to_tensor_normalised,
)
from trainers.data.wording import END, IGNORED, Vocabulary

LARGER = 256 / 224
"""The short side before the crop, in sides of the crop."""


class Reported:
    """Reports with their radiographs, read as they are asked for, kept small if `cache` says so.

    With a vocabulary, items are made to train on; without one, to test on.
    """

    def __init__(
        self,
        items: Sequence[Item],
        *,
        px: int,
        images: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        vocabulary: Vocabulary | None = None,
        hflip: Hflip = "off",
        cache: bool = False,
        missing: int = 0,
    ) -> None:
        """Keep what is needed to make items.

        Args:
            items: which there are.
            px: side of the square, P.
            images: of a report, I; where it has fewer, the first of them again.
            mean: of grey values, in [0, 1].
            std: likewise.
            vocabulary: numbers the words that are to be learnt.
            hflip: whether half of the reports' images are mirrored, and `left` and `right` in the
                text exchanged with them; in training only.
            cache: keep images in memory, as they are before anything random.
            missing: how many more items there would be, were their images there.
        """
        self.items = list(items)
        self.vocabulary = vocabulary
        self.missing = missing
        self._px, self._images, self._mean, self._std = px, images, mean, std
        self._hflip = hflip
        self._kept: dict[int, list[Image.Image]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.items)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return one report; raises `BadItem` if one of its images is broken.

        Returns:
            `name`, `image` (I, 3, P, P) and, to train, `ids` and `labels` (T,), see `framed`; to
            test, `patient` and `report`, as it is written.
        """
        item = self.items[index]
        images = self._prepared(index)
        if self.vocabulary is None:
            return {
                "name": item.name,
                "patient": item.patient,
                "image": self._tensor(images),
                "report": item.report,
            }
        images = [_random_part(image, self._px, rng) for image in images]
        report = item.report
        if rng.random() < 0.5 and self._hflip != "off":
            images = [mirror(image) for image in images]
            report = swap_sides(report) if self._hflip == "on_with_text_swap" else report
        ids, labels = framed(self.vocabulary, report)
        return {"name": item.name, "image": self._tensor(images), "ids": ids, "labels": labels}

    def picture(self, name: str) -> Image.Image:
        """Return the first image of the report called `name`, in grey, at its own size."""
        return read_image(next(item.images[0] for item in self.items if item.name == name))

    def _prepared(self, index: int) -> list[Image.Image]:
        if self._kept is None:
            return self._prepare(self.items[index])
        if index not in self._kept:
            self._kept[index] = self._prepare(self.items[index])
        return self._kept[index]

    def _prepare(self, item: Item) -> list[Image.Image]:
        paths = [*item.images, *[item.images[0]] * self._images][: self._images]
        read = {path: read_image(path) for path in set(paths)}
        if self.vocabulary is None:
            return [read[path].resize((self._px, self._px), BILINEAR) for path in paths]
        return [resize_keep(read[path], round(self._px * LARGER)) for path in paths]

    def _tensor(self, images: Sequence[Image.Image]) -> Tensor:
        return torch.stack([to_tensor_normalised(one, self._mean, self._std) for one in images])


def _random_part(image: Image.Image, px: int, rng: np.random.Generator) -> Image.Image:
    left, top = (int(rng.integers(0, side - px + 1)) for side in image.size)
    return image.crop((left, top, left + px, top + px))


def framed(vocabulary: Vocabulary, report: str) -> tuple[Tensor, Tensor]:
    """Return `report` as the decoder reads it and as it is scored, (T,) each.

    Of the labels those behind the last id are `IGNORED`; the first id is never foretold.
    """
    found = torch.from_numpy(vocabulary.ids(report))
    ids = torch.full((vocabulary.length,), END)
    labels = torch.full((vocabulary.length,), IGNORED)
    ids[: len(found)] = found
    labels[: len(found)] = found
    return ids, labels
