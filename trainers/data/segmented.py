"""How does a labelled image become what a segmentation trains on, or is tested on?

The longer side is brought to the network's square and the rest is padded, 0 in the image and
`PADDING` in the mask. Training flips half of the time; testing keeps the mask at its own size.

Source: MRM's segmentation pipeline (512 pixels; its images are square, so that nothing is padded).
Shapes: P pixels of the square's side, H and W of the original image.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from trainers.data import sampling
from trainers.data.cases import Case, read_mask
from trainers.data.transforms import (
    NEAREST,
    mirror,
    pad_to,
    read_image,
    resize_keep,
    to_tensor_normalised,
)
from trainers.predictions import pack_mask

PADDING = 255
"""In a training mask: nothing is known here."""


class Segmented:
    """Images with masks, read as they are asked for, and kept if `cache` says so.

    What is kept is what comes before anything random, in each loader process by itself.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        *,
        px: int,
        mean: float | Sequence[float],
        std: float | Sequence[float],
        train: bool,
        cache: bool = False,
        missing: int = 0,
        negatives: float | None = None,
        seen: Collection[str] | None = None,
    ) -> None:
        self.cases = list(cases)
        self.missing = missing
        """How many more cases there would be, were their images there."""
        self._px, self._mean, self._std = px, mean, std
        self._train, self._negatives = train, negatives
        self._seen = seen
        self._kept: dict[int, tuple[Any, ...]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.cases)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Any]:
        """Return one image as the network sees it; raises `BadItem` if it or its mask is broken.

        Returns:
            `name`, `image` (3, P, P) and, to train, `mask` (P, P) uint8 of 0, 1 and `PADDING`;
            to test, `patient`, `height`, `width`, and `truth`, the packed mask at full size; and,
            where it is known which images were learnt from, `seen`.
        """
        case = self.cases[index]
        if self._train:
            image, mask = self._prepared(index)
            if rng.random() < 0.5:
                image, mask = mirror(image), mirror(mask)
            values = torch.from_numpy(np.array(mask))
            return {"name": case.name, "image": self._tensor(image), "mask": values}
        image, truth, height, width = self._prepared(index)
        item = {
            "name": case.name,
            "patient": case.patient,
            "image": self._tensor(image),
            "height": torch.tensor(height),
            "width": torch.tensor(width),
            "truth": truth,
        }
        known = {} if self._seen is None else {"seen": torch.tensor(case.name in self._seen)}
        return item | known

    def epoch_indices(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the items of one epoch, shuffled; see `sampling.epoch`."""
        positive = np.array([any(case.labels) for case in self.cases], dtype=bool)
        return sampling.epoch(positive, self._negatives, rng)

    def picture(self, name: str) -> Image.Image:
        """Return the original image called `name`, in grey."""
        return read_image(next(case.image for case in self.cases if case.name == name))

    def _prepared(self, index: int) -> tuple[Any, ...]:
        if self._kept is None:
            return self._prepare(self.cases[index])
        if index not in self._kept:
            self._kept[index] = self._prepare(self.cases[index])
        return self._kept[index]

    def _prepare(self, case: Case) -> tuple[Any, ...]:
        image = read_image(case.image)
        mask = read_mask(case, image.size)
        small = pad_to(resize_keep(image, self._px, side="long"), self._px)
        if not self._train:
            return small, pack_mask(mask), image.height, image.width
        coarse = resize_keep(Image.fromarray(mask), self._px, side="long", interpolation=NEAREST)
        return small, pad_to(coarse, self._px, fill=PADDING)

    def _tensor(self, image: Image.Image) -> torch.Tensor:
        return to_tensor_normalised(image, self._mean, self._std)
