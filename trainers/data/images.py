"""What does a method that learns from radiographs alone get to see of a record?

Shapes: S side of the image crop in pixels, N patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from trainers import normalisation
from trainers.data import transforms
from trainers.data.records import Record

MEAN, STD = normalisation.IMAGENET
"""Source: MAE's released code, pre-training."""
CROP_SCALE = (0.2, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
"""Source: MAE's released code; RandomResizedCrop, the shape at torchvision's default."""


class Images:
    """Radiographs, cropped anew each time they are asked for; their reports are not read.

    In training: a random crop, mirrored half the time. Held out: the middle, never mirrored. The
    `noise` that orders the patches comes from the item's own generator, so that held-out records
    are always judged on the same hidden patches.
    """

    def __init__(
        self, records: Sequence[Record], *, px: int, patches: int, hflip: bool, train: bool
    ) -> None:
        """Keep what is needed to make items.

        Args:
            records: which there are.
            px: side of the crop, S.
            patches: of an image, N.
            hflip: whether half the images are mirrored.
            train: whether crops are random.
        """
        self.records, self.px, self.patches = records, px, patches
        self.hflip, self.train = hflip, train

    def __len__(self) -> int:
        return len(self.records)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | str]:
        """Return `image` (3, S, S), `noise` (N,) and `name`.

        Raises:
            BadItem: the image cannot be read.
        """
        path = self.records[index].image
        image = transforms.read_image(path)
        if self.train:
            image = transforms.random_resized_crop(
                image, self.px, CROP_SCALE, CROP_RATIO, transforms.BICUBIC, rng
            )
            image = transforms.hflip(image, rng) if self.hflip else image
        else:
            image = transforms.resize_keep(image, self.px, interpolation=transforms.BICUBIC)
            image = transforms.center_crop(image, self.px)
        return {
            "name": str(path),
            "image": transforms.to_tensor_normalised(image, MEAN, STD),
            "noise": torch.from_numpy(rng.random(self.patches, dtype=np.float32)),
        }
