"""How is a pre-trained encoder judged by segmentation? MRM's network, losses and settings.

Source: MRM's mmsegmentation 0.25 configuration for SIIM-ACR, with the losses as MONAI has them.
Where a mask is `IGNORE` (padding), nothing is learnt.
Shapes: B images, P pixels along a side, C = 2 classes: background, foreground.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from monai.losses import DiceLoss, FocalLoss
from torch import Tensor, nn

from trainers import normalisation
from trainers.config import ConfigError, option
from trainers.modules import encoders, resnet
from trainers.modules.backbone import DenseFeatures, taps_of
from trainers.modules.upernet import LEVELS, FCNHead, Pyramid, UPerHead, resize
from trainers.normalisation import Levels
from trainers.predictions import Masked, pack_mask
from trainers.resnets import ResNetSize
from trainers.weights import AnySize

IGNORE = 255
CLASSES = 2
AUX_SCALE = 2
"""Which scale the auxiliary head looks at: that of the patches themselves, or a third stage."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a segmentation can be told; the defaults are MRM's."""

    image_px: int = option(512, "side of the square the network sees, in pixels")
    channels: int = option(768, "channels within the UPerNet head")
    aux_channels: int = option(256, "channels within the auxiliary head")
    dropout: float = option(0.1, "share of channels dropped before the last layer")
    drop_path: float = option(0.1, "stochastic depth of the encoder's last block")
    focal_weight: float = option(2.0, "weight of the focal loss")
    dice_weight: float = option(1.0, "weight of the Dice loss")
    aux_weight: float = option(0.4, "weight of the auxiliary head's losses, beside the above")
    mean: Levels = option("auto", "mean grey value, in [0, 1], or three; auto: as pre-trained")
    std: Levels = option("auto", "standard deviation of the same, likewise")
    cache: bool = option(False, "keep resized images and masks in memory", recipe=False)

    def __post_init__(self) -> None:
        if self.image_px < 1 or self.channels < 1 or self.aux_channels < 1:
            raise ConfigError("`image_px`, `channels` and `aux_channels` must be at least 1")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected in [0, 1)")
        normalisation.settle(self)


class Segmenter(nn.Module):
    """The encoder with BEiT's additions, a pyramid, UPerNet, and an auxiliary FCN head.

    The pre-trained final norm is not used, and every other parameter is trained, the positions
    too, which start as the pre-trained ones for this grid. A ResNet has four scales of its own and
    gets neither additions nor pyramid, as in mmsegmentation's UPerNet.
    """

    def __init__(self, config: Config, encoder_size: AnySize) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size
        self.encoder = encoders.build(
            encoder_size, image_px=config.image_px, drop_path=config.drop_path
        )
        if isinstance(encoder_size, ResNetSize):
            widths = encoder_size.widths
        else:
            widths = (encoder_size.embed_dim,) * LEVELS
            self.extras = DenseFeatures(self.encoder, taps=taps_of(encoder_size.depth))
            self.pyramid = Pyramid(encoder_size.embed_dim)
        settings = {"classes": CLASSES, "dropout": config.dropout}
        self.head = UPerHead(widths, channels=config.channels, **settings)
        self.aux_head = FCNHead(widths[AUX_SCALE], channels=config.aux_channels, **settings)

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses of one batch.

        Args:
            batch: `image` (B, 3, P, P), normalised; `mask` (B, P, P) of 0, 1 and `IGNORE`.

        Returns:
            `focal` and `dice` of the head, and `aux`, both of the auxiliary head (unitless).
        """
        config, mask = self.config, batch["mask"].long()
        scales = self._scales(batch["image"])
        focal, dice = losses(self.head(scales), mask)
        aux_focal, aux_dice = losses(self.aux_head(scales[AUX_SCALE]), mask)
        aux = config.focal_weight * aux_focal + config.dice_weight * aux_dice
        return {
            "focal": config.focal_weight * focal,
            "dice": config.dice_weight * dice,
            "aux": config.aux_weight * aux,
        }

    def predict(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return `margin` (B, P, P): by how much foreground outscores background."""
        image = batch["image"]
        scores = resize(self.head(self._scales(image)).float(), image.shape[2:])
        return {"margin": scores[:, 1] - scores[:, 0]}

    def _scales(self, image: Tensor) -> list[Tensor]:
        if isinstance(self.size, ResNetSize):
            return resnet.stages(self.encoder, image)
        return self.pyramid(self.extras(self.encoder, image))


def losses(scores: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return focal and Dice loss at the mask's size, in full precision.

    Focal: sigmoid of each class, gamma 2, alpha 0.5, the mean over pixels and classes. Dice:
    softmax, squared denominator, smooth 1, foreground only but divided by both classes, hence
    halved; the mean over images.

    Args:
        scores: (B, C, h, w), before any sigmoid.
        mask: (B, P, P) int64; `IGNORE` counts in neither.

    Source: MRM's segmentation configuration; class weights [0, 1] over two classes.
    """
    with torch.autocast(scores.device.type, enabled=False):
        scores = resize(scores.float(), mask.shape[1:])
        known = (mask != IGNORE)[:, None]  # (B, 1, P, P)
        truth = F.one_hot(mask.where(mask != IGNORE, 0), CLASSES).movedim(3, 1).float()
        each = FocalLoss(gamma=2.0, alpha=0.5, reduction="none")(scores, truth)
        focal = (each * known).sum() / (known.sum() * CLASSES).clamp(min=1)
        foreground = DiceLoss(
            include_background=False, squared_pred=True, smooth_nr=1.0, smooth_dr=1.0
        )(scores.softmax(dim=1) * known, truth * known)
        return focal, foreground / CLASSES


def collect(batch: Mapping[str, Any], said: Mapping[str, Tensor]) -> list[Masked]:
    """Return what `Segmenter.predict` said of each image of a test batch, at its own size."""
    found = []
    for index, margin in enumerate(said["margin"]):
        shape = int(batch["height"][index]), int(batch["width"][index])
        prediction = pack_mask(to_original(margin, *shape).numpy())
        name, patient, truth = (batch[key][index] for key in ("name", "patient", "truth"))
        seen = bool(batch["seen"][index]) if "seen" in batch else None
        found.append(Masked(name, patient, shape, prediction, truth, seen))
    return found


def to_original(margin: Tensor, height: int, width: int) -> Tensor:
    """Return the mask (height, width), bool, of an image from its `margin` (P, P).

    The image lay in the top left corner of the square, its longer side as long as the square's;
    the rest was padding and is cut off. Scores are resized, not masks.
    """
    side, long = margin.shape[-1], max(height, width)
    inside = margin[: _scaled(height, side, long), : _scaled(width, side, long)]
    return resize(inside[None, None], (height, width))[0, 0] > 0


def _scaled(length: int, side: int, long: int) -> int:
    return side if length == long else max(1, int(length * (side / long) + 0.5))
