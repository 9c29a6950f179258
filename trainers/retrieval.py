"""How often does a radiograph find its own report among all of them, and the other way round?

Recall@k over one pool: for which share of images the own text is among the k most alike of all the
pool's texts, and likewise for texts. Texts that read the same count as one another's own, since
nothing in them tells whose they are. Others that are exactly as alike as the own one stand in
random order, so a model to which all is alike has the recall of chance.

Shapes: N pairs in the pool, P width of an embedding, T tokens of a text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RANKS = (1, 5, 10)
CHUNK = 1024
"""Queries compared at once, to bound memory; the result does not depend on it."""

Floats = NDArray[np.floating]


def recalls(image: Floats, text: Floats, words: NDArray[np.integer]) -> dict[str, float]:
    """Return `recall_at_K_image_to_text` and `recall_at_K_text_to_image`, in [0, 1].

    Also `retrieval_pool`, among how many pairs: recall falls as that grows. Embeddings that are not
    finite have no recall: nan.

    Args:
        image: (N, P), compared by cosine.
        text: (N, P), of the same pairs.
        words: (N, T) ids of the texts, by which equal ones are known.
    """
    image, text = _unit(image), _unit(text)
    _, same = np.unique(words, axis=0, return_inverse=True)
    values: dict[str, float] = {}
    for name, asked, pool in (("image_to_text", image, text), ("text_to_image", text, image)):
        found = _recalls(asked, pool, same.reshape(-1))
        values |= {f"recall_at_{k}_{name}": found[k] for k in RANKS}
    return values | {"retrieval_pool": float(len(image))}


def _recalls(asked: Floats, pool: Floats, same: NDArray[np.integer]) -> dict[int, float]:
    if not (np.isfinite(asked).all() and np.isfinite(pool).all()):
        return dict.fromkeys(RANKS, float("nan"))
    sums = dict.fromkeys(RANKS, 0.0)
    for first in range(0, len(asked), CHUNK):
        rows = slice(first, first + CHUNK)
        alike = asked[rows] @ pool.T
        own = same[rows, None] == same
        best = np.where(own, alike, -np.inf).max(axis=1, keepdims=True)
        ahead = (~own & (alike > best)).sum(axis=1)
        tied, mine = ((part & (alike == best)).sum(axis=1) for part in (~own, own))
        for k in RANKS:
            sums[k] += float(_chance(k - ahead, tied, mine).sum())
    return {k: total / len(asked) for k, total in sums.items()}


def _chance(
    places: NDArray[np.integer], tied: NDArray[np.integer], mine: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Return how likely one of `mine` is in the first `places` of `mine` and `tied`, shuffled."""
    missed = np.ones(len(places))
    for place in range(max(RANKS)):
        left = np.maximum(tied + mine - place, 1)
        missed *= np.where(place < places, np.maximum(tied - place, 0) / left, 1.0)
    return 1 - missed


def _unit(rows: Floats) -> Floats:
    rows = rows.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
