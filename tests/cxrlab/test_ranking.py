from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.grid import FOREIGN, TEST_SPLIT, Cell
from cxrlab.grid.ranking import ranks


def cell(value: float | None, **facts: Any) -> Cell:
    base = {"method": "mrm", "task": "siim", "ratio": 10, "metric": "Dice", "preset": "paper"}
    return Cell(**{**base, "value": value, "n": 1, **facts})


def of(*values: float | None, better: str = "higher") -> list[int]:
    return ranks([cell(value) for value in values], better=better)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((0.5, 0.7, 0.6), [0, 1, 2]),
        ((0.5, None, 0.6), [2, 0, 1]),
        ((0.7, 0.7, 0.6), [1, 1, 0]),
        ((0.7, 0.6, 0.6, 0.5), [1, 2, 2, 0]),
        ((0.5,), [0]),
        ((0.5, 0.5, None), [0, 0, 0]),
        ((None, None), [0, 0]),
        ((), []),
        ((0.7, float("nan"), 0.6), [1, 0, 2]),
    ],
)
def test_the_best_is_first_and_equals_share_a_rank(
    values: tuple[float | None, ...], expected: list[int]
) -> None:
    assert of(*values) == expected


def test_lower_is_better_where_the_metric_says_so() -> None:
    times = [cell(value, unit="s") for value in (7200.0, 3600.0, 9000.0)]
    assert ranks(times, better="lower") == [2, 1, 0]


def test_numbers_are_equal_that_are_shown_alike() -> None:
    assert of(0.7291, 0.7294, 0.728) == [1, 1, 0]
    assert of(0.7294, 0.7296) == [2, 1]


def test_times_are_equal_that_are_shown_alike() -> None:
    times = [cell(value, unit="s") for value in (7200.0, 7219.0, 9000.0)]
    assert ranks(times, better="lower") == [1, 1, 0]


@pytest.mark.parametrize(
    "facts",
    [
        {"stale": "its encoder was replaced"},
        {"other": TEST_SPLIT},
        {"preset": "quick"},
        {"preset": FOREIGN},
    ],
)
def test_what_does_not_compare_is_not_ranked(facts: dict[str, Any]) -> None:
    column = [cell(0.9, **facts), cell(0.7), cell(0.6)]
    assert ranks(column, better="higher") == [0, 1, 2]


def test_predictions_from_elsewhere_on_the_columns_own_test_split_are_ranked() -> None:
    column = [cell(0.9, preset=FOREIGN, test_split="s"), cell(0.7, test_split="s")]
    assert ranks(column, better="higher") == [1, 2]


def test_numbers_of_the_quick_preset_compare_with_one_another() -> None:
    assert ranks([cell(0.6, preset="quick"), cell(0.7, preset="quick")], better="higher") == [2, 1]


def test_losses_are_never_ranked() -> None:
    assert ranks([cell(1.0, unit="nats"), cell(2.0, unit="nats")], better="lower") == [0, 0]


@given(st.lists(st.one_of(st.none(), st.integers(0, 30).map(lambda i: i / 1000)), max_size=8))
def test_ranks_are_those_of_counting_who_is_better(values: list[float | None]) -> None:
    known = [round(v * 1000) for v in values if v is not None]
    expected = []
    for value in values:
        rank = 0 if value is None else 1 + sum(k > round(value * 1000) for k in known)
        expected.append(rank if rank in (1, 2) and len(set(known)) > 1 else 0)
    assert of(*values) == expected
