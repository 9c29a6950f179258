"""What does a method that reads a report beside several views get to see of a study?

Shapes: V views of a study, S side of a view in pixels, T tokens of a report.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from trainers import normalisation
from trainers.data import captions, transforms
from trainers.data.captions import Vocabulary
from trainers.data.jitter import jitter
from trainers.data.pairs import CROP_RATIO, CROP_SCALE, MEAN, STD, Hflip, swap_sides
from trainers.data.records import Record

VIEWS = 3
"""Source: Zhou et al. 2022 (REFERS), "view fusion"; its released code."""


class Study(NamedTuple):
    """The radiographs that one report is about."""

    images: tuple[Path, ...]
    report: str


class Look(NamedTuple):
    """How a view is cut out of a radiograph, coloured and scaled."""

    scale: tuple[float, float]
    """Share of the area that a random crop keeps."""
    ratio: tuple[float, float]
    """Width over height of a random crop."""
    interpolation: Image.Resampling
    jitter: bool
    squeeze: bool
    """Held out: the whole radiograph made square, instead of its middle."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of grey values, in [0, 1]; one for all channels, or three."""


IMAGENET = normalisation.IMAGENET

REFERS = Look((0.05, 1.0), (0.6, 1.0), transforms.BILINEAR, True, True, *IMAGENET)
"""REFERS's. Source: its released code, where 0.6 to 1 was meant as a share of the area but stands
in the place of the shape, so that crops are upright. Resized with Pillow, which smooths before it
shrinks; the released code's OpenCV does not."""

WIDER = REFERS._replace(scale=CROP_SCALE, ratio=CROP_RATIO)
"""REFERS's with the crops that MRM takes."""

MRM = Look(CROP_SCALE, CROP_RATIO, transforms.BICUBIC, False, False, (MEAN,), (STD,))
"""MRM's, for all that is not REFERS's idea."""


def group(records: Sequence[Record]) -> list[Study]:
    """Return the studies in `records`, in the order in which they begin.

    Images of one study whose reports differ count as studies of their own, so that no report is
    read beside an image it is not about.
    """
    found: dict[tuple[str, str, str], list[Path]] = {}
    for record in records:
        found.setdefault((record.patient, record.study, record.report), []).append(record.image)
    return [Study(tuple(images), report) for (_, _, report), images in found.items()]


class Studies:
    """Studies as three views and a report, drawn anew each time they are asked for.

    In training, the views are drawn from a study's radiographs with replacement, each is cropped
    (and coloured) by itself, and all of them are mirrored or none. Held out: the first three
    radiographs, over again where there are fewer, as they are.
    """

    def __init__(
        self,
        records: Sequence[Record],
        vocabulary: Vocabulary,
        *,
        px: int,
        length: int,
        look: Look,
        hflip: Hflip,
        unscored: int | None = None,
        text_tokenizer: Tokenizer | None = None,
        train: bool,
    ) -> None:
        """Keep what is needed to make items.

        Args:
            records: which there are.
            vocabulary: of the decoder.
            px: side of a view, S.
            length: tokens of a report, T.
            look: how a view is made.
            hflip: whether half the studies are mirrored, and `left` and `right` in their reports
                exchanged with them.
            unscored: see `captions.caption`.
            text_tokenizer: for the text that is contrasted, set to cut and pad to T; without one
                it has the decoder's ids.
            train: whether views are random.
        """
        self.studies = group(records)
        self.vocabulary, self.px, self.length, self.look = vocabulary, px, length, look
        self.hflip, self.unscored, self.text_tokenizer = hflip, unscored, text_tokenizer
        self.train = train

    def __len__(self) -> int:
        return len(self.studies)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | str]:
        """Return one study.

        Returns:
            `image` (V, 3, S, S); `ids`, `labels` (T,) for the decoder, see `captions.Caption`;
            `text_ids`, `text_mask` (T,) for the contrast; `name`, of the first view's file.

        Raises:
            BadItem: one of the images drawn cannot be read.
        """
        study = self.studies[index]
        places = np.arange(VIEWS) % len(study.images)
        if self.train:
            places = rng.integers(len(study.images), size=VIEWS)
        mirrored = self.train and rng.random() < 0.5 and self.hflip != "off"
        read = {place: transforms.read_image(study.images[place]) for place in np.unique(places)}
        views = [self._view(read[place], rng, mirrored=mirrored) for place in places]
        swapped = mirrored and self.hflip == "on_with_text_swap"
        report = swap_sides(study.report) if swapped else study.report
        caption = captions.caption(self.vocabulary, report, self.length, unscored=self.unscored)
        text_ids, text_mask = caption.ids, caption.seen
        if self.text_tokenizer:
            encoded = self.text_tokenizer.encode(report)
            text_ids, text_mask = np.array(encoded.ids), np.array(encoded.attention_mask)
        return {
            "name": str(study.images[places[0]]),
            "image": torch.stack(views),
            "ids": torch.from_numpy(caption.ids),
            "labels": torch.from_numpy(caption.labels),
            "text_ids": torch.from_numpy(text_ids),
            "text_mask": torch.from_numpy(text_mask),
        }

    def _view(self, image: Image.Image, rng: np.random.Generator, *, mirrored: bool) -> Tensor:
        look, px = self.look, self.px
        if self.train:
            image = transforms.random_resized_crop(
                image, px, look.scale, look.ratio, look.interpolation, rng
            )
            image = transforms.mirror(image) if mirrored else image
            image = jitter(image, rng) if look.jitter else image
        elif look.squeeze:
            image = image.resize((px, px), look.interpolation)
        else:
            image = transforms.resize_keep(image, px, interpolation=look.interpolation)
            image = transforms.center_crop(image, px)
        return transforms.to_tensor_normalised(image, look.mean, look.std)
