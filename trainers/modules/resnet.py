"""What does a ResNet-50 make of an image? Maps at four scales, of which the last is the summary.

The encoder is timm's `ResNet`, whose parameters have the names they have in torchvision.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, with the stride in the
3 x 3 convolutions, as torchvision and timm have it.
Shapes: B images, P pixels along a side, D channels at the end.
"""

from __future__ import annotations

from timm.models.resnet import Bottleneck, ResNet
from torch import Tensor

from trainers.resnets import BLOCKS, ResNetSize


def build_encoder(size: ResNetSize, *, drop_path: float = 0.0) -> ResNet:
    """Return a freshly initialised encoder, without pooling or classification layer.

    Args:
        size: of the encoder.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
    """
    channels = tuple(size.width * 2**stage for stage in range(len(BLOCKS)))
    return ResNet(
        Bottleneck,
        BLOCKS,
        num_classes=0,
        global_pool="",
        channels=channels,
        drop_path_rate=drop_path,
    )


def stages(encoder: ResNet, images: Tensor) -> list[Tensor]:
    """Return the maps after the four stages of images (B, 3, P, P), finest first.

    Their sides are P / 4, P / 8, P / 16 and P / 32, rounded up; their channels, `size.widths`.
    """
    x = encoder.maxpool(encoder.act1(encoder.bn1(encoder.conv1(images))))
    maps = []
    for stage in (encoder.layer1, encoder.layer2, encoder.layer3, encoder.layer4):
        x = stage(x)
        maps.append(x)
    return maps


def encode(encoder: ResNet, images: Tensor) -> Tensor:
    """Return the mean of the last map of images (B, 3, P, P), (B, D)."""
    return stages(encoder, images)[-1].mean(dim=(2, 3))
