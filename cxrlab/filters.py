"""What does a person mean by `state:running blr>1e-4 siim`? The language that finds runs.

A filter is words and terms, all of which have to fit. A word is part of a method, a task, a reason
or a tag, or how an id or a state begins. A term is a name, a sign and a value: `task:siim`,
`seed=0`, `blr>1e-4`, `AUROC>0.7`, `age<2d`, `tag:x`. Several values behind commas are any of them;
`-` in front turns a term round; quotes keep blanks together.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple

from cxrlab.errors import NotFound, Usage, nearest
from store.matching import NUMBERS, TEXTS, Term
from store.runs import STATES
from trainers import metrics

_PIECE = re.compile(r'(?:"[^"]*(?:"|$)|\S)+')
_TERM = re.compile(r"(-?)([A-Za-z_][\w./-]*?)(:|!=|<=|>=|=|<|>)(.*)", re.DOTALL)
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhd])+")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_TIMES = ("took", "left", "age")
_SHARES = ("done",)


class Filter(NamedTuple):
    """What was typed, and what it asks for."""

    typed: str
    terms: tuple[Term, ...]


class _Typed(NamedTuple):
    """A term before anybody has looked whether there is anything of that name."""

    negated: bool
    name: str
    sign: str
    value: str
    said: str


def names_settings(typed: str) -> bool:
    """Return whether a filter names anything that could be a setting."""
    known = {*TEXTS, *NUMBERS}
    return any(
        isinstance(piece, _Typed) and piece.name not in known and not _is_metric(piece.name)
        for piece in _pieces(typed)
    )


def read(typed: str, settings: Collection[str] = ()) -> Filter:
    """Return what a filter asks for.

    A term without a value, as it stands while it is typed, asks for nothing.

    Args:
        typed: as a person typed it.
        settings: the names of all settings that any run has.

    Raises:
        NotFound: there is no field, setting or metric of a name.
        Usage: a value does not go with what it is compared to.
    """
    terms = []
    for piece in _pieces(typed):
        if isinstance(piece, str):
            negated = len(piece) > 1 and piece.startswith("-")
            word = _bare(piece[1:] if negated else piece)
            if word:
                terms.append(Term("word", "", ":", (word,), negated))
        elif _bare(piece.value):
            terms.append(_term(piece, settings))
    return Filter(typed, tuple(terms))


def _pieces(typed: str) -> Iterator[str | _Typed]:
    for piece in _PIECE.findall(typed):
        found = _TERM.fullmatch(piece)
        if found and "://" not in piece:
            minus, name, sign, value = found.groups()
            yield _Typed(bool(minus), name, sign, value, piece)
        else:
            yield piece


def _term(piece: _Typed, settings: Collection[str]) -> Term:
    name, sign = piece.name, piece.sign
    values = [_bare(part) for part in _split(piece.value)]
    values = [value for value in values if value]
    lower = name.lower()
    if lower in TEXTS:
        if sign not in (":", "=", "!="):
            raise Usage(f"`{name}` is no number: `{piece.said}`", f"write `{name}:{values[0]}`")
        if lower == "state":
            _check_states(values, exact=sign != ":")
        return Term("text", lower, sign, tuple(values), piece.negated)
    if lower in NUMBERS:
        numbers = tuple(_number(lower, value, piece) for value in values)
        return Term("number", lower, sign, numbers, piece.negated)
    by_setting = {each.lower(): each for each in settings}
    if lower in by_setting:
        return _of_setting(by_setting[lower], piece, values)
    if _is_metric(name):
        numbers = tuple(_share(value, piece) for value in values)
        return Term("metric", _metric(name), sign, numbers, piece.negated)
    known = [*TEXTS, *NUMBERS, *settings, *metrics.METRICS]
    close = nearest(name, known)
    hint = f"did you mean `{close}`?" if close else f"such as {', '.join((*TEXTS, *NUMBERS)[:8])}"
    raise NotFound(f"no field, setting or metric is called `{name}`", hint)


def _of_setting(name: str, piece: _Typed, values: Iterable[str]) -> Term:
    found: list[str | float] = []
    for value in values:
        number = _as_float(value)
        if number is None and piece.sign in ("<", "<=", ">", ">="):
            raise Usage(f"`{value}` is no number: `{piece.said}`", f"such as `{name}>1e-4`")
        found.append(value if number is None else number)
    return Term("setting", name, piece.sign, tuple(found), piece.negated)


def _check_states(values: Iterable[str], *, exact: bool) -> None:
    for value in map(str.lower, values):
        if value not in STATES and (exact or not any(s.startswith(value) for s in STATES)):
            close = nearest(value, STATES)
            hint = f"did you mean `{close}`?" if close else f"known: {', '.join(STATES)}"
            raise NotFound(f"no state is called `{value}`", hint)


def _is_metric(name: str) -> bool:
    return metrics.find(_spelt(name)) is not None or name.partition("/")[0] in metrics.PARTS


def _metric(name: str) -> str:
    """Return the metric in full: of the test where no part of the data is named."""
    return name if name.partition("/")[0] in metrics.PARTS else f"test/{_spelt(name)}"


def _spelt(name: str) -> str:
    """Return a metric's name in its own capitals: `AUROC` for `auroc`."""
    head, slash, rest = name.partition("/")
    return {each.lower(): each for each in metrics.METRICS}.get(head.lower(), head) + slash + rest


def _number(field: str, value: str, piece: _Typed) -> float:
    if field in _TIMES and _SPAN.fullmatch(value.lower()):
        parts = re.findall(r"([\d.]+)([smhd])", value.lower())
        return sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if field in _SHARES:
        return _share(value, piece)
    number = _as_float(value.rstrip("%") if field == "ratio" else value)
    if number is None:
        raise Usage(
            f"`{value}` is no {'span of time' if field in _TIMES else 'number'}: `{piece.said}`",
            f"such as `{field}>2h`" if field in _TIMES else f"such as `{field}=1`",
        )
    return number


def _share(value: str, piece: _Typed) -> float:
    number = _as_float(value.removesuffix("%"))
    if number is None:
        raise Usage(f"`{value}` is no number: `{piece.said}`", f"such as `{piece.name}>0.7`")
    return number / 100 if value.endswith("%") else number


def _as_float(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if abs(number) != float("inf") and number == number else None


def _split(value: str) -> list[str]:
    """Return what stands between commas that are in no quotes."""
    return re.findall(r'(?:"[^"]*(?:"|$)|[^,])+', value)


def _bare(value: str) -> str:
    return value.replace('"', "")
