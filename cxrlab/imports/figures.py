"""What numbers does a cell such as `79.2% (79.4%)` hold, and how long is `61(h)50(m)`?

First comes the own number, in brackets the paper's; either may be missing. Full-width signs are
read like plain ones. Nothing is guessed in silence: what had to be assumed is told as a flaw.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import NamedTuple

_MARKS = "†‡§¶*⁰¹²³⁴⁵⁶⁷⁸⁹`"
"""Signs of footnotes and of Markdown, which are no part of a number."""

_NUMBER = r"\d{1,9}(?:\.\d{0,9})?|\.\d{1,9}"
_PLACEHOLDER = r"x{1,4}(?:\.x{1,4})?|-{1,3}|[–—·…/?]|n/?a|tbd|todo"
_VALUE = f"{_NUMBER}|{_PLACEHOLDER}"
_FIGURE = re.compile(
    rf"""
    (?P<own> {_VALUE})? \s* (?P<unit> %)?
    (?: \s* (?: ± | \+/?- ) \s* (?: {_VALUE}) \s* (?P<unit_after> %)? )?
    (?: \s* \( \s* (?P<paper> {_VALUE})? \s* (?P<paper_unit> %)? \s* \) )?
    """,
    re.VERBOSE,
)

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_UNIT_WORDS = {
    "天": "d", "日": "d", "day": "d", "days": "d",
    "小时": "h", "时": "h", "hour": "h", "hours": "h", "hr": "h", "hrs": "h",
    "分钟": "m", "分": "m", "min": "m", "mins": "m", "minute": "m", "minutes": "m",
    "秒": "s", "sec": "s", "secs": "s", "second": "s", "seconds": "s",
}  # fmt: skip
_SPAN = re.compile(rf"({_VALUE})\s*(?:\(\s*([^\W\d_]+)\s*\)|([a-wyz]+|[^\W\d_a-z]+))\s*")
"""A number and its unit, with or without brackets; no unit has an `x`, which holds a place."""


class Unreadable(ValueError):
    """A text that is no number, with the reason."""


class Figure(NamedTuple):
    """The numbers of a cell as shares in [0, 1], None where there is none, and their flaws."""

    own: float | None
    paper: float | None
    own_flaws: tuple[str, ...] = ()
    paper_flaws: tuple[str, ...] = ()


class Duration(NamedTuple):
    """A span of time (s), None where only the place for one is there, and its flaws."""

    seconds: float | None
    flaws: tuple[str, ...] = ()


def read_figure(said: str) -> Figure:
    """Return the numbers in a cell; of `72.9±0.4%` the mean.

    Raises:
        Unreadable: the cell holds something else, or a number that is no share.
    """
    found = _FIGURE.fullmatch(_plain(said))
    if not found:
        raise Unreadable(f"`{said}` is not of the form `79.2% (79.4%)`")
    if (found["paper"] or "").isdecimal() and not found["paper_unit"]:
        raise Unreadable(f"the bracket of `{said}` has no `%`, and could be a count of seeds")
    own, own_flaws = _share(found["own"], found["unit"] or found["unit_after"])
    paper, paper_flaws = _share(found["paper"], found["paper_unit"])
    return Figure(own, paper, own_flaws, paper_flaws)


def read_duration(said: str) -> Duration:
    """Return how long `61(h)50(m)`, `61h 50m` or `3d 04h` is; nothing for `xx(h)xx(m)`.

    Raises:
        Unreadable: it is no span of time, or only half of it is filled in.
    """
    plain = _plain(said)
    if not plain or re.fullmatch(_PLACEHOLDER, plain):
        return Duration(None)
    if _SPAN.sub("", plain):
        raise Unreadable(f"`{said}` is not of the form `61(h)50(m)`")
    parts = [(value, _unit(a or b, said)) for value, a, b in _SPAN.findall(plain)]
    sizes = [_UNITS[unit] for _, unit in parts]
    if sizes != sorted(set(sizes), reverse=True):
        raise Unreadable(f"`{said}` does not go from large units to small ones")
    known = [re.fullmatch(_NUMBER, value) is not None for value, _ in parts]
    if not all(known):
        if any(known):
            raise Unreadable(f"`{said}` is only half filled in")
        return Duration(None)
    seconds = sum(Decimal(value) * _UNITS[unit] for value, unit in parts)
    return Duration(float(seconds), _overflowing(said, parts))


def _plain(said: str) -> str:
    """Return `said` in plain characters, without footnote marks."""
    bare = "".join(sign for sign in said if sign not in _MARKS)
    return " ".join(unicodedata.normalize("NFKC", bare).casefold().split())


def _share(said: str | None, unit: str | None) -> tuple[float | None, tuple[str, ...]]:
    if said is None or not re.fullmatch(_NUMBER, said):
        return None, ()
    number = Decimal(said)
    in_percent = bool(unit) or number > 1
    share = number / 100 if in_percent else number
    if share > 1:
        raise Unreadable(f"`{said}` is more than 100 %")
    read = "percent" if in_percent else "a share of 1"
    return float(share), (() if unit else (f"`{said}` has no unit; read as {read}",))


def _unit(word: str, said: str) -> str:
    unit = _UNIT_WORDS.get(word, word)
    if unit not in _UNITS:
        raise Unreadable(f"`{said}` has a unit that is not known: `{word}`")
    return unit


def _overflowing(said: str, parts: list[tuple[str, str]]) -> tuple[str, ...]:
    most = {"h": 24, "m": 60, "s": 60}
    return tuple(
        f"`{said}` has {value} {unit} behind a larger unit"
        for value, unit in parts[1:]
        if Decimal(value) >= most[unit]
    )
