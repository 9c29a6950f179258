"""How do features at four scales become a map of class scores? UPerNet, and FCN beside it.

A plain transformer has a single scale, from which `Pyramid` makes four; a ResNet has them.

Source: Xiao et al., "Unified Perceptual Parsing for Scene Understanding", ECCV 2018, in the form
mmsegmentation gives it for transformers (`Feature2Pyramid`, `UPerHead`, `FCNHead`), with the sizes
of MRM's segmentation configuration.
Shapes: B images, D channels in (of each scale), E channels within, C classes, G x G patches.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOL_SIZES = (1, 2, 3, 6)
LEVELS = 4


class Norm(nn.BatchNorm2d):
    """Batch normalisation that falls back on its running statistics for a single value a channel.

    A batch of one image pooled to one pixel has no variance, and torch refuses it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B, E, H, W)."""
        if self.training and x.numel() == x.shape[1]:
            mean, variance = self.running_mean, self.running_var
            return F.batch_norm(x, mean, variance, self.weight, self.bias, False, 0.0, self.eps)
        return super().forward(x)


def conv(width: int, out: int, kernel: int) -> nn.Sequential:
    """Return convolution, batch norm and ReLU, keeping the size."""
    layer = nn.Conv2d(width, out, kernel, padding=kernel // 2, bias=False)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(layer, Norm(out), nn.ReLU(inplace=True))


def classify(width: int, classes: int, dropout: float) -> nn.Sequential:
    """Return the last layer: whole channels dropped, then one score a class and pixel."""
    layer = nn.Conv2d(width, classes, 1)
    nn.init.normal_(layer.weight, std=0.01)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(nn.Dropout2d(dropout), layer)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return `x` (B, E, H, W) at another height and width, bilinear between pixel centres."""
    if x.shape[2:] == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)


class Pyramid(nn.Module):
    """Makes four scales of four equally large feature maps: 4, 2, 1 and a half."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up4 = nn.Sequential(
            nn.ConvTranspose2d(width, width, 2, stride=2),
            Norm(width),
            nn.GELU(),
            nn.ConvTranspose2d(width, width, 2, stride=2),
        )
        self.up2 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.down2 = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return (B, D, 4G, 4G), (B, D, 2G, 2G), (B, D, G, G), (B, D, G/2, G/2) of (B, D, G, G)."""
        first, second, third, fourth = maps
        return [self.up4(first), self.up2(second), third, self.down2(fourth)]


class Pooling(nn.Module):
    """Looks at the coarsest map as a whole: means over 1, 2 x 2, 3 x 3 and 6 x 6 parts of it."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), conv(width, channels, 1))
            for size in POOL_SIZES
        )
        self.join = conv(width + len(POOL_SIZES) * channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, E, H, W) of (B, D, H, W)."""
        pooled = [resize(part(x), x.shape[2:]) for part in self.parts]
        return self.join(torch.cat([x, *pooled], dim=1))


class UPerHead(nn.Module):
    """Joins four scales, coarse to fine, and scores every class at the finest."""

    def __init__(
        self, widths: Sequence[int], *, channels: int, classes: int, dropout: float
    ) -> None:
        super().__init__()
        self.pooling = Pooling(widths[-1], channels)
        self.lateral = nn.ModuleList(conv(width, channels, 1) for width in widths[:-1])
        self.smooth = nn.ModuleList(conv(channels, channels, 3) for _ in range(LEVELS - 1))
        self.join = conv(LEVELS * channels, channels, 3)
        self.classify = classify(channels, classes, dropout)

    def forward(self, scales: Sequence[Tensor]) -> Tensor:
        """Return scores (B, C, H, W) at the height and width of the finest of `scales`."""
        maps = [lateral(x) for lateral, x in zip(self.lateral, scales, strict=False)]
        maps.append(self.pooling(scales[-1]))
        for level in range(LEVELS - 1, 0, -1):
            finer = maps[level - 1]
            maps[level - 1] = finer + resize(maps[level], finer.shape[2:])
        joined = [smooth(x) for smooth, x in zip(self.smooth, maps, strict=False)]
        joined.append(maps[-1])
        size = maps[0].shape[2:]
        return self.classify(self.join(torch.cat([resize(x, size) for x in joined], dim=1)))


class FCNHead(nn.Module):
    """Scores every class from one scale, to teach the encoder's middle directly."""

    def __init__(self, width: int, *, channels: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.conv = conv(width, channels, 3)
        self.classify = classify(channels, classes, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return scores (B, C, H, W) of (B, D, H, W)."""
        return self.classify(self.conv(x))
