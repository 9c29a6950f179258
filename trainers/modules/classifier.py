"""How is a pre-trained encoder judged by classification? MRM's head on the mean of its patches.

A ResNet has the mean of its last map in their place, and no norm before the linear layer.

Source: MRM's fine-tuning code for NIH ChestX-ray14.
Shapes: B images, C classes, P pixels along a side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from timm.layers import trunc_normal_
from torch import Tensor, nn

from trainers import normalisation
from trainers.config import ConfigError, option
from trainers.modules import encoders
from trainers.modules.vit import NORM
from trainers.normalisation import Levels
from trainers.predictions import Scored
from trainers.resnets import ResNetSize
from trainers.weights import AnySize

HEAD_STD = 2e-5


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a classification can be told; the defaults are MRM's."""

    image_px: int = option(224, "side of the square the network sees, in pixels")
    drop_path: float = option(0.1, "stochastic depth of the encoder's last block")
    crop_min: float = option(0.08, "least share of the area in a training crop")
    mean: Levels = option("auto", "mean grey value, in [0, 1], or three; auto: as pre-trained")
    std: Levels = option("auto", "standard deviation of the same, likewise")
    cache: bool = option(False, "keep decoded images in memory", recipe=False)

    def __post_init__(self) -> None:
        if self.image_px < 1:
            raise ConfigError(f"`image_px` is {self.image_px}; expected at least 1")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"`drop_path` is {self.drop_path}; expected in [0, 1)")
        if not 0 < self.crop_min <= 1:
            raise ConfigError(f"`crop_min` is {self.crop_min}; expected in (0, 1]")
        normalisation.settle(self)


class Classifier(nn.Module):
    """The encoder, the mean of its patch tokens, a fresh norm, and a linear layer.

    The class token takes part in attention and is then left out; the pre-trained final norm is
    not used. All else is trained, the positions too, at one learning rate.
    """

    def __init__(self, config: Config, encoder_size: AnySize, *, classes: int) -> None:
        super().__init__()
        self.size = encoder_size
        self.encoder = encoders.build(
            encoder_size, image_px=config.image_px, drop_path=config.drop_path
        )
        plain = isinstance(encoder_size, ResNetSize)
        self.fc_norm = nn.Identity() if plain else NORM(encoder_size.embed_dim)
        self.head = nn.Linear(encoder_size.embed_dim, classes)
        trunc_normal_(self.head.weight, std=HEAD_STD)
        nn.init.zeros_(self.head.bias)

    def scores(self, image: Tensor) -> Tensor:
        """Return (B, C), before any sigmoid, of images (B, 3, P, P)."""
        return self.head(self.fc_norm(encoders.summarise(self.encoder, image)))

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of one batch.

        Args:
            batch: `image` (B, 3, P, P), normalised; `label` (B, C) of zeros and ones.

        Returns:
            `bce`, the mean binary cross-entropy over images and classes (nats).
        """
        scores, label = self.scores(batch["image"]).float(), batch["label"].float()
        return {"bce": F.binary_cross_entropy_with_logits(scores, label)}

    def predict(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return `logit` (B, C), the log-odds of each class."""
        return {"logit": self.scores(batch["image"]).float()}


def collect(batch: Mapping[str, Any], said: Mapping[str, Tensor]) -> list[Scored]:
    """Return the probability of each class in each image of a test batch."""
    # in double precision, so that confident scores do not round to ties at 1
    probability = said["logit"].double().sigmoid().numpy()
    label = batch["label"].numpy()
    named = zip(batch["name"], batch["patient"], probability, label, strict=True)
    return [Scored(*item) for item in named]
