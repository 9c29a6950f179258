"""What is the encoder, and how does it see a part of an image?

The encoder is timm's `VisionTransformer`, so that every parameter has the name it has there, in
MAE and in MRM; only the way through it is ours, since timm does not drop patches as MAE does.

Shapes: B images, N patches of an image, K of them kept, D width, P pixels of an image's side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple, overload

import torch
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from trainers.modules.positions import sincos_table
from trainers.weights import EncoderSize

MLP_RATIO = 4.0
NORM = partial(nn.LayerNorm, eps=1e-6)
"""Source: MAE and MRM, every LayerNorm of encoder and decoder."""


class Mask(NamedTuple):
    """Which patches of each image are seen."""

    keep: Tensor
    """(B, K) numbers of the kept patches, in the order the encoder gets them."""
    hide: Tensor
    """(B, N - K) numbers of the others."""
    restore: Tensor
    """(B, N) where each patch stands in "kept, then hidden"."""


def mask_from(noise: Tensor, mask_ratio: float) -> Mask:
    """Keep the patches with the least noise.

    Args:
        noise: (B, N), any real numbers; equal ones keep their order.
        mask_ratio: share of patches hidden, in [0, 1); N * (1 - mask_ratio) is rounded down.

    Source: MAE, He et al. 2022, section 3 ("random sampling"), as in the released code.
    """
    K = int(noise.shape[1] * (1 - mask_ratio))
    order = noise.argsort(dim=1, stable=True)
    return Mask(order[:, :K], order[:, K:], order.argsort(dim=1))


def mask_of(batch: Mapping[str, Tensor], *, patches: int, mask_ratio: float) -> Mask:
    """Return the mask of a batch: by its `noise` (B, N), which is drawn where it is absent."""
    noise = batch.get("noise")
    if noise is None:
        noise = torch.rand(len(batch["image"]), patches, device=batch["image"].device)
    return mask_from(noise, mask_ratio)


def pick(tokens: Tensor, numbers: Tensor) -> Tensor:
    """Return from `tokens` (B, N, D) the ones that `numbers` (B, K) names, (B, K, D)."""
    return tokens.gather(1, numbers[:, :, None].expand(-1, -1, tokens.shape[2]))


def block(width: int, num_heads: int, *, drop_path: float = 0.0) -> Block:
    """Return one pre-norm transformer block as encoder and image decoders use it."""
    return Block(width, num_heads, MLP_RATIO, qkv_bias=True, norm_layer=NORM, drop_path=drop_path)


def initialise(module: nn.Module) -> None:
    """Initialise every Linear and LayerNorm below `module` as MAE does: xavier-uniform, 0; 1, 0.

    Source: MAE's and MRM's released code, `_init_weights`.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.LayerNorm):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def build_encoder(
    size: EncoderSize,
    *,
    drop_path: float = 0.0,
    fixed_positions: bool,
    image_px: int | None = None,
    dropout: float = 0.0,
) -> VisionTransformer:
    """Return a freshly initialised encoder without head or pooling.

    Positions start as the sine-cosine table either way.

    Args:
        size: of the encoder.
        drop_path: stochastic depth of the last block; it grows linearly from 0.
        fixed_positions: whether `pos_embed` is left untrained, as in pre-training.
        image_px: another image side than the one pre-trained on, such as 512 for segmentation.
        dropout: of the tokens that enter the first block and within each MLP, not of attention.
    """
    size_px = size.image_px if image_px is None else image_px
    encoder = VisionTransformer(
        img_size=size_px,
        patch_size=size.patch_px,
        embed_dim=size.embed_dim,
        depth=size.depth,
        num_heads=size.num_heads,
        mlp_ratio=MLP_RATIO,
        num_classes=0,
        global_pool="",
        pos_drop_rate=dropout,
        drop_path_rate=drop_path,
        norm_layer=NORM,
    )
    for layer in encoder.blocks:  # timm's `proj_drop_rate` would reach attention's output too
        layer.mlp.drop1.p = layer.mlp.drop2.p = dropout
    initialise(encoder)
    with torch.no_grad():
        projection = encoder.patch_embed.proj
        nn.init.xavier_uniform_(projection.weight.view(size.embed_dim, -1))
        nn.init.zeros_(projection.bias)
        nn.init.normal_(encoder.cls_token, std=0.02)
        encoder.pos_embed.copy_(sincos_table(size_px // size.patch_px, size.embed_dim))
    encoder.pos_embed.requires_grad_(not fixed_positions)
    return encoder


@overload
def encode(
    encoder: VisionTransformer,
    images: Tensor,
    keep: Tensor | None = None,
    taps: tuple[()] = (),
) -> Tensor: ...
@overload
def encode(
    encoder: VisionTransformer, images: Tensor, keep: Tensor | None, taps: Sequence[int]
) -> tuple[Tensor, list[Tensor]]: ...
def encode(
    encoder: VisionTransformer,
    images: Tensor,
    keep: Tensor | None = None,
    taps: Sequence[int] = (),
) -> Tensor | tuple[Tensor, list[Tensor]]:
    """Return class token and patch tokens after the last block and the final norm.

    Args:
        encoder: as `build_encoder` makes it.
        images: (B, 3, P, P), normalised.
        keep: (B, K) the patches that go through the blocks; all of them if not given.
        taps: blocks, counted from 1, whose outputs (before any norm) are returned as well.

    Returns:
        (B, 1 + K, D), class token first; with `taps`, also one such tensor for each, ascending.
    """
    tokens = encoder.patch_embed(images) + encoder.pos_embed[:, 1:]  # (B, N, D)
    if keep is not None:
        tokens = pick(tokens, keep)
    first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(tokens), -1, -1)
    tokens = encoder.pos_drop(torch.cat([first.to(tokens.dtype), tokens], dim=1))  # (B, 1 + K, D)
    tapped = []
    for number, layer in enumerate(encoder.blocks, start=1):
        tokens = layer(tokens)
        if number in taps:
            tapped.append(tokens)
    tokens = encoder.norm(tokens)
    return (tokens, tapped) if taps else tokens
