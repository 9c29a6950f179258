"""Cells and durations of a notebook: what is written is what is read, and the rest is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.imports.figures import Figure, Unreadable, read_duration, read_figure

BLANKS = st.sampled_from(["", " ", "  ", "\u3000", "\t"])
TENTHS = st.integers(0, 1000)


@pytest.mark.parametrize(
    ("said", "own", "paper"),
    [
        ("79.2% (79.4%)", 0.792, 0.794),
        ("(91.4%)", None, 0.914),
        ("79.0%", 0.79, None),
        ("72.9±0.4% (73.2%)", 0.729, 0.732),
        ("72.9% ± 0.4% (73.2%)", 0.729, 0.732),
        ("７９．２％（７９．４％）", 0.792, 0.794),
        ("**86.0%** (85.9%)†", 0.86, 0.859),
        ("100% (0%)", 1.0, 0.0),
        ("xx% (73.2%)", None, 0.732),
        ("", None, None),
        ("-", None, None),
        ("()", None, None),
        ("xx.x%", None, None),
    ],
)
def test_own_number_and_papers_number_are_told_apart(said, own, paper) -> None:
    assert read_figure(said) == Figure(own, paper)


def test_a_number_without_its_unit_is_read_as_percent_and_says_so() -> None:
    read = read_figure("70.09 (72.1%)")
    assert (read.own, read.paper) == (0.7009, 0.721)
    assert read.own_flaws == ("`70.09` has no unit; read as percent",)
    assert read.paper_flaws == ()


def test_a_small_number_without_its_unit_is_read_as_a_share_and_says_so() -> None:
    read = read_figure("0.7 (72.1)")
    assert (read.own, read.paper) == (0.7, 0.721)
    assert "share" in read.own_flaws[0]
    assert read.paper_flaws == ("`72.1` has no unit; read as percent",)


@pytest.mark.parametrize(
    "said", ["170%", "-3%", "79.2% 79.4%", "7 9.2%", "79.2% (79.4%", "done", "1e3%", "79,2%", "1%%"]
)
def test_what_is_no_share_is_refused_and_named(said: str) -> None:
    with pytest.raises(Unreadable, match=r"more than 100|not of the form"):
        read_figure(said)


@pytest.mark.parametrize("said", ["72.9 (3)", "72.9% (73)", "(91)"])
def test_a_whole_number_in_brackets_may_be_a_count_and_is_refused(said: str) -> None:
    with pytest.raises(Unreadable, match="count of seeds"):
        read_figure(said)


@given(TENTHS, TENTHS, st.lists(BLANKS, min_size=6, max_size=6), st.booleans())
def test_any_two_percentages_come_back_however_they_are_spaced(a, b, blanks, wide) -> None:
    one, two, three, four, five, six = blanks
    said = f"{six}{a / 10:.1f}{one}%{two}({three}{b / 10:.1f}{four}%{five})"
    if wide:
        said = said.replace("%", "％").replace("(", "（").replace(")", "）")
    assert read_figure(said) == Figure(a / 1000, b / 1000)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_and_what_is_read_is_a_share(said: str) -> None:
    try:
        read = read_figure(said)
    except Unreadable:
        return
    assert all(value is None or 0 <= value <= 1 for value in (read.own, read.paper))


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("61(h)50(m)", 222_600),
        ("3(h)55(m)", 14_100),
        ("3d 04h", 273_600),
        ("4m 05s", 245),
        ("61小时50分钟", 222_600),
        ("1.5 h", 5_400),
        ("12 hours", 43_200),
        ("xx(h)xx(m)", None),
        ("xxhxxm", None),
        ("-", None),
        ("", None),
    ],
)
def test_a_span_of_time_is_read_in_the_spellings_that_notebooks_have(said, seconds) -> None:
    assert read_duration(said) == (seconds, ())


def test_more_minutes_than_an_hour_has_are_read_and_told() -> None:
    assert read_duration("3(h)75(m)") == (15_300, ("`3(h)75(m)` has 75 m behind a larger unit",))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("3(h)xx(m)", "half"),
        ("50(m)3(h)", "large units"),
        ("3(h)4(h)", "large units"),
        ("3(w)", "`w`"),
        ("61:50", "form"),
        ("30", "form"),
        ("soon", "form"),
    ],
)
def test_a_span_that_cannot_be_known_is_refused_with_the_reason(said, reason) -> None:
    with pytest.raises(Unreadable, match=reason):
        read_duration(said)


@given(
    st.integers(0, 999), st.integers(0, 59), BLANKS, BLANKS, st.sampled_from(["(h)", "h", "小时"])
)
def test_any_hours_and_minutes_come_back(hours, minutes, one, two, unit) -> None:
    read = read_duration(f"{hours}{one}{unit}{two}{minutes}(m)")
    assert read == (3600 * hours + 60 * minutes, ())


@given(st.text(alphabet="0123456789xhdms() .", max_size=20))
def test_any_text_is_a_span_of_time_or_refused(said: str) -> None:
    try:
        seconds, _ = read_duration(said)
    except Unreadable:
        return
    assert seconds is None or seconds >= 0
