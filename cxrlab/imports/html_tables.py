"""Which tables of HTML stand in a text, place by place, each with the line it stands on?

Written as people write them: end tags may be missing, rows empty, cells merged. A merged cell is
given in every place that it covers. A table within a cell is left out, and so is what is struck out
or raised, which is no part of a number.
"""

from __future__ import annotations

from collections.abc import Sequence
from html.parser import HTMLParser
from typing import NamedTuple

MOST_SPANNED = 1000
"""What HTML allows for `colspan`."""

_LEFT_OUT = {"sup", "s", "del", "strike", "style", "script"}
_CELLS = {"td", "th"}


class Place(NamedTuple):
    """One place of a table, which a cell of its own or a merged one covers."""

    text: str
    """Runs of blanks are one."""
    line: int
    first: bool = True
    """False where a merged cell goes on from the column before."""
    title: str = ""
    """What shows when a pointer rests on it."""


class Table(NamedTuple):
    """A table as rows of places; rows may differ in length."""

    rows: list[list[Place]]
    first_line: int
    last_line: int
    closed: bool
    """False where the end tag is missing; the table then ends with the last tag of a row."""


class _Cell(NamedTuple):
    """A cell as it is written."""

    text: str
    line: int
    columns: int
    rows: int
    title: str


def find_tables(lines: Sequence[str], *, anywhere: bool = False) -> list[Table]:
    """Return the tables in a text that was split into lines, in order.

    Args:
        lines: the text.
        anywhere: whether a table may begin within a line, as in a page of HTML; in Markdown that
            is a sentence about tables.
    """
    found: list[Table] = []
    number = column = 0
    while number < len(lines):
        at = _beginning(lines[number], column, anywhere=anywhere)
        if at is None:
            number, column = number + 1, 0
            continue
        reader = _read(lines, number, at)
        found.append(
            Table(_expanded(reader.rows), number + 1, reader.last_line, closed=reader.closed)
        )
        number, column = reader.ended_at or (reader.last_line, 0)
    return found


def _beginning(line: str, column: int, *, anywhere: bool) -> int | None:
    """Return at which column a table begins; None where none does."""
    small = line.casefold() if len(line.casefold()) == len(line) else line
    while (column := small.find("<table", column)) >= 0:
        behind = small[column + 6 : column + 7]
        if not behind.strip(" \t>/") and (anywhere or not line[:column].strip(" \t>")):
            return column
        column += 6
    return None


def _read(lines: Sequence[str], first: int, column: int) -> _Reader:
    """Return a reader that has read the table which begins there."""
    reader = _Reader(first, column)
    for number in range(first, len(lines)):
        reader.feed((lines[number][column:] if number == first else lines[number]) + "\n")
        if reader.ended_at:
            return reader
    reader.close()
    return reader


def _expanded(rows: Sequence[Sequence[_Cell]]) -> list[list[Place]]:
    """Return the places of a table whose cells may reach over columns and rows."""
    out: list[list[Place]] = []
    reaching: dict[int, tuple[int, Place]] = {}  # column -> how many rows more, and what

    def reach(row: list[Place], below: dict[int, tuple[int, Place]]) -> None:
        while len(row) in reaching:
            left, place = reaching.pop(len(row))
            if left > 1:
                below[len(row)] = (left - 1, place)
            row.append(place)

    for cells in rows:
        row: list[Place] = []
        below: dict[int, tuple[int, Place]] = {}
        for cell in cells:
            reach(row, below)
            for number in range(cell.columns):
                place = Place(cell.text, cell.line, first=number == 0, title=cell.title)
                if cell.rows > 1:
                    below[len(row)] = (cell.rows - 1, place)
                row.append(place)
        reach(row, below)
        if cells:  # `<tr></tr>` is no row that a cell could reach down to
            reaching = below
        out.append(row)
    return out


class _Reader(HTMLParser):
    """Reads one table; `closed` once its end has come."""

    def __init__(self, offset: int, column: int) -> None:
        super().__init__(convert_charrefs=True)
        self.rows: list[list[_Cell]] = []
        self.closed = False
        self.ended_at: tuple[int, int] | None = None
        """Line, counted from 0, and column behind the table; None while it goes on."""
        self.last_line = offset + 1
        self._offset = offset
        self._column = column
        self._depth = 0
        self._left_out = 0
        self._open: _Cell | None = None
        self._text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.ended_at:
            return
        if tag == "table" and self._depth == 1 and self._open is None:
            self._end()  # as browsers do: no table stands in another but within a cell
            return
        if tag == "table":
            self._depth += 1
        elif self._depth > 1:
            return
        elif tag == "tr":
            self._end_cell()
            self.rows.append([])
        elif tag in _CELLS:
            self._begin_cell(dict(attrs))
        elif tag in _LEFT_OUT:
            self._left_out += 1
        elif tag == "br":
            self._text.append(" ")
        if tag in (*_CELLS, "tr", "table"):
            self.last_line = self._line()

    def handle_endtag(self, tag: str) -> None:
        if self.ended_at or (tag != "table" and self._depth > 1):
            return
        if tag == "table":
            self._depth -= 1
            if self._depth == 0:
                self._end_cell()
                self.closed = True
                self._end(behind=len("</table"))
        elif tag in (*_CELLS, "tr"):
            self._end_cell()
        elif tag in _LEFT_OUT:
            self._left_out = max(0, self._left_out - 1)
        if tag in (*_CELLS, "tr", "table"):
            self.last_line = self._line()

    def handle_data(self, data: str) -> None:
        if self._depth == 1 and not self._left_out:
            self._text.append(data)

    def close(self) -> None:
        super().close()
        self._text = "".join(self._text).split("\n")[:1]  # the rest is no part of the table
        self._end_cell()

    def _end(self, behind: int = 0) -> None:
        line, column = self.getpos()
        before = self._column if line == 1 else 0
        self.ended_at = line - 1 + self._offset, column + before + behind

    def _line(self) -> int:
        return self.getpos()[0] + self._offset

    def _begin_cell(self, told: dict[str, str | None]) -> None:
        self._end_cell()
        if not self.rows:
            self.rows.append([])
        columns, rows = _span(told.get("colspan")), _span(told.get("rowspan"))
        title = " ".join((told.get("title") or "").split())
        self._open = _Cell("", self._line(), columns, rows, title)

    def _end_cell(self) -> None:
        if self._open:
            text = " ".join("".join(self._text).split())
            self.rows[-1].append(self._open._replace(text=text))
        self._open, self._text, self._left_out = None, [], 0


def _span(said: str | None) -> int:
    digits = (said or "").strip()
    return min(max(int(digits), 1), MOST_SPANNED) if digits.isdecimal() else 1
