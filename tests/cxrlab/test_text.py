from __future__ import annotations

import math

import pytest

from cxrlab import text
from store import runs


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "0s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (245, "4m 05s"),
        (7500, "2h 05m"),
        (86399, "23h 59m"),
        (273600, "3d 04h"),
        (-3, "0s"),
        (None, "-"),
        (math.inf, "-"),
    ],
)
def test_a_duration_is_written_in_its_two_largest_units(
    seconds: float | None, written: str
) -> None:
    assert text.duration(seconds) == written


@pytest.mark.parametrize(
    ("t", "written"),
    [(98, "just now"), (90, "10s ago"), (-200, "5m ago"), (-7100, "2h ago"), (None, "-")],
)
def test_how_long_ago_is_written_in_the_largest_unit(t: float | None, written: str) -> None:
    assert text.ago(t, 100) == written


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**20, "1.0 MiB"), (3 * 2**40, "3.0 TiB")],
)
def test_a_size_is_written_in_binary_units(count: int, written: str) -> None:
    assert text.size(count) == written


def test_a_share_is_written_in_percent_and_nats_are_not() -> None:
    assert text.metric(0.7294) == "72.9"
    assert text.metric(1.31449, "nats") == "1.314"
    assert text.metric(None) == text.metric(math.nan) == "-"


def test_a_number_keeps_four_digits_and_no_tail() -> None:
    written = [text.number(x) for x in (0.00012345, 3.0, 1234567.0, math.nan, None)]
    assert written == ["0.0001234", "3", "1234567", "nan", "-"]


@pytest.mark.parametrize(
    ("said", "number"),
    [
        ("0", 0),
        ("007", 7),
        ("", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("9" * 5000, None),
    ],
)
def test_a_whole_number_is_one_that_somebody_may_mean(said: str, number: int | None) -> None:
    assert text.whole(said) == number


def test_every_state_of_the_registry_has_a_symbol_of_its_own() -> None:
    assert set(text.STATES) == set(runs.STATES)
    assert len({state.symbol for state in text.STATES.values()}) == len(text.STATES)


def test_a_state_is_written_with_its_reason() -> None:
    assert text.state("running", "quiet for 14 min") == "▶ running, quiet for 14 min"
    assert text.state("failed") == "✗ failed"


def test_one_of_a_thing_is_not_plural() -> None:
    assert [text.plural(n, "run") for n in (0, 1, 2000)] == ["0 runs", "1 run", "2,000 runs"]
