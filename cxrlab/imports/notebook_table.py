"""Which rows and numbers does a notebook's table of results hold?

Nothing is taken from a place that may not be the one it seems: a row whose dividing columns do not
stand below those of the head has lost or gained a cell, and is not read.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from cxrlab import text
from cxrlab.errors import nearest
from cxrlab.grid.published import Paper
from cxrlab.imports import figures, heads
from cxrlab.imports.html_tables import Place, Table
from cxrlab.imports.prose import Unread
from store.notebook import Number, Row
from trainers.catalog import METHODS, PRETRAIN

Key = tuple[str, str, int | None, str]
_ALIKE = 5e-4
"""Shares that differ by less are written the same."""


class Results(NamedTuple):
    """What was read of tables, and what was not."""

    rows: list[Row]
    numbers: list[Number]
    unread: list[Unread]


class _Found:
    """What has been read so far, each row and each number of a cell once."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self.numbers: dict[tuple[Key, str], Number] = {}
        self.unread: list[Unread] = []

    def add(self, number: Number) -> None:
        """Add a number, unless its cell has one."""
        taken = self.numbers.setdefault((number.cell, number.origin), number)
        if taken is not number:
            reason = f"a second number of this cell; the one on line {taken.line} is taken"
            self.miss(number.line, number.said, reason)

    def miss(self, line: int, said: str, reason: str) -> None:
        """Put down a place that could not be read."""
        self.unread.append(Unread(line, said, reason))


class Context(NamedTuple):
    """What is known beside the table."""

    source: str
    declared: Mapping[str, str]
    """For a task, what to say of its own numbers because of how the notebook calls the metric."""
    published: Mapping[Key, Paper]


def read_results(tables: Sequence[Table], context: Context) -> Results:
    """Return the rows and numbers of all tables of results; each cell's number is taken once."""
    out = _Found()
    for table in tables:
        if not table.closed:
            said = "this table is never closed; it is read as far as its cells go"
            out.miss(table.first_line, "<table", said)
        head = heads.read_head(table.rows)
        if head is None:
            said = "no column of this table is headed `方法` or `method`"
            out.miss(table.first_line, "<table", said)
            continue
        own = table.rows[head.rows - 1]
        for column, reason in head.unread.items():
            out.miss(own[column].line, own[column].text, reason)
        for places in table.rows[head.rows :]:
            _read_row(places, head, context, out)
    rows = _with_log_flaw(list(out.rows.values()))
    return Results(rows, list(out.numbers.values()), out.unread)


def method_of(name: str) -> str:
    """Return the method of the catalog that is written so; empty where there is none."""
    wanted = _letters(name)
    return next((m for m, e in METHODS.items() if wanted in (_letters(m), _letters(e.title))), "")


def _letters(name: str) -> str:
    plain = unicodedata.normalize("NFKC", name).casefold()
    return "".join(sign for sign in plain if sign.isalnum())


def _read_row(places: Sequence[Place], head: heads.Head, context: Context, out: _Found) -> None:
    if not any(place.text and not heads.is_separator(place.text) for place in places):
        return
    if len(places) >= head.width and not any(place.first for place in places[1:]):
        return  # one cell over the whole width: a heading within the table
    fixed = {c.fixed: n for n, c in head.columns.items() if c.fixed}
    said = _text(places, fixed["name"])
    if reason := _refusal(places, said, head):
        out.miss(places[0].line, said, reason)
        return
    method, line = method_of(said), places[fixed["name"]].line
    if first := out.rows.get(method):
        out.miss(line, said, f"a second row of `{method}`; the one on line {first.line} is taken")
        return
    _odd_width(places, head, out)
    parts = {name: _text(places, at) for name, at in fixed.items()}
    row = Row(
        method=method,
        number=parts.get("number", ""),
        name=said,
        description=parts.get("description", ""),
        time_s=None,
        time_said=parts.get("time", ""),
        log=parts.get("log", ""),
        status=parts.get("status", ""),
        source=context.source,
        line=line,
    )
    if row.time_said:
        row = _with_time(row, places[fixed["time"]], out)
    out.rows[method] = row
    for number, column in head.columns.items():
        if not column.fixed and _text(places, number):
            _read_cell(method, column, places[number], context, out)


def _refusal(places: Sequence[Place], name: str, head: heads.Head) -> str:
    """Return why a row cannot be read at all; empty where it can."""
    lines = {n for n, place in enumerate(places) if heads.is_separator(place.text)}
    if lines != {n for n in head.separators if n < len(places)} and head.separators:
        return (
            f"its dividing columns do not stand where those of the head do ({len(places)} cells, "
            f"the head has {head.width}); its numbers could be of other columns"
        )
    if not name:
        return "a row that names no method"
    if method_of(name):
        return ""
    near = nearest(name, METHODS)
    return f"no method is called so{f'; is it `{near}`?' if near else ''}"


def _odd_width(places: Sequence[Place], head: heads.Head, out: _Found) -> None:
    if len(places) < head.width:
        reason = f"its row ends after {len(places)} of {head.width} cells; the rest is empty"
        out.miss(places[-1].line, places[-1].text, reason)
    for place in places[head.width :]:
        if place.text:
            out.miss(place.line, place.text, "a cell behind the last column")


def _with_time(row: Row, place: Place, out: _Found) -> Row:
    """Return the row with how long pre-training took, which is a number of the grid as well."""
    try:
        seconds, flaws = figures.read_duration(place.text)
    except figures.Unreadable as problem:
        out.miss(place.line, place.text, str(problem))
        return row
    if seconds is None:
        return row
    said = Number(row.method, PRETRAIN, None, "time", "own", seconds, place.text, row.source,
                  place.line, flaws)  # fmt: skip
    (time,) = _with_title([said], place.title)
    out.add(time)
    return row._replace(time_s=seconds, flaws=(*row.flaws, *time.flaws))


def _read_cell(
    method: str, column: heads.Column, place: Place, context: Context, out: _Found
) -> None:
    try:
        figure = figures.read_figure(place.text)
    except figures.Unreadable as problem:
        out.miss(place.line, place.text, str(problem))
        return
    declared = context.declared.get(column.task, "")
    named = column.flaws or ((declared,) if declared else ())
    base = Number(method, column.task, column.ratio, column.metric, "own", 0.0, place.text,
                  context.source, place.line)  # fmt: skip
    numbers = []
    if figure.own is not None:
        numbers.append(base._replace(value=figure.own, flaws=(*figure.own_flaws, *named)))
    if figure.paper is not None:
        paper = base._replace(origin="paper", value=figure.paper, flaws=figure.paper_flaws)
        odd = _against_published(paper, context.published)
        numbers.append(paper._replace(flaws=(*paper.flaws, *([odd] if odd else []))))
    for number in _with_title(numbers, place.title):
        out.add(number)


def _with_title(numbers: Sequence[Number], title: str) -> list[Number]:
    """Return the numbers of a cell; the first with what its title says besides their flaws.

    An export keeps flaws there, some of which the table alone does not show.
    """
    for flaw in (flaw for number in numbers for flaw in number.flaws):
        title = title.replace(flaw, "", 1)
    rest = "; ".join(filter(None, (part.strip() for part in title.split("; "))))
    if not rest or not numbers:
        return list(numbers)
    first, *others = numbers
    return [first._replace(flaws=(*first.flaws, rest)), *others]


def _against_published(number: Number, published: Mapping[Key, Paper]) -> str:
    """Return how a paper's number differs from those known here; empty where it does not."""
    known = published.get(number.cell)
    if known and abs(known.value - number.value) < _ALIKE:
        return ""
    others = [
        f"`{method}`"
        for (method, *cell), paper in published.items()
        if cell == list(number.cell[1:]) and abs(paper.value - number.value) < _ALIKE
    ]
    parts = [f"it is that of {' and '.join(others)}"] if others else []
    if known:
        parts.append(f"here {text.metric(known.value)} is known of `{number.method}`")
    elif others:
        parts.append(f"no paper's is known of `{number.method}`")
    return f"given as a paper's number; {', and '.join(parts)}" if parts else ""


def _with_log_flaw(rows: list[Row]) -> list[Row]:
    """Return the rows, marked where all that name a log name the same one."""
    logs = [row.log for row in rows if row.log]
    if len(logs) < 2 or len(set(logs)) > 1:
        return rows
    flaw = f"all {len(logs)} rows name one log, `{logs[0]}`: a placeholder"
    return [row._replace(flaws=(*row.flaws, flaw)) if row.log else row for row in rows]


def _text(places: Sequence[Place], column: int) -> str:
    """Return what a row says in a column; a merged cell says it in its first one."""
    if column >= len(places) or not places[column].first:
        return ""
    return places[column].text
