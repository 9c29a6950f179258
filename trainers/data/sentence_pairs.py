"""What does a method that pairs a radiograph with a sentence of its report get to see?

Shapes: S side of the image in pixels, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from trainers.data import distortions, sentences, tokens, transforms
from trainers.data.jitter import jitter
from trainers.data.pairs import CROP_RATIO, MEAN, STD, Hflip, swap_sides
from trainers.data.records import Record

Text = Literal["sentence", "report"]

CROP_SCALE = (0.6, 1.0)
DEGREES, SHIFT, SCALE = 20.0, 0.1, 0.05
CONTRAST = 0.4
SIGMA, SIGMA_PX = (0.1, 3.0), 224
"""Source: Zhang et al. 2020 (ConVIRT): cropping by a ratio of 0.6 to 1, mirroring, affine
transformation, brightness and contrast, Gaussian blur; REFERS's released code holds the same
values. The blur is in pixels of an image of 224; smaller images are blurred as much less."""


class SentencePairs:
    """Radiographs, each with a random sentence of its report (or all of what was seen).

    In training: cropped, mirrored half the time, turned, shifted, scaled, made brighter and harder
    or the opposite, and blurred. Held out: the middle as it is, with a sentence that follows from
    the item's own generator, so that held-out records are always judged by the same sentences.
    """

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: Tokenizer,
        *,
        px: int,
        length: int,
        framed: bool,
        text: Text,
        distortion: float,
        hflip: Hflip,
        train: bool,
    ) -> None:
        """Keep what is needed to make items.

        Args:
            records: which there are.
            tokenizer: of the run, or of a text model.
            px: side of the image, S.
            length: tokens of a text, T.
            framed: whether the tokenizer puts its own first and last token around a sentence, and
                cuts and pads, as that of a text model does.
            text: a sentence drawn anew each time, or findings and impression whole.
            distortion: how strongly images are turned, coloured and blurred; see `view`.
            hflip: whether half the images are mirrored, and `left` and `right` in their sentences
                exchanged with them.
            train: whether images are changed by chance.
        """
        self.records, self.tokenizer, self.px, self.length = records, tokenizer, px, length
        self.framed, self.text, self.distortion = framed, text, distortion
        self.hflip, self.train = hflip, train

    def __len__(self) -> int:
        return len(self.records)

    def item(self, index: int, rng: np.random.Generator) -> dict[str, Tensor | str]:
        """Return `image` (3, S, S), `ids` and `attention_mask` (T,), and `name`.

        Raises:
            BadItem: the image cannot be read.
        """
        record = self.records[index]
        sentence = sentences.draw(record.report, rng)
        if self.text == "report":
            sentence = sentences.seen(record.report)
        image = transforms.read_image(record.image)
        if self.train:
            mirrored = rng.random() < 0.5 and self.hflip != "off"
            image = view(image, self.px, rng, mirrored=mirrored, strength=self.distortion)
            if mirrored and self.hflip == "on_with_text_swap":
                sentence = swap_sides(sentence)
        else:
            image = transforms.center_crop(transforms.resize_keep(image, self.px), self.px)
        ids, attention_mask = self._encode(sentence)
        return {
            "name": str(record.image),
            "image": transforms.to_tensor_normalised(image, MEAN, STD),
            "ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(attention_mask),
        }

    def _encode(self, sentence: str) -> tuple[np.ndarray, np.ndarray]:
        if not self.framed:
            return tokens.encode(self.tokenizer, sentence, self.length)
        found = self.tokenizer.encode(sentence)
        return np.array(found.ids), np.array(found.attention_mask)


def view(
    image: Image.Image, px: int, rng: np.random.Generator, *, mirrored: bool, strength: float = 1.0
) -> Image.Image:
    """Return a random view of a radiograph as a square of `px`.

    Args:
        image: of mode "L".
        px: side of the view.
        rng: drawn from.
        mirrored: whether left and right are exchanged.
        strength: of everything but the crop, as a share of the paper's; at 0 there is none of it.
    """
    image = transforms.random_resized_crop(
        image, px, CROP_SCALE, CROP_RATIO, transforms.BILINEAR, rng
    )
    image = transforms.mirror(image) if mirrored else image
    if not strength:
        return image
    image = distortions.random_affine(
        image,
        rng,
        degrees=DEGREES * strength,
        shift=SHIFT * strength,
        scale=(1 - SCALE * strength, 1 + SCALE * strength),
    )
    image = jitter(image, rng, strength=CONTRAST * strength, probability=1.0)
    least, most = (sigma * strength * px / SIGMA_PX for sigma in SIGMA)
    return distortions.random_blur(image, rng, sigma=(least, most))
