"""What does a method that learns from radiograph and report together get to see of a record?

Shapes: S side of the image crop in pixels, N patches, T tokens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor

from trainers import normalisation
from trainers.data import tokens, transforms
from trainers.data.records import Record

(MEAN,), (STD,) = normalisation.MRM
CROP_SCALE = (0.2, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
"""Source: MRM's released code; RandomResizedCrop, the shape at torchvision's default."""

Hflip = Literal["on", "off", "on_with_text_swap"]
_SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


class Pairs:
    """Radiographs with their reports, cropped and masked anew each time they are asked for.

    In training: a random crop, mirrored half the time. Held out: the middle, never mirrored.
    The words to hide and the `noise` that orders the patches are drawn from the item's own
    generator, so that held-out records are always judged on the same hidden parts, and two
    processes with half a batch each hide what one with the whole batch hides.
    """

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: Tokenizer,
        *,
        px: int,
        length: int,
        patches: int,
        word_mask_ratio: float,
        hflip: Hflip,
        train: bool,
    ) -> None:
        """Keep what is needed to make items.

        Args:
            records: which there are.
            tokenizer: as `trainers.data.tokens` gives it.
            px: side of the crop, S.
            length: tokens of a report, T.
            patches: of an image, N.
            word_mask_ratio: share of words hidden, in [0, 1].
            hflip: whether half the images are mirrored, and `left` and `right` in their reports
                exchanged with them.
            train: whether crops are random.
        """
        self.records, self.tokenizer, self.px, self.length = records, tokenizer, px, length
        self.patches, self.word_mask_ratio, self.hflip = patches, word_mask_ratio, hflip
        self.train = train
        self._continuation = tokens.continuations(tokenizer)

    def __len__(self) -> int:
        return len(self.records)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | str]:
        """Return `image` (3, S, S), `ids`, `labels`, `attention_mask` (T,), `noise` (N,), `name`.

        Raises:
            BadItem: the image cannot be read.
        """
        record = self.records[index]
        image = transforms.read_image(record.image)
        report = record.report
        if self.train:
            image = transforms.random_resized_crop(
                image, self.px, CROP_SCALE, CROP_RATIO, transforms.BICUBIC, rng
            )
            if rng.random() < 0.5 and self.hflip != "off":
                image = transforms.mirror(image)
                report = swap_sides(report) if self.hflip == "on_with_text_swap" else report
        else:
            image = transforms.resize_keep(image, self.px, interpolation=transforms.BICUBIC)
            image = transforms.center_crop(image, self.px)
        labels, attention_mask = tokens.encode(self.tokenizer, report, self.length)
        ids = tokens.mask_words(labels, rng, self.word_mask_ratio, continuation=self._continuation)
        item: dict[str, Tensor | str] = {
            "name": str(record.image),
            "image": transforms.to_tensor_normalised(image, MEAN, STD),
            "ids": torch.from_numpy(ids),
            "labels": torch.from_numpy(labels),
            "attention_mask": torch.from_numpy(attention_mask),
            "noise": torch.from_numpy(rng.random(self.patches, dtype=np.float32)),
        }
        return item


def swap_sides(report: str) -> str:
    """Return `report` with the words `left` and `right` exchanged, in the case they are in."""

    def other(found: re.Match[str]) -> str:
        word = found[0]
        swapped = "right" if word.lower() == "left" else "left"
        if word.isupper():
            return swapped.upper()
        return swapped.capitalize() if word[0].isupper() else swapped

    return _SIDE.sub(other, report)
