"""Is the difference between two sides of a comparison real? Arrays in, an outcome out.

A side is one or several runs that differ in their seed alone. Two questions are kept apart, for a
small p of the one says nothing of the other:

over patients: would these very models differ on other patients like those tested? `delong` for
AUROC, `bootstrap` for anything. What a side scores is the mean over its runs.
over seeds: would the two ways of training differ if trained again? `over_seeds`, which needs two
runs a side, and `against_number`, where the other side is a published number.

Shapes: N images, C classes, K runs of a side, G patients, R resamples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special  # and not scipy.stats, which takes a second to import

Floats = NDArray[np.float64]
Name = Literal[
    "DeLong", "bootstrap", "studentised bootstrap", "Welch", "permutation", "one-sample t"
]

LEVEL = 0.95
LEAST_FOR_PERMUTATION = 5
"""Runs a side from which `over_seeds` permutes: with four the smallest possible p is 2 / 70."""
MOST_SPLITS = 200_000
"""Divisions of the runs that are counted out; beyond these the t-test needs no normality."""


class Outcome(NamedTuple):
    """What a test says of `difference`, the first side minus the second."""

    test: Name
    over: Literal["patients", "seeds"]
    difference: float
    low: float
    """Of the 95 % interval; nan where there is none, as are `high` and `p`."""
    high: float
    p: float
    """Two-sided, not corrected for the number of tests."""


class Components(NamedTuple):
    """What each image adds to the AUROC of one class, for K scorings of the same images."""

    auroc: Floats
    """(K,)."""
    positive: Floats
    """(K, N), 0 for negatives; the sum over all images is 0, as is that of `negative`."""
    negative: Floats
    """(K, N), 0 for positives."""


def components(score: ArrayLike, label: ArrayLike) -> Components:
    """Return DeLong's structural components of one class by mid-ranks, in O(N log N).

    Args:
        score: (K, N).
        label: (N,), zeros and ones; with both among them.

    Source: Sun and Xu, "Fast Implementation of DeLong's Algorithm", IEEE SPL 2014, algorithm 2.
    """
    score, there = np.asarray(score, np.float64), np.asarray(label).astype(bool)
    m, n = int(there.sum()), int((~there).sum())
    among_all = mid_ranks(score)
    above = (among_all[:, there] - mid_ranks(score[:, there])) / n  # (K, m)
    below = 1 - (among_all[:, ~there] - mid_ranks(score[:, ~there])) / m  # (K, n)
    auroc = above.mean(axis=1)
    positive, negative = np.zeros_like(score), np.zeros_like(score)
    positive[:, there] = (above - auroc[:, None]) / m
    negative[:, ~there] = (below - auroc[:, None]) / n
    return Components(auroc, positive, negative)


def mid_ranks(values: Floats) -> Floats:
    """Return the rank of each value in its row, from 1; equal ones share the mean of theirs."""
    ranks = np.empty_like(values)
    for row, out in zip(values, ranks, strict=True):
        _, place, count = np.unique(row, return_inverse=True, return_counts=True)
        out[:] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranks


def delong(
    a: ArrayLike, b: ArrayLike, label: ArrayLike, patient: ArrayLike
) -> tuple[Outcome, list[Outcome]]:
    """Return DeLong's test of the mean AUROC over classes, and of the AUROC of each class.

    Every run of both sides and every class enter one joint covariance, so that the mean is tested
    with what its classes have in common. Images of one patient are summed up first and count as
    one (Obuchowski), for they are alike; with one image a patient that is DeLong's own formula. A
    class without positives or negatives is left out of the mean; of one with a single patient of a
    kind the variance is not known, nor that of the mean then: p is nan.

    Args:
        a: (K, N, C) scores of the first side's runs.
        b: likewise, its K may differ.
        label: (N, C), zeros and ones.
        patient: (N,), any kind of name.

    Sources: DeLong et al., Biometrics 1988; Obuchowski, Biometrics 1997, for clusters.
    """
    a, b, label = np.asarray(a), np.asarray(b), np.asarray(label)
    score = np.concatenate([a, b])
    contrast = np.repeat([1 / len(a), -1 / len(b)], [len(a), len(b)])
    _, owner = np.unique(np.asarray(patient), return_inverse=True)
    each = [_class_parts(score[:, :, c], label[:, c], owner, contrast)
            for c in range(label.shape[1])]  # fmt: skip
    known = [part for part in each if part is not None]
    nothing = _by_normal(math.nan, math.nan)
    of_classes = [nothing if part is None else _delong([part]) for part in each]
    return (_delong(known) if known else nothing), of_classes


class _Parts(NamedTuple):
    """The difference in one class, and what each patient's images add to it."""

    difference: float
    positive: Floats
    """(G,), as is `negative`."""
    negative: Floats
    weights: tuple[float, float]
    """What a sum of squares is multiplied by to be without bias, of either kind."""


def _class_parts(
    score: Floats, label: NDArray[np.generic], owner: NDArray[np.integer], contrast: Floats
) -> _Parts | None:
    there = label.astype(bool)
    if there.all() or not there.any():
        return None
    parts, patients = components(score, label), int(owner.max()) + 1
    positive, negative = (
        np.bincount(owner, weights=contrast @ each, minlength=patients)
        for each in (parts.positive, parts.negative)
    )
    with_kind = [len(np.unique(owner[kind])) for kind in (there, ~there)]
    weights = tuple(count / (count - 1) if count > 1 else math.nan for count in with_kind)
    return _Parts(float(contrast @ parts.auroc), positive, negative, weights)


def _delong(parts: Sequence[_Parts]) -> Outcome:
    """Return the test of the mean over some classes."""
    patients = len(parts[0].positive)
    squares = 0.0
    for kind, name in enumerate(("positive", "negative")):
        scaled = sum(math.sqrt(part.weights[kind]) * getattr(part, name) for part in parts)
        squares += float(scaled @ scaled)
    both = sum(part.positive for part in parts) @ sum(part.negative for part in parts)
    variance = squares + 2 * patients / max(patients - 1, 1) * float(both)
    difference = float(np.mean([part.difference for part in parts]))
    return _by_normal(difference, math.sqrt(max(variance, 0.0)) / len(parts))


def _by_normal(difference: float, error: float) -> Outcome:
    if error == 0:  # all runs rank the images alike, or each of them perfectly
        p = 1.0 if difference == 0 else math.nan
        return Outcome("DeLong", "patients", difference, difference, difference, p)
    reach = float(special.ndtri(0.5 + LEVEL / 2)) * error
    p = float(2 * special.ndtr(-abs(difference) / error))
    return Outcome("DeLong", "patients", difference, difference - reach, difference + reach, p)


def bootstrap(difference: float, drawn: ArrayLike, patients: int) -> Outcome:
    """Return the expanded percentile interval of a difference, and the p that goes with it.

    The plain percentile interval is too narrow where there are few patients, as a normal interval
    with the biased variance is; its percentiles are moved out by what Student's t would add.

    Args:
        difference: on the patients that were tested.
        drawn: (R,) the same on draws of them, both sides on the same draw; nan says nothing.
        patients: G.

    Returns:
        A p below 0.05 where the interval leaves out 0. It is never 0, for R draws cannot tell.

    Source: Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician
    2015, section 3.3.
    """
    drawn = np.asarray(drawn, np.float64)
    known = drawn[~np.isnan(drawn)]
    if not known.size or math.isnan(difference) or patients < 2:
        return Outcome("bootstrap", "patients", difference, *[math.nan] * 3)
    wider = math.sqrt(patients / (patients - 1))
    outer = special.ndtr(special.stdtrit(patients - 1, (1 - LEVEL) / 2) * wider)
    low, high = np.quantile(known, [outer, 1 - outer])
    tail = (min((known <= 0).sum(), (known >= 0).sum()) + 1) / (known.size + 1)
    p = 2 * special.stdtr(patients - 1, special.ndtri(min(tail, 0.5)) / wider)
    return Outcome("bootstrap", "patients", difference, float(low), float(high), float(p))


def studentised(difference: float, drawn: ArrayLike, error: float, errors: ArrayLike) -> Outcome:
    """Return the symmetric studentised interval of a difference, and the p that goes with it.

    Each draw is measured by its own standard error, so that a draw without the few images that
    matter most is known to be unsure. It needs an error in every draw, which `trainers.ratios` has.

    Args:
        difference: on the patients that were tested.
        drawn: (R,) the same on draws of them; nan says nothing.
        error: the standard error of `difference`.
        errors: (R,) those of `drawn`.

    Source: Hall, "On Symmetric Bootstrap Confidence Intervals", JRSS B 1988.
    """
    name: Name = "studentised bootstrap"
    drawn, errors = np.asarray(drawn, np.float64), np.asarray(errors, np.float64)
    known = ~np.isnan(drawn) & ~np.isnan(errors)
    if not known.any() or math.isnan(difference) or math.isnan(error):
        return Outcome(name, "patients", difference, *[math.nan] * 3)
    if error == 0:
        p = 1.0 if difference == 0 else math.nan
        return Outcome(name, "patients", difference, difference, difference, p)
    moved = np.abs(drawn[known] - difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(moved > 0, moved / errors[known], 0.0)
    reach = float(np.quantile(far, LEVEL)) * error
    p = (int((far >= abs(difference) / error).sum()) + 1) / (far.size + 1)
    return Outcome(name, "patients", difference, difference - reach, difference + reach, p)


def over_seeds(a: Sequence[float], b: Sequence[float]) -> Outcome | None:
    """Return whether two ways of training differ, by one number a run; None without two a side.

    From five runs a side on p is that of an exact permutation test: every division of all runs
    into two sides is counted out, by Welch's t, and no shape is assumed. With fewer the divisions
    are too few to give a small p; then, and where they are too many to count, it is Welch's
    t-test, which takes the runs of a side as normal. The interval is Welch's in both cases. Runs
    of equal seed are not taken as pairs: what a seed draws differs between methods.
    """
    if min(len(a), len(b)) < 2:
        return None
    sides = np.array(a, np.float64), np.array(b, np.float64)
    shares = [side.var(ddof=1) / side.size for side in sides]
    difference = float(sides[0].mean() - sides[1].mean())
    error = math.sqrt(sum(shares))
    if error == 0:
        return _without_spread("Welch", difference)
    freedom = sum(shares) ** 2 / sum(
        share**2 / (side.size - 1) for share, side in zip(shares, sides, strict=True)
    )
    outcome = _by_t("Welch", difference, error, freedom)
    enough = min(len(a), len(b)) >= LEAST_FOR_PERMUTATION
    if not enough or math.comb(len(a) + len(b), len(a)) > MOST_SPLITS:
        return outcome
    return outcome._replace(test="permutation", p=_permuted(np.concatenate(sides), len(a)))


def against_number(values: Sequence[float], number: float) -> Outcome:
    """Return whether runs differ from a published number, which is taken as known exactly.

    A one-sample t-test over seeds. With one run there is nothing to test by: p is nan.
    """
    known = np.array(values, np.float64)
    difference = float(known.mean() - number)
    if known.size < 2:
        return Outcome("one-sample t", "seeds", difference, *[math.nan] * 3)
    error = float(known.std(ddof=1)) / math.sqrt(known.size)
    if error == 0:
        return _without_spread("one-sample t", difference)
    return _by_t("one-sample t", difference, error, known.size - 1)


def _permuted(values: Floats, first: int) -> float:
    """Return the share of all divisions with a Welch's t as far from 0 as that of the first."""
    number = values.size
    chosen = np.array(list(itertools.combinations(range(number), first)))
    in_a = np.zeros((len(chosen), number), bool)
    np.put_along_axis(in_a, chosen, values=True, axis=1)
    moments = [_moments(values, side) for side in (in_a, ~in_a)]
    apart = np.abs(moments[0][0] - moments[1][0])
    error = np.sqrt(moments[0][1] + moments[1][1])
    with np.errstate(divide="ignore", invalid="ignore"):
        far = np.where(apart > 0, apart / error, 0.0)
    # the first division is that into the sides themselves; equal ones differ by rounding alone
    return float(np.mean(far >= far[0] * (1 - 1e-9)))


def _moments(values: Floats, side: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return, for each row of `side`, the mean of its values and the squared error of that."""
    count = int(side[0].sum())
    mean = (side @ values) / count
    squares = (side * (values - mean[:, None]) ** 2).sum(axis=1)
    return mean, squares / (count - 1) / count


def _by_t(
    test: Literal["Welch", "one-sample t"], difference: float, error: float, freedom: float
) -> Outcome:
    reach = float(special.stdtrit(freedom, 0.5 + LEVEL / 2)) * error
    p = float(2 * special.stdtr(freedom, -abs(difference) / error))
    return Outcome(test, "seeds", difference, difference - reach, difference + reach, p)


def _without_spread(test: Literal["Welch", "one-sample t"], difference: float) -> Outcome:
    p = 1.0 if difference == 0 else math.nan
    return Outcome(test, "seeds", difference, difference, difference, p)
