"""What is to be rebuilt? Images cut into patches, standardised, and compared with a prediction.

Shapes: B images, C channels, S their side in pixels, G patches along a side, N = G * G patches,
M of them hidden, V = patch_px * patch_px * C values of a patch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

EPSILON = 1e-6
"""Added to a patch's variance. Source: MAE's and MRM's released code, `forward_loss`."""


def patchify(images: Tensor, patch_px: int) -> Tensor:
    """Return (B, N, V) of images (B, C, S, S): patches row by row; in each, row, column, channel.

    Source: MAE's and MRM's released code, `patchify`.
    """
    B, C, S, _ = images.shape
    G = S // patch_px
    cut = images.reshape(B, C, G, patch_px, G, patch_px)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(B, G * G, patch_px * patch_px * C)


def unpatchify(patches: Tensor, channels: int) -> Tensor:
    """Return the images (B, C, S, S) that `patchify` cut into `patches`."""
    B, N, V = patches.shape
    G, patch_px = round(N**0.5), round((V // channels) ** 0.5)
    laid = patches.reshape(B, G, G, patch_px, patch_px, channels)
    return laid.permute(0, 5, 1, 3, 2, 4).reshape(B, channels, G * patch_px, G * patch_px)


def standardise(patches: Tensor) -> Tensor:
    """Return `patches` with mean 0 and (nearly) standard deviation 1 each, (B, N, V).

    The variance is unbiased, divided by V - 1. Source: MAE's `norm_pix_loss`, as MRM has it.
    """
    mean = patches.mean(dim=2, keepdim=True)
    return (patches - mean) / (patches.var(dim=2, keepdim=True) + EPSILON).sqrt()


def fill(
    images: Tensor, hide: Tensor, predicted: Tensor, *, patch_px: int, standardised: bool
) -> Tensor:
    """Return `images` (B, C, S, S) with what was predicted in place of their hidden patches.

    Args:
        images: as they were to be rebuilt.
        hide: (B, M) numbers of the hidden patches.
        predicted: (B, M, V).
        patch_px: side of a patch.
        standardised: whether `standardise` made the target; each patch is then given the mean and
            deviation that it had. Source: MAE's demonstration of models with `norm_pix_loss`.
    """
    whole = patchify(images, patch_px)
    places = hide[:, :, None].expand_as(predicted)
    said = predicted.to(whole.dtype)
    if standardised:
        true = whole.gather(1, places)
        spread = (true.var(dim=2, keepdim=True) + EPSILON).sqrt()
        said = said * spread + true.mean(dim=2, keepdim=True)
    return unpatchify(whole.scatter(1, places, said), images.shape[1])


class Rebuilt(NamedTuple):
    """Images beside what was made of them, grey values in [0, 1]."""

    original: Tensor
    """(B, S, S)."""
    hidden: Tensor
    """(B, S, S), whether a pixel lay in a hidden patch."""
    by: dict[str, Tensor]
    """(B, S, S) by the name of each decoder, seen patches as they are."""


def rebuilt(
    images: Tensor,
    hide: Tensor,
    predicted: Mapping[str, Tensor],
    *,
    patch_px: int,
    standardised: bool,
    mean: float | Sequence[float],
    std: float | Sequence[float],
) -> Rebuilt:
    """Return images and what decoders made of their hidden patches as grey values.

    Args:
        images: (B, 3, S, S), normalised by `mean` and `std`.
        hide: (B, M) numbers of the hidden patches.
        predicted: (B, M, V) by the name of each decoder.
        patch_px: side of a patch.
        standardised: see `fill`.
        mean: of values in [0, 1]; one number for all channels, or three.
        std: likewise.
    """
    centre, spread = (
        torch.as_tensor(x, dtype=images.dtype, device=images.device).reshape(-1, 1, 1)
        for x in (mean, std)
    )

    def grey(normalised: Tensor) -> Tensor:
        return (normalised * spread + centre).mean(dim=1).clamp(0, 1)

    hidden = fill(
        torch.zeros_like(images[:, :1]),
        hide,
        torch.ones(*hide.shape, patch_px**2, device=images.device),
        patch_px=patch_px,
        standardised=False,
    )
    settings = {"patch_px": patch_px, "standardised": standardised}
    by = {name: grey(fill(images, hide, said, **settings)) for name, said in predicted.items()}
    return Rebuilt(grey(images), hidden[:, 0] > 0, by)


def hidden_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the squared error (unitless) of hidden patches, (B, M, V) each, averaged over all.

    Each image hides as many, so this is the mean over the batch's hidden patches.
    Source: Zhou et al. 2023, section 3.2; MRM's released code, `forward_loss`.
    """
    return F.mse_loss(prediction.float(), target)
