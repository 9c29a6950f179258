"""Which kinds of encoder can a task be given, and how does each sum up an image?

Shapes: B images, P pixels along a side, N patches, D encoder width.
"""

from __future__ import annotations

from timm.models.resnet import ResNet
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from trainers.config import ConfigError
from trainers.modules import resnet, vit
from trainers.resnets import ResNetSize
from trainers.weights import AnySize

Encoder = VisionTransformer | ResNet


def build(size: AnySize, *, image_px: int, drop_path: float) -> Encoder:
    """Return an encoder to be fine-tuned on images of `image_px` pixels a side, all of it trained.

    But for the final norm of a transformer, which is not used.

    Raises:
        ConfigError: the patches of a transformer do not divide the image.
    """
    if isinstance(size, ResNetSize):
        return resnet.build_encoder(size, drop_path=drop_path)
    if image_px % size.patch_px:
        raise ConfigError(
            f"`image_px` is {image_px}; expected a multiple of the encoder's patches "
            f"of {size.patch_px} pixels"
        )
    encoder = vit.build_encoder(size, drop_path=drop_path, fixed_positions=False, image_px=image_px)
    encoder.norm.requires_grad_(False)
    return encoder


def summarise(encoder: Encoder, images: Tensor) -> Tensor:
    """Return one vector of each image (B, 3, P, P), (B, D).

    Of a transformer the mean of the patch tokens after the last block, before the final norm; of a
    ResNet the mean of the last map.
    """
    if isinstance(encoder, ResNet):
        return resnet.encode(encoder, images)
    _, (tokens,) = vit.encode(encoder, images, None, taps=[len(encoder.blocks)])
    return tokens[:, 1:].mean(dim=1)


def patches(encoder: Encoder, images: Tensor) -> Tensor:
    """Return the patches of images (B, 3, P, P), (B, N, D), row by row.

    Of a transformer the tokens after the last block, before the final norm and without the class
    token; of a ResNet the places of the last map.
    """
    if isinstance(encoder, ResNet):
        return resnet.stages(encoder, images)[-1].flatten(2).transpose(1, 2)
    _, (tokens,) = vit.encode(encoder, images, None, taps=[len(encoder.blocks)])
    return tokens[:, 1:]


def patch_norm(size: AnySize) -> nn.Module:
    """Return a fresh norm for a transformer's patches; a ResNet's, which have one, get none."""
    return nn.Identity() if isinstance(size, ResNetSize) else vit.NORM(size.embed_dim)
