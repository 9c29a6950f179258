from __future__ import annotations

import itertools
import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.segment import Segment
from textual.strip import Strip

from cxrlab.harmless import LONGEST, RIDING, STACKED, cut, harmless, kept_colours, log_line

ACTING = (
    *(chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))),
    *"\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029",
)
"""What a terminal obeys, what turns the writing direction, and what cannot be written at all."""

PIECES = st.sampled_from(
    ["\x1b", "\x1b[", "\x1b[0m", "\x1b]0;", "\x9b", "\x9d", "\x07", "\t", "\r", "\u202e", "\u200d",
     "\u200b", "\ufe0f", "\ud800", "e\u0301", "\u0301" * 9, "中", "👩", "🏽", "❤", "[red]", "m"]
)  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=60),
    st.lists(PIECES, max_size=20).map("".join),
)


@pytest.mark.parametrize("text", ["[red]x[/red]", "[/]", "[@click=app.quit]x[/]", "plain", "影像"])
def test_square_brackets_and_letters_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


def test_colours_vanish_and_other_escape_sequences_become_visible() -> None:
    assert harmless("\x1b[1;31mred\x1b[0m \x1b[2J \x1b]0;title\x07") == "red ␛[2J ␛]0;title␇"


@pytest.mark.parametrize("sign", ["\x9b", "\u202e", "\u2066", "\x7f", "\x00", "\r", "\x0b"])
def test_no_sign_that_a_terminal_obeys_is_left(sign: str) -> None:
    assert sign not in harmless(f"a{sign}b")


def test_a_line_too_long_says_how_much_was_left_out() -> None:
    said = harmless("x" * (LONGEST + 5))
    assert said == "x" * LONGEST + " … (5 characters more)"


def test_a_progress_bar_shows_what_it_wrote_last() -> None:
    assert log_line(b"10%|#   |\r50%|##  |\r100%|####|\n") == "100%|####|"


def test_bytes_that_are_no_text_do_not_stop_a_line() -> None:
    assert log_line(b"a\xff\xfeb\n") == "a\ufffd\ufffdb"


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [("short", 5, "short"), ("longer", 5, "long…"), ("影像学", 5, "影像…"), ("ab", 1, "…")],
)
def test_a_cut_text_fits_its_width(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


@given(TEXTS)
def test_whatever_comes_nothing_is_left_that_acts(text: str) -> None:
    said = harmless(text)
    assert not set(said) & set(ACTING)
    said.encode()  # half a character could not be written
    assert harmless(said) == said


@given(TEXTS)
def test_with_colours_kept_nothing_else_acts(text: str) -> None:
    rest = re.sub(r"\x1b\[[0-9;:]*m", "", kept_colours(text))
    assert set(rest) & set(ACTING) <= set("\t\n\r")


@given(TEXTS)
def test_what_stacks_on_a_letter_is_bounded(text: str) -> None:
    kinds = [unicodedata.category(sign) for sign in harmless(text)]
    for rides, run in itertools.groupby(kinds, lambda kind: kind in ("Mn", "Me", "Cf")):
        found = list(run)
        assert not rides or len(found) <= RIDING
        assert not rides or len(found) - found.count("Cf") <= STACKED


@given(TEXTS, st.integers(0, 30))
def test_what_is_drawn_is_as_wide_as_it_is_counted(text: str, width: int) -> None:
    said = harmless(text)
    drawn = Strip([Segment(said)]).adjust_cell_length(width)
    assert cell_len(drawn.text) == drawn.cell_length == width
    assert cell_len(cut(said, width)) <= width


@pytest.mark.parametrize(
    "text", ["👩‍👩‍👧 家", "👩🏽‍🔬", "❤️‍🔥",
             "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
             "Zoë é ệ", "预训练：影像学", "สวัสดี हिन्दी שָׁלוֹם"]
)  # fmt: skip
def test_ordinary_text_of_any_writing_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text


@given(st.text(st.characters(categories=("Lo", "Lu", "Ll", "Nd", "Po", "So", "Sm")), max_size=40))
def test_letters_figures_and_signs_stay_as_they_are(text: str) -> None:
    assert harmless(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("一\u200d二", "一二"),
        ("a\u200bb", "ab"),
        ("\u0301a", "\u25cc\u0301a"),
        ("e" + "\u0301" * 500 + "x", "e" + "\u0301" * STACKED + "x"),
        ("img\udcff.png", "img\ufffd.png"),
    ],
)
def test_what_has_no_width_cannot_shift_a_column(text: str, expected: str) -> None:
    assert harmless(text) == expected
