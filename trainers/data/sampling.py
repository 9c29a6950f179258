"""Which images make an epoch, where few of them show what is to be learnt?"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def epoch(
    positive: NDArray[np.bool_], negatives: float | None, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the items of one epoch, shuffled.

    With `negatives`, these are all positive ones and that many times as many others, drawn anew
    each epoch; where none is positive, all.

    Source: MRM's sampler, which takes 0.4 times as many negatives as positives.
    """
    if negatives is None or not positive.any():
        return rng.permutation(len(positive))
    others = np.flatnonzero(~positive)
    wanted = min(int(negatives * positive.sum() + 0.5), others.size)
    drawn = rng.choice(others, size=wanted, replace=False)
    return rng.permutation(np.concatenate([np.flatnonzero(positive), drawn]))
