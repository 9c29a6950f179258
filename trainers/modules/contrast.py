"""How alike are images and reports, and how well does each find its own among the others?

A contrast is taken over the whole batch of all processes: each embeds its own share and gets the
others' through `everyone`, which gradients pass. Held-out records are judged batch by batch, by one
process each.

Shapes: B pairs of all processes together, P width of an embedding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from trainers import distributed


class Embedded(NamedTuple):
    """Images and texts as a method compares them: the more alike, the larger their cosine."""

    image: Tensor
    """(B, P)."""
    text: Tensor
    """(B, P)."""
    words: Tensor
    """(B, T) ids of the text, padded alike, by which equal texts are known."""


def everyone(embeddings: Tensor, *, training: bool) -> Tensor:
    """Return the embeddings of all processes, in rank order; in validation only the own ones."""
    return distributed.gather_rows(embeddings) if training else embeddings


def similarities(first: Tensor, second: Tensor, *, temperature: float) -> Tensor:
    """Return the cosine of each of `first` with each of `second`, over `temperature`, (B, B).

    In float32, whatever the autocast: at a temperature of 0.07, bfloat16's steps are of 0.1.
    """
    with torch.autocast(first.device.type, enabled=False):
        a, b = (F.normalize(x.float(), dim=1) for x in (first, second))
        return a @ b.T / temperature


def info_nce(similarity: Tensor) -> Tensor:
    """Return the cross-entropy (nats) of finding each row's own column among all, a scalar.

    Source: van den Oord et al. 2018, equation 4; Zhang et al. 2020 (ConVIRT), equations 2 and 3:
    rows that are images give its image-to-text loss, rows that are texts the other one.
    """
    own = torch.arange(len(similarity), device=similarity.device)
    return F.cross_entropy(similarity, own)


def recall_at(similarity: Tensor, k: int) -> Tensor:
    """Return for which share of rows, in [0, 1], the own column is among the `k` most similar."""
    own = similarity.diagonal()[:, None]
    return ((similarity > own).sum(dim=1) < k).float().mean()
