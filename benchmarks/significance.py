"""Do the tests keep what they promise? Shares of false alarms and of intervals with the truth.

    python benchmarks/significance.py [TRIALS]

Two sides that are equally good are compared TRIALS times (2,000 where none are given). A test keeps
its promise where p is below 0.05 in 4 to 6 % of them. Then two sides of a known difference are: 93
to 97 % of the 95 % intervals should hold it.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from trainers import ratios, scores, significance
from trainers.significance import Outcome

TRIALS, RESAMPLES = 2000, 1000
PATIENTS = 300


class Case(NamedTuple):
    """A way to draw two sides, and what truly lies between them."""

    name: str
    compare: Callable[[np.random.Generator, float], Outcome]
    """With a generator and a shift; a shift of 0 makes equal sides."""
    shift: float
    truth: float
    """The difference under `shift`."""


def draws(rng: np.random.Generator, patients: int) -> NDArray[np.uint16]:
    """Return (G, R) how often each of so many patients counts in each resample."""
    seed = int(rng.integers(2**31))
    parts = scores.patient_draws(np.arange(patients), seed=seed, resamples=RESAMPLES)
    return np.concatenate(list(parts), axis=1)


def findings(
    rng: np.random.Generator, shift: float, *, owners: NDArray[np.int64], classes: int = 1
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Return scores (N, C) of two sides and labels; images of one patient are alike."""
    patients, shape = int(owners.max()) + 1, (len(owners), classes)
    ill = rng.random((patients, classes)) < np.linspace(0.15, 0.4, classes)
    label = (ill[owners] ^ (rng.random(shape) < 0.05)).astype(np.uint8)
    seen = rng.normal(size=(patients, classes))[owners] + rng.normal(size=shape)
    each = [rng.normal(size=(patients, classes))[owners] + rng.normal(size=shape) for _ in "ab"]
    return seen + each[0] + (1 + shift) * label, seen + each[1] + label, label


def by_delong(owners: NDArray[np.int64], classes: int) -> Callable[..., Outcome]:
    """Return how AUROCs are compared by DeLong's test."""

    def compare(rng: np.random.Generator, shift: float) -> Outcome:
        a, b, label = findings(rng, shift, owners=owners, classes=classes)
        return significance.delong(a[None], b[None], label, owners)[0]

    return compare


def by_bootstrap_of_auroc(owners: NDArray[np.int64]) -> Callable[..., Outcome]:
    """Return how AUROCs are compared by the bootstrap."""
    patients = int(owners.max()) + 1

    def compare(rng: np.random.Generator, shift: float) -> Outcome:
        a, b, label = findings(rng, shift, owners=owners)
        weight = draws(rng, patients)[owners]
        drawn = [scores.weighted_aurocs(side[:, 0], label[:, 0], weight) for side in (a, b)]
        points = [scores.auroc(side[:, 0], label[:, 0]) for side in (a, b)]
        return significance.bootstrap(points[0] - points[1], drawn[0] - drawn[1], patients)

    return compare


def by_bootstrap_of_dice(
    patients: int, kind: str, *, plain: bool = False
) -> Callable[..., Outcome]:
    """Return how masks are compared; two images in three are empty, as SIIM's are."""

    def overlap(
        rng: np.random.Generator, true: NDArray[np.int64], part: NDArray[np.float64]
    ) -> scores.Overlap:
        both = (true * part).astype(np.int64)
        alarm = (true == 0) & (rng.random(true.size) < 0.1)
        wrong = np.where(true > 0, true * rng.uniform(0, 0.5, true.size), 400 * alarm)
        return scores.Overlap(both, both + wrong.astype(np.int64), true)

    def compare(rng: np.random.Generator, shift: float) -> Outcome:
        true = np.where(rng.random(patients) < 0.35, rng.lognormal(7, 1, patients), 0)
        true = true.astype(np.int64)
        ease = rng.normal(size=patients)
        sides = [
            overlap(rng, true, stats.norm.cdf(0.5 + more + ease + rng.normal(size=patients)))
            for more in (shift, 0.0)
        ]
        once, weight = np.ones((patients, 1), np.uint16), draws(rng, patients)
        points, drawn = (
            [scores.weighted_dice(side, each)[kind] for side in sides] for each in (once, weight)
        )
        apart = (float(points[0][0] - points[1][0]), drawn[0] - drawn[1])
        if plain:
            return significance.bootstrap(*apart, patients)
        each = [ratios.of_masks(side)[kind] for side in sides]
        error = ratios.errors(each[:1], each[1:], np.arange(patients), [weight])
        return significance.studentised(*apart, *error)

    return compare


def by_seeds(first: int, second: int, *, spread: float = 1.0) -> Callable[..., Outcome]:
    """Return how runs are compared, the second side's `spread` times as wide as the first's."""

    def compare(rng: np.random.Generator, shift: float) -> Outcome:
        a, b = rng.normal(shift, 1, first), rng.normal(0, spread, second)
        found = significance.over_seeds(a.tolist(), b.tolist())
        assert found is not None
        return found

    return compare


def against_number(count: int) -> Callable[..., Outcome]:
    """Return how runs are compared with a number."""
    return lambda rng, shift: significance.against_number(rng.normal(shift, 1, count).tolist(), 0.0)


def cases() -> list[Case]:
    """Return what is tried."""
    alone, pairs = np.arange(PATIENTS), np.repeat(np.arange(PATIENTS // 2), 3)
    delong = [
        ("DeLong, 300 patients", by_delong(alone, 1)),
        ("DeLong, 150 patients of 3 images", by_delong(pairs, 1)),
        ("DeLong, mean of 5 classes, 150 of 3", by_delong(pairs, 5)),
    ]
    bootstrap = [
        ("bootstrap, AUROC, 300 patients", by_bootstrap_of_auroc(alone)),
        ("bootstrap, AUROC, 150 of 3 images", by_bootstrap_of_auroc(pairs)),
        ("plain bootstrap, Dice, 60 patients", by_bootstrap_of_dice(60, "Dice", plain=True)),
        ("studentised, Dice, 60 patients", by_bootstrap_of_dice(60, "Dice")),
        ("studentised, Dice, 300 patients", by_bootstrap_of_dice(PATIENTS, "Dice")),
        (
            "plain bootstrap, Dice_pooled, 300",
            by_bootstrap_of_dice(PATIENTS, "Dice_pooled", plain=True),
        ),
        ("studentised, Dice_pooled, 300", by_bootstrap_of_dice(PATIENTS, "Dice_pooled")),
    ]
    seeds = [
        ("Welch, 2 and 2 runs", by_seeds(2, 2)),
        ("Welch, 3 and 3 runs", by_seeds(3, 3)),
        ("Welch, 4 and 4 runs", by_seeds(4, 4)),
        ("Welch, 3 and 5 runs, twice as wide", by_seeds(3, 5, spread=2.0)),
        ("permutation, 5 and 5 runs", by_seeds(5, 5)),
        ("permutation, 5 and 8, twice as wide", by_seeds(5, 8, spread=2.0)),
        ("one-sample t, 3 runs", against_number(3)),
    ]
    over_patients = [Case(name, compare, 0.5, 0.0) for name, compare in (*delong, *bootstrap)]
    return over_patients + [Case(name, compare, 1.0, 1.0) for name, compare in seeds]


def main(argv: list[str]) -> int:
    """Print both shares of every test."""
    trials = int(argv[0]) if argv else TRIALS
    print(f"{trials} trials, {RESAMPLES} resamples; wanted: 4 to 6 % and 93 to 97 %")
    print(f"{'test':38} {'p < 0.05':>9} {'0 held':>8} {'truth held':>11}  s")
    for number, case in enumerate(cases()):
        begun, rng = time.perf_counter(), np.random.default_rng(number)
        equal = [case.compare(rng, 0.0) for _ in range(trials)]
        apart = [case.compare(rng, case.shift) for _ in range(trials)]
        # of patients no formula gives the truth: the mean of all differences is near enough
        truth = case.truth or float(np.mean([each.difference for each in apart]))
        alarms = np.mean([each.p < 0.05 for each in equal])
        held = [np.mean([each.low <= zero <= each.high for each in outcomes])
                for zero, outcomes in ((0.0, equal), (truth, apart))]  # fmt: skip
        passed = time.perf_counter() - begun
        print(
            f"{case.name:38} {100 * alarms:8.2f}% {100 * held[0]:7.2f}% {100 * held[1]:10.2f}%"
            f"  {passed:.0f}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
