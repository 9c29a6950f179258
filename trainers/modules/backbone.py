"""How does a plain encoder give dense features? With what BEiT adds, and without its last norm.

A relative position bias and layer scales are added to the encoder from outside, zero and one at
first, so that at the start the encoder computes what it did, and keeps its parameters' names.

Source: MRM's segmentation backbone (after BEiT, Bao et al., 2022).
Shapes: B images, P pixels along a side, G patches along a side, N = G * G, H heads, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.layers.pos_embed_rel import gen_relative_position_index
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

CLASS_TOKEN_PAIRS = 3
"""The class token to a patch, a patch to it, and it to itself: one bias each."""


class BlockExtras(nn.Module):
    """What one block gets beside the pre-trained weights."""

    def __init__(self, grid: int, width: int, heads: int) -> None:
        super().__init__()
        pairs = (2 * grid - 1) ** 2 + CLASS_TOKEN_PAIRS
        self.relative_position_bias_table = nn.Parameter(torch.zeros(pairs, heads))
        self.gamma_1 = nn.Parameter(torch.ones(width))
        self.gamma_2 = nn.Parameter(torch.ones(width))


class DenseFeatures(nn.Module):
    """Runs an encoder it does not own, and returns the patches after some of its blocks."""

    def __init__(self, encoder: VisionTransformer, *, taps: Sequence[int]) -> None:
        super().__init__()
        self.taps = tuple(taps)
        self.grid = encoder.patch_embed.grid_size[0]
        self.heads = encoder.blocks[0].attn.num_heads
        self.blocks = nn.ModuleList(
            BlockExtras(self.grid, encoder.embed_dim, self.heads) for _ in encoder.blocks
        )
        index = gen_relative_position_index((self.grid, self.grid), class_token=True)
        self.register_buffer("index", index, persistent=False)  # (1 + N, 1 + N)

    def forward(self, encoder: VisionTransformer, image: Tensor) -> list[Tensor]:
        """Return the output of each tapped block, (B, D, G, G), of images (B, 3, P, P)."""
        tokens = encoder.patch_embed(image) + encoder.pos_embed[:, 1:]  # (B, N, D)
        first = (encoder.cls_token + encoder.pos_embed[:, :1]).expand(len(tokens), -1, -1)
        tokens = torch.cat([first.to(tokens.dtype), tokens], dim=1)  # (B, 1 + N, D)
        maps = {}
        for number, (block, extras) in enumerate(zip(encoder.blocks, self.blocks, strict=True)):
            bias = extras.relative_position_bias_table[self.index].permute(2, 0, 1)  # (H, 1+N, 1+N)
            seen = block.attn(block.norm1(tokens), attn_mask=bias[None].to(tokens.dtype))
            tokens = tokens + block.drop_path1(extras.gamma_1 * seen)
            tokens = tokens + block.drop_path2(extras.gamma_2 * block.mlp(block.norm2(tokens)))
            if number in self.taps:
                patches = tokens[:, 1:].transpose(1, 2)  # (B, D, N)
                maps[number] = patches.unflatten(2, (self.grid, self.grid))
        return [maps[number] for number in self.taps]


def taps_of(depth: int) -> tuple[int, int, int, int]:
    """Return which blocks, from 0, feed the four scales: 3, 5, 7 and 11 of twelve.

    Other depths take the same shares of their blocks, rounded.

    Source: MRM's segmentation configuration.
    """
    shares = (4 / 12, 6 / 12, 8 / 12, 1.0)
    first, second, third, last = (max(round(share * depth), 1) - 1 for share in shares)
    return first, second, third, last
