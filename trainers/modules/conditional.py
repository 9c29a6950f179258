"""Which records are the negatives of which? A contrast among those that share a condition.

A condition (how a radiograph was taken, what its report says) is turned into a kernel; a
regression on it weighs, for each record, the others by how alike their condition is. Weights carry
no gradient.

Source: Tsai et al., "Conditional Contrastive Learning with Kernel", ICLR 2022, and its released
code for the weights; which of the code's modes this is, and what differs, is told in
docs/decisions/conditional-contrast.md.
Shapes: B records of all processes together, Q categories of each, T report tokens, U different
words among all of them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers.config import ConfigError

LARGEST = 1024
"""Records in one contrast; the equations to solve grow with the cube of it."""
NOISE = 1e-6
"""Weights below are taken as none. Source: the released code."""


class Negatives(NamedTuple):
    """How records are weighed as negatives of one another."""

    weights: Tensor
    """(B, B); column i, which adds up to 1, holds the weights of record i's negatives."""
    alone: Tensor
    """(B,), true for a record that no other is alike; its negatives weigh the same."""


def conditional_nce(similarity: Tensor, weights: Tensor) -> Tensor:
    """Return the cross-entropy (nats) of finding each row's own column among weighed ones.

    With n records, the negatives of row i are the others j, each exp(s_ij) counted n - 1 times its
    weight. Uniform weights make it `contrast.info_nce`. A single record has no loss.

    Args:
        similarity: (B, B), over the temperature, float32; pairs on the diagonal.
        weights: (B, B), of `Negatives`.
    """
    n = len(similarity)
    if n == 1:
        return similarity.sum() * 0
    with torch.autocast(similarity.device.type, enabled=False):
        own = similarity.float().diagonal()
        others = torch.logsumexp(similarity.float() + weights.T.log(), dim=1) + math.log(n - 1)
        return (torch.logaddexp(own, others) - own).mean()


@torch.no_grad()
def weigh(kernel: Tensor, *, ridge: float, same: Tensor | None = None) -> Negatives:
    """Return how records are weighed as negatives of one another.

    The weights are those of kernel ridge regression, (K + ridge I)^-1 K, without a record's own and
    without negative ones. Where nothing is left of a column, no other record is alike, and all that
    may be negatives weigh the same, as in a plain contrast.

    Args:
        kernel: (B, B), symmetric and positive semidefinite.
        ridge: above 0; the larger, the more of the unlike records count.
        same: (B, B), true for pairs that are no negatives of one another, such as two images with
            one report; a record that would be left without any has all others.

    Raises:
        ConfigError: more records than `LARGEST`.
    """
    n = len(kernel)
    if n > LARGEST:
        raise ConfigError(
            f"`contrast` conditional takes {LARGEST} records at most, and all processes' batches "
            f"together have {n}; make `batch_size` smaller and `accum_iter` larger"
        )
    own = torch.eye(n, dtype=torch.bool, device=kernel.device)
    others = ~own if same is None else ~own & ~same
    others = torch.where(others.any(dim=0), others, ~own)
    with torch.autocast(kernel.device.type, enabled=False):
        kernel = kernel.float()
        found = torch.linalg.solve(kernel + ridge * own, kernel)
        found = found.where(others & (found > NOISE), 0)
    alone = ~found.any(dim=0)
    found = torch.where(alone, others.float(), found)
    return Negatives(found / found.sum(dim=0).clamp(min=NOISE), alone)


@torch.no_grad()
def category_kernel(codes: Tensor) -> Tensor:
    """Return how alike records are in their categories, (B, B), in (0, 1].

    Each category is a column of zeros and ones, standardised over the batch, so that a rare one
    counts more; then exp(-d^2 / 2 h^2) of the distances d, where h is the median of those that are
    not 0.

    Args:
        codes: (B, Q), numbers of categories.
    """
    columns = [codes[:, [q]] == codes[:, q].unique() for q in range(codes.shape[1])]
    seen = torch.cat(columns, dim=1).float()
    spread = seen.std(dim=0, correction=0)
    seen = (seen - seen.mean(dim=0)) / torch.where(spread > 0, spread, 1)
    # not by matrix products, whose rounding would tell like records apart
    distance = torch.cdist(seen, seen, compute_mode="donot_use_mm_for_euclid_dist")
    median = distance.where(distance > 0, torch.nan).nanmedian()
    return torch.exp(-0.5 * (distance / median.nan_to_num(1.0)).square())


@torch.no_grad()
def report_kernel(ids: Tensor, counted: Tensor) -> Tensor:
    """Return how alike reports are in their words, (B, B), in [0, 1].

    The cosine of word counts, each times log(B / reports with that word): what all reports of the
    batch say tells nothing. A report of such words alone is like no other, not even itself.

    Args:
        ids: (B, T), original words.
        counted: (B, T), true where a word counts: not at padding.
    """
    words, place = ids.unique(return_inverse=True)
    counts = torch.zeros(len(ids), len(words), device=ids.device)
    counts.scatter_add_(1, place, counted.float())
    reports = (counts > 0).sum(dim=0)
    rarity = (len(ids) / reports.clamp(min=1)).log()
    with torch.autocast(ids.device.type, enabled=False):
        vectors = F.normalize(counts * rarity, dim=1)
        return vectors @ vectors.T


@torch.no_grad()
def same_reports(ids: Tensor) -> Tensor:
    """Return which reports (B, T) are the same word for word, (B, B)."""
    _, which = ids.unique(dim=0, return_inverse=True)
    return which[:, None] == which
