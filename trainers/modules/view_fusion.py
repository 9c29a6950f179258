"""How do several views of a patient become one memory and one vector?

Shapes: B studies, V views of each, N patches of a view, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Fused(NamedTuple):
    """What the views of a study say together."""

    memory: Tensor
    """(B, V * N, D) patches of the first view, then of the second, ...: what a decoder looks at."""
    whole: Tensor
    """(B, V * D) the views' class tokens side by side: what is contrasted with a report."""


class ViewFusion(nn.Module):
    """Weighs each patch of each view by what all views show at its place.

    A view's class token is added to its patches first. The weights are scalars in (0, 1); those of
    the views at one place do not add up to 1.

    Source: REFERS's released code (`fusion`), whose parameters have these names; the paper (Zhou et
    al. 2022) describes attention over views instead.
    """

    def __init__(self, width: int, views: int) -> None:
        super().__init__()
        self.views = views
        for number in range(1, views + 1):
            self.add_module(f"fc{number}", nn.Linear(views * width, 1))

    def forward(self, tokens: Tensor) -> Fused:
        """Return the views of each study fused.

        Args:
            tokens: (B, V, 1 + N, D), the class token first.
        """
        first, patches = tokens[:, :, 0], tokens[:, :, 1:] + tokens[:, :, :1]
        there = patches.transpose(1, 2).flatten(2)  # (B, N, V * D)
        weights = [self.get_submodule(f"fc{n}")(there) for n in range(1, self.views + 1)]
        weight = torch.stack(weights, dim=1).sigmoid()  # (B, V, N, 1)
        return Fused((weight * patches).flatten(1, 2), first.flatten(1))
