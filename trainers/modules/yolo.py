"""What does YOLOv3 make of three maps of an image? Boxes of one class, as MGCA uses it.

Each map's cells predict three boxes each, from three anchors: x and y within the cell, width and
height as exponents of the anchor's, how sure it is that there is an object, and its class. The
coarser maps' features are handed on to the finer ones.

Source: Redmon and Farhadi, "YOLOv3: An Incremental Improvement", 2018, with branches, anchors,
losses and the choice of anchors as in MGCA's released code, oddities included: widths and heights
are counted in cells and one is added to each before anchors are compared; each map takes every box,
and where no anchor of it fits well, the cell is told of both an object and none.
Shapes: B images, P pixels along a side, A = 3 anchors, H and W cells, E channels, M boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ANCHORS = (
    ((116, 90), (156, 198), (373, 326)),
    ((30, 61), (62, 45), (59, 119)),
    ((10, 13), (16, 30), (33, 23)),
)
"""Width and height for an image of `ANCHOR_PX`, coarsest map first. Source: YOLOv3, on COCO."""
ANCHOR_PX = 416
SIDES = 4
ATTRIBUTES = SIDES + 2
"""Of a predicted box: its sides, whether there is an object, and whether it is of the one class."""
XY_WEIGHT = WH_WEIGHT = 2.5
NO_OBJECT_WEIGHT = 0.5
IGNORE_IOU = 0.5
"""An anchor that is no best one, but overlaps by more than this, is not told of no object."""


class Target(NamedTuple):
    """What one map should say, (B, A, H, W) but for `sides` (B, A, H, W, 4)."""

    there: Tensor
    """Where an object is, bool."""
    free: Tensor
    """Where none is, bool."""
    sides: Tensor
    """x and y within the cell, in [0, 1), and log width and height over the anchor's."""


def conv(width: int, out: int, kernel: int) -> nn.Sequential:
    """Return convolution, batch norm and leaky ReLU, keeping the size."""
    return nn.Sequential(
        nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.LeakyReLU(0.1),
    )


class Branch(nn.Module):
    """Five convolutions whose result is handed on, and two more to this map's boxes."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        narrow, wide = channels, 2 * channels
        self.body = nn.Sequential(
            conv(width, narrow, 1),
            conv(narrow, wide, 3),
            conv(wide, narrow, 1),
            conv(narrow, wide, 3),
            conv(wide, narrow, 1),
        )
        boxes = nn.Conv2d(wide, len(ANCHORS[0]) * ATTRIBUTES, 1)
        self.tip = nn.Sequential(conv(narrow, wide, 3), boxes)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, E, H, W) and boxes (B, A, H, W, 6) of a map."""
        features = self.body(x)
        boxes = self.tip(features).unflatten(1, (len(ANCHORS[0]), ATTRIBUTES))
        return features, boxes.permute(0, 1, 3, 4, 2)


class YOLOHead(nn.Module):
    """Three branches, the coarsest first, and what they are taught."""

    def __init__(self, widths: Sequence[int], *, channels: int, image_px: int) -> None:
        """Make the branches.

        Args:
            widths: channels of the three maps, finest first.
            channels: within the coarsest branch, twice and four times those of the finer ones.
            image_px: P.
        """
        super().__init__()
        fine, middle, coarse = widths
        half, quarter = max(channels // 2, 1), max(channels // 4, 1)
        self.image_px = image_px
        self.branches = nn.ModuleList(
            [
                Branch(coarse, channels),
                Branch(middle + half, half),
                Branch(fine + quarter, quarter),
            ]
        )
        self.hand_on = nn.ModuleList([conv(channels, half, 1), conv(half, quarter, 1)])
        anchors = torch.tensor(ANCHORS, dtype=torch.float32) * (image_px / ANCHOR_PX)
        self.register_buffer("anchors", anchors, persistent=False)  # (3, A, 2), in pixels

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return (B, A, H, W, 6) of each of three maps (B, E, H, W); coarsest first, unlike `maps`.

        Before any sigmoid.
        """
        features, said = self.branches[0](maps[-1])
        everything = [said]
        for branch, hand_on, own in zip(
            self.branches[1:], self.hand_on, reversed(maps[:-1]), strict=True
        ):
            handed = F.interpolate(hand_on(features), size=own.shape[2:], mode="nearest")
            features, said = branch(torch.cat([handed, own], dim=1))
            everything.append(said)
        return everything

    def losses(self, said: Sequence[Tensor], boxes: Tensor, count: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of what `forward` said, each a mean over all cells.

        Args:
            said: of `forward`.
            boxes: (B, M, 4) left, top, right and bottom, in pixels.
            count: (B,) how many of each image's boxes are meant.

        Returns:
            `place` and `size` of the boxes, `object` and `class` (unitless).
        """
        total: dict[str, Tensor] = {}
        for level, output in enumerate(said):
            for name, value in self._losses(output.float(), level, boxes, count).items():
                total[name] = total[name] + value if name in total else value
        return total

    def _losses(
        self, output: Tensor, level: int, boxes: Tensor, count: Tensor
    ) -> dict[str, Tensor]:
        height, width = output.shape[2:4]
        cells = self.anchors[level] / self._stride(height, width)
        target = targets(boxes / self._stride(height, width).repeat(2), count, cells,
                         (height, width))  # fmt: skip
        there, free = target.there.to(output.dtype), target.free.to(output.dtype)
        numel = there.numel()

        def cross_entropy(logits: Tensor, truth: Tensor, where: Tensor) -> Tensor:
            each = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
            return (each * where).sum() / numel

        place = sum(cross_entropy(output[..., i], target.sides[..., i], there) for i in (0, 1))
        apart = (output[..., 2:4] - target.sides[..., 2:4]).square().sum(dim=-1)
        found = cross_entropy(output[..., 4], torch.ones_like(there), there)
        nothing = cross_entropy(output[..., 4], torch.zeros_like(there), free)
        return {
            "place": XY_WEIGHT * place,
            "size": WH_WEIGHT * (apart * there).sum() / numel,
            "object": found + NO_OBJECT_WEIGHT * nothing,
            "class": cross_entropy(output[..., 5], torch.ones_like(there), there),
        }

    def boxes(self, said: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return boxes (B, N, 4), left, top, right, bottom in pixels, and scores (B, N) in [0, 1].

        The score is that of there being an object, as in MGCA's code. Nothing is suppressed yet.
        """
        every, scores = [], []
        for level, output in enumerate(said):
            output = output.float()
            height, width = output.shape[2:4]
            stride = self._stride(height, width)
            rows = torch.arange(height, device=output.device)
            columns = torch.arange(width, device=output.device)
            corner = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)  # (H, W, 2)
            centre = (output[..., :2].sigmoid() + corner) * stride
            # an untrained network may say any exponent, and infinity is no box
            size = output[..., 2:4].clamp(max=8).exp() * self.anchors[level][:, None, None]
            every.append(torch.cat([centre - size / 2, centre + size / 2], dim=-1).flatten(1, 3))
            scores.append(output[..., 4].sigmoid().flatten(1))
        return torch.cat(every, dim=1), torch.cat(scores, dim=1)

    def _stride(self, height: int, width: int) -> Tensor:
        """Return (2,) pixels of a cell along x and y."""
        return self.anchors.new_tensor([self.image_px / width, self.image_px / height])


def targets(boxes: Tensor, count: Tensor, anchors: Tensor, size: tuple[int, int]) -> Target:
    """Return what one map should say of the boxes of each image.

    Args:
        boxes: (B, M, 4) left, top, right and bottom, in cells.
        count: (B,) how many of them are meant.
        anchors: (A, 2) width and height, in cells.
        size: H and W.
    """
    B, A = len(boxes), len(anchors)
    height, width = size
    there = torch.zeros(B, A, height, width, dtype=torch.bool, device=boxes.device)
    free, sides = ~there, torch.zeros(B, A, height, width, SIDES, device=boxes.device)
    image, number = torch.nonzero(
        torch.arange(boxes.shape[1], device=boxes.device) < count[:, None], as_tuple=True
    )
    own = boxes[image, number]  # (K, 4)
    centre, extent = (own[:, :2] + own[:, 2:]) / 2, own[:, 2:] - own[:, :2]
    column = centre[:, 0].long().clamp(0, width - 1)
    row = centre[:, 1].long().clamp(0, height - 1)
    overlap = shape_iou(extent, anchors)  # (K, A)
    box, anchor = torch.nonzero(overlap > IGNORE_IOU, as_tuple=True)
    free[image[box], anchor, row[box], column[box]] = False
    best = overlap.argmax(dim=1)
    there[image, best, row, column] = True
    within = centre - torch.stack([column, row], dim=1)
    sides[image, best, row, column] = torch.cat([within, (extent / anchors[best]).log()], dim=1)
    return Target(there, free, sides)


def shape_iou(extent: Tensor, anchors: Tensor) -> Tensor:
    """Return (K, A) how far boxes (K, 2) and anchors (A, 2) laid on one corner overlap.

    One is added to every width and height, as in MGCA's code.
    """
    both = torch.minimum(extent[:, None], anchors[None]) + 1
    inter = both.prod(dim=-1)
    each, other = (extent + 1).prod(dim=-1), (anchors + 1).prod(dim=-1)
    return inter / (each[:, None] + other[None] - inter)
