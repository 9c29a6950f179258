"""Which rows and numbers have notebooks told of, without a run behind them?

A source is a file by its name. Bringing the same one in again replaces what it said before, so that
a number that was struck out there is gone here too.
"""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

from store.db import Database, writing


class Number(NamedTuple):
    """One number of a notebook, for one cell of the grid."""

    method: str
    task: str
    ratio: int | None
    """Percent of the labels; None for what pre-training took."""
    metric: str
    origin: str
    """`paper` for a number that the notebook cites, `own` for one that it measured."""
    value: float
    """A share in [0, 1]; seconds where the metric is `time`."""
    said: str
    """The cell's text as it is written."""
    source: str
    line: int
    flaws: tuple[str, ...] = ()
    """What to know before believing it, a sentence each."""
    sd: float | None = None
    """Between seeds, in the unit of `value`."""
    n: int | None = None
    """Over how many seeds it is the mean."""
    low: float | None = None
    """Lower end of the interval over test items, as `high` is the upper."""
    high: float | None = None
    cited: str = ""
    """Where a paper's number stands, as its source says."""

    @property
    def cell(self) -> tuple[str, str, int | None, str]:
        """The cell of the grid: method, task, ratio, metric."""
        return self.method, self.task, self.ratio, self.metric


class Row(NamedTuple):
    """One row of a notebook's table, without its numbers."""

    method: str
    """As the catalog calls it."""
    number: str
    """As it is written, such as `(4)`."""
    name: str
    """The method as it is written, such as `refers(mrm)`."""
    description: str
    time_s: float | None
    """How long pre-training took (s)."""
    time_said: str
    log: str
    status: str
    source: str
    line: int
    flaws: tuple[str, ...] = ()


def numbers(db: Database) -> list[Number]:
    """Return all numbers; the source that last brought something new comes last."""
    rows = db.conn.execute(
        """
        select method, task, ratio, metric, origin, value, said, source, line, flaws, sd, n, low,
          high, cited
        from notebook_numbers order by id
        """
    )
    return [Number._make([*row[:9], tuple(json.loads(row[9])), *row[10:]]) for row in rows]


def rows(db: Database) -> list[Row]:
    """Return all table rows; the source that last brought something new comes last."""
    found = db.conn.execute(
        """
        select method, number, name, description, time_s, time_said, log, status, source, line,
          flaws
        from notebook_rows order by id
        """
    )
    return [Row._make([*row[:-1], tuple(json.loads(row[-1]))]) for row in found]


def bring_in(
    db: Database, source: str, rows: Sequence[Row], numbers: Sequence[Number]
) -> tuple[int, int]:
    """Make what is known of `source` what is given, and return how much is new and changed.

    Rows and numbers are counted together. One that is gone counts as changed, one that only stands
    on another line does not. Where nothing is different nothing is written.
    """
    with writing(db):
        before: list[Row | Number] = [*_rows_of(db, source), *_numbers_of(db, source)]
        after: list[Row | Number] = [row._replace(source=source) for row in rows]
        after += [number._replace(source=source) for number in numbers]
        if before != after:
            _replace(db, source, after)
    return _compared(_by_place(before), _by_place(after))


def _rows_of(db: Database, source: str) -> list[Row]:
    return [row for row in rows(db) if row.source == source]


def _numbers_of(db: Database, source: str) -> list[Number]:
    return [number for number in numbers(db) if number.source == source]


def _replace(db: Database, source: str, after: Sequence[Row | Number]) -> None:
    for table in ("notebook_rows", "notebook_numbers"):
        db.conn.execute(f"delete from {table} where source = :source", {"source": source})
    for each in after:
        table = "notebook_rows" if isinstance(each, Row) else "notebook_numbers"
        names = each._fields
        values = each._asdict() | {"flaws": json.dumps(each.flaws, ensure_ascii=False)}
        db.conn.execute(
            f"insert into {table} ({', '.join(names)}) values (:{', :'.join(names)})", values
        )


def _by_place(given: Sequence[Row | Number]) -> dict[Hashable, Any]:
    """Return each without its line, by what makes it the same one at the next import."""
    placed: dict[Hashable, Any] = {}
    for each in given:
        place: tuple[Hashable, ...] = (
            (each.method, each.number, each.name)
            if isinstance(each, Row)
            else (*each.cell, each.origin)
        )
        while place in placed:  # a second row of one method
            place = (*place, "again")
        placed[place] = each._replace(line=0)
    return placed


def _compared(before: dict[Hashable, Any], after: dict[Hashable, Any]) -> tuple[int, int]:
    new = len(after.keys() - before.keys())
    gone = len(before.keys() - after.keys())
    return new, gone + sum(before[place] != after[place] for place in before.keys() & after.keys())
