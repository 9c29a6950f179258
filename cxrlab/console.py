"""How facts reach the terminal: JSON, tables that fit, colours that may be off, two-line errors.

Facts go to stdout, talk to stderr. Nothing here knows what a run or a cell is. No rich: a table of
runs costs no import beyond Typer's own.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Any

import typer

from cxrlab.harmless import kept_colours

NARROWEST = 12
"""A column that gives way keeps at least this many characters (unitless)."""

_FIRST_COMBINING = "\u0300"
"""No character before it is wide, and none combines."""

LABEL = 12
"""How many columns the labels of facts take."""


def say(text: str = "") -> None:
    """Print one line of talk on stderr."""
    typer.echo(kept_colours(text), err=True, color=None if coloured(sys.stderr) else False)


def fact(text: str = "") -> None:
    """Print one line of facts on stdout."""
    typer.echo(kept_colours(text), color=None if coloured(sys.stdout) else False)


def facts(document: Any) -> None:
    """Print one JSON document on stdout."""
    # only UTF-8 can say everything as it is
    spelled = (getattr(sys.stdout, "encoding", "") or "").lower().replace("-", "") != "utf8"
    typer.echo(json.dumps(document, indent=2, ensure_ascii=spelled, default=str))


def error(message: str, hint: str = "") -> None:
    """Say what is wrong and what to do, in one or two lines on stderr."""
    say(typer.style("error:", fg="red", bold=True) + f" {one_line(message)}")
    if hint:
        say(typer.style("hint:", fg="cyan", bold=True) + f" {one_line(hint)}")


def one_line(text: str) -> str:
    """Return `text` with every run of white space as one blank."""
    return " ".join(text.split())


def coloured(stream: Any) -> bool:
    """Return whether `stream` takes colours: a terminal, and neither NO_COLOR nor TERM=dumb."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return stream is not None and bool(stream.isatty())  # None: it was closed before we began


def width() -> int:
    """Return how many columns a line may have; 80 where there is no terminal."""
    return shutil.get_terminal_size((80, 24)).columns


def paint(text: str, style: str) -> str:
    """Return `text` in a style such as `bold red`; as it is where colours are off."""
    if not style or not coloured(sys.stdout):
        return text
    words = style.split()
    plain = [w for w in words if w in ("bold", "dim", "italic", "underline")]
    colour = next((w for w in words if w not in plain and w != "not"), None)
    known = {"grey": "bright_black", "gray": "bright_black", "orange": "yellow"}
    try:
        return typer.style(
            text, fg=known.get(colour, colour) if colour else None, **dict.fromkeys(plain, True)
        )
    except TypeError:  # a colour that the sixteen do not have
        return text


def length(text: str) -> int:
    """Return how many columns `text` takes; wide East Asian characters take two."""
    if not text or max(text) < _FIRST_COMBINING:  # nearly all, and ten times as quick
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(bool(unicodedata.combining(c)) for c in text)


def shortened(text: str, columns: int) -> str:
    """Return `text`, cut with an ellipsis to take at most `columns`."""
    if length(text) <= columns:
        return text
    while text and length(text) > columns - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def wrapped(text: str, *, indent: int, columns: int) -> list[str]:
    """Return `text` as lines of at most `columns`, each begun with `indent` blanks."""
    return textwrap.wrap(
        one_line(text),
        width=max(columns, indent + NARROWEST),
        initial_indent=" " * indent,
        subsequent_indent=" " * indent,
        break_on_hyphens=False,
        break_long_words=False,
    )


def labelled(label: str, said: str, *, columns: int) -> list[str]:
    """Return `said` behind its label; paths and commands are never broken within a word."""
    lines = wrapped(said, indent=LABEL, columns=columns) or [" " * LABEL]
    painted = paint(f"{label:<{LABEL}}", "dim")
    return [painted + lines[0][LABEL:], *lines[1:]]


def _least(widths: Sequence[int], kept: Sequence[int], gives_way: int | None) -> int:
    """Return how long a line of some columns is at least."""
    least = [min(widths[i], NARROWEST) if i == gives_way else widths[i] for i in kept]
    return sum(least) + 2 * (len(kept) - 1)


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Sequence[int] = (),
    gives_way: int | None = None,
    dropped: Sequence[str] = (),
    styles: Sequence[Sequence[str]] = (),
    columns: int | None = None,
) -> list[str]:
    """Return the lines of a table: two blanks between columns, nothing after the last.

    Args:
        head: the headings.
        rows: the texts, as many as headings in each.
        right: indexes of columns that are aligned to the right.
        gives_way: the column that is shortened where the lines would be too long.
        dropped: headings of columns that are left out where that is not enough, in this order.
        styles: for each row, the style of each text; empty for none.
        columns: how long a line may be; None for any length.
    """
    lines = [list(head), *map(list, rows)]
    lengths = [list(map(length, line)) for line in lines]
    widths = list(map(max, zip(*lengths, strict=True)))
    kept = list(range(len(head)))
    if columns is not None:
        leaving = [head.index(name) for name in dropped if name in head]
        while leaving and _least(widths, kept, gives_way) > columns:
            kept.remove(leaving.pop(0))
        total = sum(widths[i] for i in kept) + 2 * (len(kept) - 1)
        if gives_way in kept and total > columns:
            widths[gives_way] = max(NARROWEST, widths[gives_way] - (total - columns))
    out = []
    for number, line in enumerate(lines):
        cells = []
        for i in kept:
            text = line[i]
            shown, room = text, " " * (widths[i] - lengths[number][i])
            if lengths[number][i] > widths[i]:
                shown = shortened(text, widths[i])
                room = " " * (widths[i] - length(shown))
            style = "bold" if number == 0 else styles[number - 1][i] if styles else ""
            painted = paint(shown, style)
            last = i == kept[-1] and i not in right
            cells.append(room + painted if i in right else painted + ("" if last else room))
        out.append("  ".join(cells).rstrip())
    return out
