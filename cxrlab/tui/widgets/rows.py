"""What are the columns and rows of a table? Text with the names of styles; a table draws it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple


class Column(NamedTuple):
    """A column: its head, its width in cells, and the head it shares with its neighbours."""

    title: str
    width: int
    right: bool = False
    group: str = ""
    grows: bool = False
    """Takes what is left of the table's width."""


Part = tuple[str, str]
"""Text, and the name of the style it is drawn in (`""`, `dim`, `strong`, `running`, ...)."""
Row = Sequence[Sequence[Part]]
"""For every column the parts its cell is made of."""


class Span(NamedTuple):
    """A row that is one text over all columns."""

    parts: Sequence[Part]


Line = Row | Span


class Made:
    """Rows that are made when they are first looked at: most of those held are never drawn."""

    def __init__(self, make: Callable[[int], Line], count: int) -> None:
        self._make = make
        self._made: list[Line | None] = [None] * count

    def __len__(self) -> int:
        return len(self._made)

    def __getitem__(self, at: int) -> Line:
        line = self._made[at]
        if line is None:
            line = self._made[at] = self._make(at)
        return line
