"""How is what a check of a data set found told to a person?

A report is JSON, and `--json` prints it as it is: digests whole, one object in another. Here it
becomes lines and small tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cxrlab import console, text

_DIGEST = re.compile(r"[0-9a-f]{40,}")
_SHOWN = 12
"""So much of a digest tells it from others (hexadecimal digits)."""
_MANY = 3
"""From so many things counted in each of several parts on, they are a table."""


def lines(report: Mapping[str, Any], *, columns: int) -> list[str]:
    """Return facts, notes, faults and their number, in lines of at most `columns`."""
    told = list(_facts(report["facts"], indent=2, columns=columns))
    for note in report["notes"]:
        told += _wrapped(f"note: {note}", indent=2, columns=columns)
    for fault in report["faults"]:
        where = f"{fault['path']}: " if fault["path"] else ""
        told += _wrapped(f"fault: {where}{fault['message']}", indent=2, columns=columns)
    return [*told, f"{report['dataset']}: {text.plural(len(report['faults']), 'fault')}"]


def _facts(facts: Mapping[str, Any], *, indent: int, columns: int) -> Iterable[str]:
    for key, value in facts.items():
        label = f"{key.replace('_', ' ')}:"
        head = " " * indent + label
        if _are_rows(value):
            rows = [list(map(_words, row.values())) for row in value]
            yield head
            yield from _table(list(value[0]), rows, indent=indent, columns=columns)
        elif _counts_much(value):
            things = list(next(iter(value.values())))
            rows = [[one, *(_words(part[one]) for part in value.values())] for one in things]
            yield head
            yield from _table(["", *value], rows, indent=indent, columns=columns)
        elif _is_mixed(value):
            yield head
            yield from _facts(value, indent=indent + 2, columns=columns)
        else:
            yield from _wrapped(f"{label} {_words(value)}", indent=indent, columns=columns)


def _wrapped(said: str, *, indent: int, columns: int) -> list[str]:
    first, *rest = console.wrapped(said, indent=indent, columns=columns)
    return [first, *console.wrapped(" ".join(rest), indent=indent + 2, columns=columns)]


def _words(value: Any) -> str:
    """Return a value in words: `train 394, val 69`; parts of parts in brackets."""
    if isinstance(value, str):
        return value[:_SHOWN] if _DIGEST.fullmatch(value) else value
    if isinstance(value, Mapping):
        return ", ".join(map(_pair, value, value.values())) or "none"
    if isinstance(value, Sequence):
        return "; ".join(map(_words, value)) or "none"
    if value is None or isinstance(value, bool):
        return {True: "yes", False: "no", None: "none"}[value]
    return str(value)


def _pair(key: str, value: Any) -> str:
    said = _words(value)
    return f"{key} ({said})" if isinstance(value, Mapping) and value else f"{key} {said}"


def _are_rows(value: Any) -> bool:
    """Return whether a value lists things of one kind, each with the same facts."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(row, Mapping) and row.keys() == value[0].keys() for row in value)


def _counts_much(value: Any) -> bool:
    """Return whether the same many things are counted in several parts."""
    if not isinstance(value, Mapping) or not value:
        return False
    parts = list(value.values())
    alike = all(isinstance(part, Mapping) and part.keys() == parts[0].keys() for part in parts)
    return alike and len(parts[0]) >= _MANY


def _is_mixed(value: Any) -> bool:
    """Return whether some of a value's parts have parts, and some have none."""
    if not isinstance(value, Mapping):
        return False
    kinds = {isinstance(part, Mapping) and bool(part) for part in value.values()}
    return len(kinds) > 1


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int, columns: int
) -> list[str]:
    right = range(1, len(head))
    body = console.table(head, rows, right=right, gives_way=0, columns=columns - indent - 2)
    return [" " * (indent + 2) + line for line in body]
