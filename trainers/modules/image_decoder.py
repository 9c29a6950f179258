"""How are hidden patches rebuilt from the seen ones? MAE's decoder, on one block's output.

The parameters are named as in MRM's released weights (`decoder_embed`, `mask_token`,
`decoder_blocks`, `decoder_norm`, `decoder_pred`). The position table is handed in, since several
decoders may share one.

Shapes: B images, N patches of each, K seen, M = N - K hidden, D encoder width, W decoder width,
V values predicted per patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainers.modules import vit
from trainers.modules.vit import Mask


class ImageDecoder(nn.Module):
    """A light transformer that sees all patches, hidden ones as a learnt token.

    Source: MAE, He et al. 2022, section 3 ("MAE decoder").
    """

    def __init__(
        self, embed_dim: int, *, width: int, depth: int, num_heads: int, values: int
    ) -> None:
        super().__init__()
        self.decoder_embed = nn.Linear(embed_dim, width)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.decoder_blocks = nn.ModuleList(vit.block(width, num_heads) for _ in range(depth))
        self.decoder_norm = vit.NORM(width)
        self.decoder_pred = nn.Linear(width, values)
        vit.initialise(self)
        nn.init.normal_(self.mask_token, std=0.02)

    def forward(self, latent: Tensor, mask: Mask, positions: Tensor) -> Tensor:
        """Return what is predicted for the hidden patches, (B, M, V), in the order of `mask.hide`.

        Args:
            latent: (B, 1 + K, D), the class token first, the seen patches as in `mask.keep`.
            mask: which patches are which.
            positions: (1, 1 + N, W).
        """
        seen = self.decoder_embed(latent)  # (B, 1 + K, W)
        tokens = self.mask_token.to(seen.dtype).expand(len(seen), mask.hide.shape[1], -1)
        patches = vit.pick(torch.cat([seen[:, 1:], tokens], dim=1), mask.restore)  # (B, N, W)
        tokens = torch.cat([seen[:, :1], patches], dim=1) + positions  # (B, 1 + N, W)
        for layer in self.decoder_blocks:
            tokens = layer(tokens)
        # the rest is per patch: the seen ones are not scored, so they are spared it
        return self.decoder_pred(self.decoder_norm(vit.pick(tokens[:, 1:], mask.hide)))
