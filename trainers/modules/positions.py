"""Where is a patch? The fixed sine-cosine table, in its usual and in MRM's released form.

Shapes: G patches along a side, D width of a token. A table is (1, 1 + G*G, D); row 0 belongs to the
class token, the others to patches from left to right, then from top to bottom.
"""

from __future__ import annotations

import torch
from torch import Tensor


def sincos_table(grid: int, width: int, *, legacy: bool = False) -> Tensor:
    """Return the fixed table (1, 1 + grid*grid, width), float32; zeros for the class token.

    The first half of a row tells the column, the second half the row; in each half, sines come
    before cosines, from the fastest wave to the slowest.

    Args:
        grid: patches along a side.
        width: a multiple of 4.
        legacy: the wavelengths of the code released with MRM, whose exponent is a quarter of the
            usual one, so that the slowest wave has a tenth of the fastest one's frequency.
            Source: RL4M/MRM-pytorch; the decoder of the released weights was trained with it.

    Raises:
        ValueError: `width` cannot be split into sine and cosine of two axes.

    Source: Vaswani et al. 2017, section 3.5; in two dimensions as in MAE, He et al. 2022.
    """
    if width % 4:
        raise ValueError(f"a table for two axes needs a width divisible by 4, not {width}")
    waves = width // 4
    step = torch.arange(waves, dtype=torch.float64) / waves
    frequency = 10000.0 ** -(step / 4 if legacy else step)
    place = torch.arange(grid, dtype=torch.float64)
    angle = place[:, None] * frequency  # (G, D/4)
    axis = torch.cat([angle.sin(), angle.cos()], dim=1)  # (G, D/2)
    column = axis.expand(grid, grid, -1)
    row = axis[:, None].expand(grid, grid, -1)
    patches = torch.cat([column, row], dim=2).reshape(grid * grid, width)
    return torch.cat([torch.zeros(1, width, dtype=torch.float64), patches])[None].float()
