from __future__ import annotations

import pytest

from cxrlab.harmless import LONGEST, cut, harmless, log_line


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
