"""How is a pre-trained encoder judged by detection? A frozen one by YOLOv3, or Faster R-CNN.

`yolo` is the head by which published encoders are compared; `faster_rcnn` is torchvision's, on a
pyramid, and usually trains the encoder as well (`freeze` False).

Source: the defaults, MGCA's detection (Wang et al., NeurIPS 2022): images of 224 pixels, frozen
encoder, YOLOv3. Ours: a frozen ResNet's batch norms keep their statistics; of a transformer, whose
last blocks all have one scale, three maps are made by one convolution each (ECAMP, 2023, uses
bottlenecks there); predictions of little confidence are kept, since the metric needs them.
Shapes: B images, P pixels along a side, D encoder width, G patches along a side, K boxes kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image, nms

from trainers import normalisation
from trainers.config import ConfigError, option
from trainers.modules import encoders, resnet, vit
from trainers.modules.rcnn import RCNNHead
from trainers.modules.yolo import YOLOHead
from trainers.normalisation import Levels
from trainers.predictions import Boxed
from trainers.resnets import ResNetSize
from trainers.weights import AnySize

CONFIDENCE = 0.001
"""Boxes below it are not kept."""
NMS_IOU = 0.5
"""Of two boxes that overlap by more, the less likely is not kept. Source: MGCA."""
MOST = 100
"""Boxes kept of an image, which is as many as the COCO tools look at."""
CHANNELS = {"yolo": 512, "faster_rcnn": 256}
"""Source: MGCA's YOLOv3; ViTDet and torchvision."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What a detection can be told; the defaults are MGCA's."""

    head: Literal["yolo", "faster_rcnn"] = option("yolo", "what finds boxes in the maps")
    freeze: bool = option(True, "leave the encoder as it is and train the head alone")
    image_px: int = option(224, "side of the square the network sees, in pixels")
    channels: int = option(
        0, "channels of YOLO's coarsest branch (0: 512), or of Faster R-CNN's pyramid (0: 256)"
    )
    hidden: int = option(1024, "width of the layers by which Faster R-CNN reads a proposal")
    proposals: int = option(1000, "proposals of Faster R-CNN an image, twice as many in training")
    samples: int = option(256, "anchors an image, and half the proposals, in Faster R-CNN's losses")
    drop_path: float = option(0.0, "stochastic depth of the encoder's last block, if it is trained")
    hflip: bool = option(False, "mirror half of the training images")
    crop_min: float = option(1.0, "share of a training image, from this to 1, that is seen at once")
    negatives: float = option(
        -1.0, "images without a box in an epoch, per image with one; below 0: all"
    )
    mean: Levels = option(
        0.5, "mean grey value, in [0, 1], that is taken off, or three; auto: the encoder's"
    )
    std: Levels = option(0.5, "grey value that the rest is divided by, likewise")
    cache: bool = option(False, "keep resized images in memory", recipe=False)

    def __post_init__(self) -> None:
        for name in ("image_px", "hidden", "proposals", "samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` is {getattr(self, name)}; expected at least 1")
        if self.channels < 0:
            raise ConfigError(f"`channels` is {self.channels}; expected 0 or more")
        if not 0 < self.crop_min <= 1:
            raise ConfigError(f"`crop_min` is {self.crop_min}; expected in (0, 1]")
        if not 0 <= self.drop_path < 1:
            raise ConfigError(f"`drop_path` is {self.drop_path}; expected in [0, 1)")
        normalisation.settle(self)


class Detector(nn.Module):
    """An encoder, and a head that finds boxes of one class in its maps."""

    def __init__(self, config: Config, encoder_size: AnySize) -> None:
        super().__init__()
        self.config, self.size = config, encoder_size
        drop_path = 0.0 if config.freeze else config.drop_path
        self.encoder = encoders.build(encoder_size, image_px=config.image_px, drop_path=drop_path)
        if config.freeze:
            self.encoder.requires_grad_(False)
        channels = config.channels or CHANNELS[config.head]
        if config.head == "yolo":
            self.scales = _Scales(encoder_size, channels)
            self.head: nn.Module = YOLOHead(
                self.scales.widths, channels=channels, image_px=config.image_px
            )
        else:
            self.head = RCNNHead(
                _widths(encoder_size),
                channels=channels,
                hidden=config.hidden,
                strides=_strides(encoder_size),
                image_px=config.image_px,
                confidence=CONFIDENCE,
                nms=NMS_IOU,
                most=MOST,
                proposals=config.proposals,
                samples=config.samples,
            )

    def train(self, mode: bool = True) -> Detector:
        """Turn training on or off; a frozen encoder stays as in a test, batch norms included."""
        super().train(mode)
        if self.config.freeze:
            self.encoder.eval()
        return self

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the weighted losses of one batch, as the head names them.

        Args:
            batch: `image` (B, 3, P, P), normalised; `boxes` (B, M, 4) left, top, right and bottom
                in pixels, of which the first `count` (B,) of each image are meant.
        """
        image, boxes, count = batch["image"], batch["boxes"], batch["count"]
        maps = self._maps(image)
        if isinstance(self.head, YOLOHead):
            return self.head.losses(self.head(self.scales(maps)), boxes, count)
        return self.head.losses(image, maps, boxes, count)

    def predict(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return `boxes` (B, K, 4), left, top, right, bottom in pixels, and `score` (B, K).

        The best first; what an image has less than K of is filled up with scores of 0.
        """
        image = batch["image"]
        maps = self._maps(image)
        if isinstance(self.head, YOLOHead):
            boxes, scores = self.head.boxes(self.head(self.scales(maps)))
            found = [self._best(b, s) for b, s in zip(boxes, scores, strict=True)]
        else:
            found = self.head.boxes(image, maps)
        kept = image.new_zeros(len(image), MOST, 4, dtype=torch.float32)
        score = image.new_zeros(len(image), MOST, dtype=torch.float32)
        for index, (own, sure) in enumerate(found):
            kept[index, : len(own)], score[index, : len(own)] = own, sure
        return {"boxes": kept, "score": score}

    def _best(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        side = self.config.image_px
        boxes = clip_boxes_to_image(boxes, (side, side))
        extent = boxes[:, 2:] - boxes[:, :2]
        likely = (scores >= CONFIDENCE) & (extent > 0).all(dim=1)
        boxes, scores = boxes[likely], scores[likely]
        kept = nms(boxes, scores, NMS_IOU)[:MOST]
        return boxes[kept], scores[kept]

    def _maps(self, image: Tensor) -> list[Tensor]:
        """Return a ResNet's four maps, finest first, or a transformer's one, (B, D, G, G)."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze):
            if isinstance(self.size, ResNetSize):
                return resnet.stages(self.encoder, image)
            _, (tokens,) = vit.encode(self.encoder, image, None, taps=[len(self.encoder.blocks)])
            grid = self.encoder.patch_embed.grid_size
            return [tokens[:, 1:].transpose(1, 2).unflatten(2, grid)]


class _Scales(nn.Module):
    """Makes the three maps that YOLO reads, finest first: a ResNet's own, or of a transformer's."""

    def __init__(self, size: AnySize, channels: int) -> None:
        super().__init__()
        if isinstance(size, ResNetSize):
            self.widths, self.convs = size.widths[1:], None
            return
        width = size.embed_dim
        self.widths = (channels, 2 * channels, 4 * channels)
        fine, middle, coarse = self.widths
        self.convs = nn.ModuleList(
            nn.Sequential(conv, nn.BatchNorm2d(out), nn.LeakyReLU(0.1))
            for conv, out in (
                (nn.ConvTranspose2d(width, fine, 2, stride=2, bias=False), fine),
                (nn.Conv2d(width, middle, 1, bias=False), middle),
                (nn.Conv2d(width, coarse, 3, stride=2, padding=1, bias=False), coarse),
            )
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the maps of twice, once and half the patches of a transformer's one map."""
        if self.convs is None:
            return list(maps[1:])
        return [conv(maps[-1]) for conv in self.convs]


def _widths(size: AnySize) -> tuple[int, ...]:
    return size.widths if isinstance(size, ResNetSize) else (size.embed_dim,)


def _strides(size: AnySize) -> tuple[float, ...]:
    if isinstance(size, ResNetSize):
        return 4, 8, 16, 32
    return size.patch_px / 4, size.patch_px / 2, size.patch_px, 2 * size.patch_px


def collect(batch: Mapping[str, Any], said: Mapping[str, Tensor]) -> list[Boxed]:
    """Return what `Detector.predict` said of each image of a test batch, in its own pixels."""
    found = []
    for index, (boxes, score) in enumerate(zip(said["boxes"], said["score"], strict=True)):
        there = score > 0
        height, width = int(batch["height"][index]), int(batch["width"][index])
        scale = np.tile(batch["scale"][index].numpy(), 2)
        corners = boxes[there].numpy().astype(np.float64) / scale
        corners = corners.clip(0, [width, height, width, height])
        sides = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        kept = (sides[:, 2:] > 0).all(axis=1)  # a box in the padding is none
        found.append(
            Boxed(
                batch["name"][index],
                batch["patient"][index],
                (height, width),
                sides[kept],
                score[there].numpy().astype(np.float64)[kept],
                batch["truth"][index],
            )
        )
    return found
