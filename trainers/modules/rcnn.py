"""How do torchvision's region proposals and box head read the maps of an encoder?

A plain transformer's last map is brought to four scales, 4, 2, 1 and a half; a ResNet has four of
its own, joined from coarse to fine. torchvision does all that follows: anchors, proposals, their
losses, and the boxes.

Source: Ren et al., "Faster R-CNN", 2015; the simple feature pyramid, Li et al., "Exploring Plain
Vision Transformer Backbones for Object Detection" (ViTDet), ECCV 2022, section 3; a ResNet's, Lin
et al. 2017. Ours: anchors are shares of the image rather than multiples of the stride, which for
512 pixels and patches of 16 is the same.
Shapes: B images, P pixels along a side, D channels of a map, E of the pyramid, G patches along a
side, M boxes.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign

LEVELS = ("0", "1", "2", "3")
ANCHOR_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Side of each map's square anchor, as a share of the image's side."""
SHAPES = (0.5, 1.0, 2.0)
"""Height over width of the anchors. Source: torchvision's default."""
ROI_CELLS = 7
CANONICAL_SHARE = 224 / 512
"""A box of this share of the image is read from the third map. Source: Lin et al. 2017, eq. 1."""
CLASSES = 2
"""As torchvision counts: background, and the one class."""


class SimplePyramid(nn.Module):
    """Makes four scales of one map: 4, 2, 1 and a half."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        half, quarter = max(width // 2, 1), max(width // 4, 1)
        up4 = nn.Sequential(
            nn.ConvTranspose2d(width, half, 2, stride=2),
            LayerNorm2d(half),
            nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
        )
        up2 = nn.ConvTranspose2d(width, half, 2, stride=2)
        down2 = nn.MaxPool2d(2, ceil_mode=True)
        self.scales = nn.ModuleList(
            nn.Sequential(scale, *_to_pyramid(own, channels))
            for scale, own in (
                (up4, quarter),
                (up2, half),
                (nn.Identity(), width),
                (down2, width),
            )
        )

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return (B, E, H, W) for H of 4G, 2G, G and G / 2, from x (B, D, G, G)."""
        return [scale(x) for scale in self.scales]


def _to_pyramid(width: int, channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(width, channels, 1, bias=False),
        LayerNorm2d(channels),
        nn.Conv2d(channels, channels, 3, padding=1, bias=False),
        LayerNorm2d(channels),
    ]


class _Given(nn.Module):
    """Stands where torchvision expects a backbone, and hands on maps that are already made."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.out_channels = channels
        self.maps: Sequence[Tensor] = ()

    def forward(self, images: Tensor) -> OrderedDict[str, Tensor]:
        return OrderedDict(zip(LEVELS, self.maps, strict=True))


class RCNNHead(nn.Module):
    """A pyramid, and torchvision's Faster R-CNN on it."""

    def __init__(
        self,
        widths: Sequence[int],
        *,
        channels: int,
        hidden: int,
        strides: Sequence[float],
        image_px: int,
        confidence: float,
        nms: float,
        most: int,
        proposals: int,
        samples: int,
    ) -> None:
        """Make the head.

        Args:
            widths: channels of a ResNet's four maps, finest first, or of a transformer's one.
            channels: E.
            hidden: width of the two layers that read a proposal.
            strides: pixels of a cell of each of the pyramid's maps.
            image_px: P.
            confidence: boxes below it are left out.
            nms: of two boxes that overlap by more, the less likely is left out.
            most: boxes of an image, at most.
            proposals: of an image, that the box head reads; twice as many in training.
            samples: anchors of an image that the proposals' losses look at; twice as many
                proposals go into the box head's.
        """
        super().__init__()
        self.pyramid: nn.Module = (
            SimplePyramid(widths[0], channels)
            if len(widths) == 1
            else FeaturePyramidNetwork(list(widths), channels)
        )
        self.single = len(widths) == 1
        sizes = tuple((round(share * image_px),) for share in ANCHOR_SHARES)
        self.detector = FasterRCNN(
            _Given(channels),
            num_classes=None,
            rpn_anchor_generator=AnchorGenerator(sizes, (SHAPES,) * len(sizes)),
            box_roi_pool=MultiScaleRoIAlign(
                list(LEVELS),
                output_size=ROI_CELLS,
                sampling_ratio=2,
                canonical_scale=max(round(CANONICAL_SHARE * image_px), 1),
                canonical_level=round(math.log2(strides[2])),
            ),
            box_head=_box_head(channels, hidden),
            box_predictor=FastRCNNPredictor(hidden, CLASSES),
            box_score_thresh=confidence,
            box_nms_thresh=nms,
            box_detections_per_img=most,
            rpn_pre_nms_top_n_train=2 * proposals,
            rpn_post_nms_top_n_train=2 * proposals,
            rpn_pre_nms_top_n_test=proposals,
            rpn_post_nms_top_n_test=proposals,
            rpn_batch_size_per_image=samples,
            box_batch_size_per_image=2 * samples,
            # images come normalised and in the one size
            min_size=image_px,
            max_size=image_px,
            image_mean=[0.0] * 3,
            image_std=[1.0] * 3,
            size_divisible=1,
        )

    def losses(
        self, image: Tensor, maps: Sequence[Tensor], boxes: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        """Return torchvision's four losses.

        Args:
            image: (B, 3, P, P); only its size is looked at.
            maps: of the encoder, as `widths` says.
            boxes: (B, M, 4) left, top, right and bottom, in pixels.
            count: (B,) how many of each image's boxes are meant.

        Returns:
            `proposal_object`, `proposal_place`, `class` and `place` (unitless).
        """
        wanted = [
            {"boxes": own[:n], "labels": torch.ones(n, dtype=torch.int64, device=own.device)}
            for own, n in zip(boxes, count.tolist(), strict=True)
        ]
        found = self._run(image, maps, wanted)
        return {
            "proposal_object": found["loss_objectness"],
            "proposal_place": found["loss_rpn_box_reg"],
            "class": found["loss_classifier"],
            "place": found["loss_box_reg"],
        }

    def boxes(self, image: Tensor, maps: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Return boxes (N, 4), left, top, right, bottom, and scores (N,) of each image."""
        return [(found["boxes"], found["scores"]) for found in self._run(image, maps, None)]

    def _run(self, image: Tensor, maps: Sequence[Tensor], wanted: object) -> object:
        if self.single:
            scales = self.pyramid(maps[-1])
        else:
            named = OrderedDict(zip(LEVELS, maps, strict=True))
            scales = list(self.pyramid(named).values())
        with torch.autocast(image.device.type, enabled=False):
            self.detector.backbone.maps = [scale.float() for scale in scales]
            try:
                return self.detector(list(image.float()), wanted)
            finally:
                self.detector.backbone.maps = ()


def _box_head(channels: int, hidden: int) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(channels * ROI_CELLS**2, hidden),
        nn.ReLU(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
    )
