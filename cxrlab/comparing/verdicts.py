"""What may be said of a comparison: p values corrected, and words that do not claim too much.

Functions from values to values. A column has several tests, and each kind of test is a family of
its own over all columns compared, for each asks its own question.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from cxrlab import text

ALPHA = 0.05
NO_DIFFERENCE = "no difference shown"
NOT_TESTED = "not tested"


@dataclass(frozen=True, kw_only=True)
class Test:
    """One test of one column; the interval is of 95 %."""

    __test__ = False  # for pytest: this is no test of ours
    test: str
    """`DeLong`, `bootstrap`, `studentised bootstrap`, `Welch`, `permutation` or `one-sample t`."""
    over: Literal["patients", "seeds"]
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None = None

    @property
    def family(self) -> str:
        """The tests that its p is corrected with: one question asked of every column."""
        if self.over == "seeds":
            return "seeds"
        return "bootstrap" if self.test.endswith("bootstrap") else self.test

    @property
    def shown(self) -> bool:
        """Whether a difference is shown, after correction."""
        return self.p_holm is not None and self.p_holm < ALPHA


@dataclass(frozen=True, kw_only=True)
class SideScore:
    """What one side scores in a column."""

    value: float
    sd: float | None
    """Between runs; None for one run and for a published number."""
    n: int
    """Runs; 0 for a published number."""
    runs: tuple[str, ...] = ()
    source: str = ""
    """Where a published number stands."""

    def text(self) -> str:
        """Return it as the grid writes it; a published number stands in brackets."""
        if not self.n:
            return f"[{text.metric(self.value)}]"
        spread = f" ±{text.metric(self.sd)}" if self.sd is not None else ""
        return f"{text.metric(self.value)}{spread} ({self.n})"


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One column with both sides; differences are the first less the second."""

    task: str
    ratio: int | None
    metric: str
    better: str
    a: SideScore
    b: SideScore
    difference: float
    tests: tuple[Test, ...]
    images: int
    patients: int
    notes: tuple[str, ...] = ()
    classes: tuple[Mapping[str, Any], ...] = ()

    def heading(self) -> str:
        """Return the column's name on one line."""
        ratio = f" {self.ratio} %" if self.ratio is not None else ""
        return f"{self.task} {self.metric}{ratio}"


def holm(values: Sequence[float | None]) -> list[float | None]:
    """Return p values corrected for their number, by Holm's step-down rule.

    What was not tested counts for nothing.

    Source: Holm, "A Simple Sequentially Rejective Multiple Test Procedure", 1979.
    """
    known = sorted((p, place) for place, p in enumerate(values) if p is not None)
    corrected: list[float | None] = [None] * len(values)
    least = 0.0
    for rank, (p, place) in enumerate(known):
        least = max(least, min(1.0, p * (len(known) - rank)))
        corrected[place] = least
    return corrected


def corrected(columns: Sequence[Compared]) -> list[Compared]:
    """Return the columns with every p corrected across them, each kind of test by itself."""
    families: dict[str, list[tuple[int, int]]] = {}
    for i, column in enumerate(columns):
        for k, test in enumerate(column.tests):
            families.setdefault(test.family, []).append((i, k))
    known: dict[tuple[int, int], float | None] = {}
    for places in families.values():
        known |= dict(zip(places, holm([columns[i].tests[k].p for i, k in places]), strict=True))
    return [
        replace(
            column,
            tests=tuple(replace(t, p_holm=known[i, k]) for k, t in enumerate(column.tests)),
        )
        for i, column in enumerate(columns)
    ]


def of_test(test: Test, *, better: str, names: tuple[str, str]) -> str:
    """Return what one test says: which side is better, or that no difference is shown."""
    if test.p is None:
        return NOT_TESTED
    if not test.shown or test.difference is None:
        return NO_DIFFERENCE
    first = (test.difference > 0) == (better != "lower")
    return f"{names[0 if first else 1]} better"


def of_column(column: Compared, *, names: tuple[str, str]) -> str:
    """Return what a column's tests come to together.

    Only where the test over patients and that over seeds both show a difference, the same way, one
    method is called better. Where a test is lacking, or the two differ, that is said.
    """
    said = {
        over: next(
            (
                of_test(test, better=column.better, names=names)
                for test in column.tests
                if test.over == over and test.p is not None
            ),
            NOT_TESTED,
        )
        for over in ("patients", "seeds")
    }
    patients, seeds = said["patients"], said["seeds"]
    if patients == seeds:
        return patients
    if seeds == NOT_TESTED:
        more = "" if patients == NO_DIFFERENCE else " on such patients; other seeds not tested"
        return patients + more
    if patients == NOT_TESTED:
        more = "" if seeds == NO_DIFFERENCE else " over seeds; the other's spread is not known"
        return seeds + more
    if seeds == NO_DIFFERENCE:
        return f"{patients} on such patients; over seeds {NO_DIFFERENCE}"
    if patients == NO_DIFFERENCE:
        return f"{seeds} over seeds; on such patients {NO_DIFFERENCE}"
    return f"{patients} on such patients, but {seeds} over seeds"


def p_text(p: float | None) -> str:
    """Write a p: three decimals, or that it is below the smallest that these can say."""
    if p is None:
        return text.NOTHING
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def signed(value: float | None) -> str:
    """Write a difference of shares in points, with its sign."""
    if value is None:
        return text.NOTHING
    said = f"{100 * value:+.1f}"
    return said if said != "-0.0" else "+0.0"


def interval(test: Test) -> str:
    """Write an interval of a difference."""
    if test.low is None or test.high is None:
        return text.NOTHING
    return f"{signed(test.low)} to {signed(test.high)}"
