"""How closely do two series of numbers go together in rank? Standard library only.

Numbers of different strata (methods, whose losses are not of one kind) are never ranked against one
another: ranks are taken within each stratum, and their deviations pooled.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from statistics import NormalDist
from typing import NamedTuple

Pair = tuple[float, float]

LEVEL = 0.95
METHOD = (
    "Spearman's rho of mid-ranks within each method, pooled; 95 % interval by Fisher's z with the "
    "variance of Bonett and Wright (2000), (1 + rho^2 / 2) / (n - 2 - number of methods); where "
    "every pair is in order, up to where one swap of neighbours would end it"
)
"""What is computed, in words."""


class Rho(NamedTuple):
    """A rank correlation with the ends of its interval; None where there are too few pairs."""

    rho: float | None
    low: float | None
    high: float | None
    n: int
    """Pairs that count: those of a stratum that has others to be ranked with."""
    strata: int
    why: str = ""
    """Why it has no number, or an interval of its own kind, in words."""


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 1; equal ones share the mean of theirs."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    first = 0
    while first < len(order):
        last = first
        while last + 1 < len(order) and values[order[last + 1]] == values[order[first]]:
            last += 1
        for place in order[first : last + 1]:
            found[place] = (first + last) / 2 + 1
        first = last + 1
    return found


def spearman(strata: Collection[Sequence[Pair]]) -> Rho:
    """Return the rank correlation of pairs within strata, with its interval.

    For a single stratum this is Spearman's rho; for several it is the correlation of ranks that
    each stratum's own mean was taken from, divided by its size so that all have one range. Where
    every pair is in order z has no end, and the interval reaches to where it would for one swap of
    neighbours.
    """
    counted = [stratum for stratum in strata if len(stratum) > 1]
    n, k = sum(map(len, counted)), len(counted)
    if n - k < 3:
        least = "at least 4 are needed" if k < 2 else f"{k} methods need at least {k + 3}"
        return Rho(None, None, None, n, k, f"too few: {n} that can be ranked, {least}")
    xs: list[float] = []
    ys: list[float] = []
    for stratum in counted:
        xs += _centred([x for x, _ in stratum])
        ys += _centred([y for _, y in stratum])
    spread = math.sqrt(math.fsum(x * x for x in xs) * math.fsum(y * y for y in ys))
    if not spread:
        return Rho(None, None, None, n, k, "all losses or all values are equal")
    rho = max(-1.0, min(1.0, math.fsum(x * y for x, y in zip(xs, ys, strict=True)) / spread))
    if 1 - abs(rho) > 1e-12:
        low, high = interval(rho, n, strata=k)
        return Rho(rho, low, high, n, k)
    sign = math.copysign(1.0, rho)
    swapped = 1 - 1 / max(map(len, counted)) ** 2 / math.fsum(x * x for x in xs)
    inner = interval(swapped, n, strata=k)[0]
    low, high = sorted((sign, sign * inner))
    return Rho(sign, low, high, n, k, "every pair is in order")


def interval(rho: float, n: int, *, strata: int = 1) -> tuple[float, float]:
    """Return the ends of the 95 % interval of a rank correlation of `n` pairs."""
    error = math.sqrt((1 + rho * rho / 2) / (n - 2 - strata))
    reach = NormalDist().inv_cdf((1 + LEVEL) / 2) * error
    return math.tanh(math.atanh(rho) - reach), math.tanh(math.atanh(rho) + reach)


def _centred(values: Sequence[float]) -> list[float]:
    """Return the ranks less their mean, as shares of how many there are."""
    mean = (len(values) + 1) / 2
    return [(rank - mean) / len(values) for rank in ranks(values)]
