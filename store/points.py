"""What does a curve look like, with no more points than a plot can show?"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Any

from store import runs
from store.db import Database

Point = tuple[int, float]

MANY = 20_000
"""Above so many points the registry itself looks for the extremes, and few of them are held."""

IS_USE = "(name glob 'gpu/[0-9]*/*' or name glob 'host/*')"
"""Says in SQL what `is_use` does."""

_USE = re.compile(r"gpu/\d.*/|host/")

_FINITE = """
    run = :run and metric = (select id from metrics where name = :metric)
    and step > :after and step <= :until and value is not null
"""


def is_use(metric: str) -> bool:
    """Tell whether a metric is of what a run uses of its machine, over seconds and not steps."""
    return _USE.match(metric) is not None


def curve(
    db: Database,
    run_id: str,
    metric: str,
    *,
    after: int | None = None,
    until: int | None = None,
    most: int = 1000,
) -> list[Point]:
    """Return (step, value) of one metric in order of steps, at most `most` of them.

    Where there are more, the first and the last are kept, and of each stretch between them its
    lowest and its highest, so that no spike is lost. Values that are not finite are left out. A
    metric that was never logged is an empty curve. Of a part of the steps only those points are
    counted that come after `after` and not after `until`.

    Raises:
        NoSuchRun: there is no such run.
        ValueError: `most` is below 4.
    """
    values = {
        "run": runs.seq_of(db, run_id),
        "metric": metric,
        "after": -(2**63) if after is None else after,
        "until": 2**63 - 1 if until is None else until,
    }
    number, first, last = db.conn.execute(
        f"select count(*), min(step), max(step) from points where {_FINITE}", values
    ).fetchone()
    if number > max(MANY, most) and most >= 4:
        return _ends_and_extremes(db, values, range(first, last + 1), most)
    rows = db.conn.execute(
        f"select step, value from points where {_FINITE} order by step", values
    ).fetchall()
    return thin(rows, most)


def _ends_and_extremes(
    db: Database, values: dict[str, Any], steps: range, most: int
) -> list[Point]:
    """Return what `thin` would, in stretches of equal steps, by one short question for each."""
    found: set[Point] = set()
    stretches = (most - 2) // 2
    for n in range(stretches):
        part = steps[n * len(steps) // stretches : (n + 1) * len(steps) // stretches]
        if not part:
            continue
        rows = db.conn.execute(
            # beside a lone `min` or `max` SQLite gives the other columns of that very row
            f"""
            select step, min(value) from points where {_FINITE} and step between :from and :to
            union all
            select step, max(value) from points where {_FINITE} and step between :from and :to
            """,
            {**values, "from": part[0], "to": part[-1]},
        )
        found |= {(step, value) for step, value in rows if step is not None}
    ends = db.conn.execute(
        f"select step, value from points where {_FINITE} and step in (:first, :last)",
        {**values, "first": steps[0], "last": steps[-1]},
    )
    return sorted(found | set(ends))


def every(db: Database, run_id: str) -> Iterator[tuple[str, int, float | None]]:
    """Give (metric, step, value) of all points of the run, by metric and step; None: not finite.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select name, step, value from points join metrics m on m.id = metric
        where run = :run order by metric, step
        """,
        {"run": runs.seq_of(db, run_id)},
    )
    yield from rows


def pieces(db: Database, run_id: str, metric: str, *, most: int | None = None) -> list[list[Point]]:
    """Return (step, value) of one metric, cut wherever values that are not finite were logged.

    A piece is thinned as `curve` is, to its share of `most`.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select step, value from points
        where run = :run and metric = (select id from metrics where name = :metric)
        order by step
        """,
        {"run": runs.seq_of(db, run_id), "metric": metric},
    )
    grouped = itertools.groupby(rows, key=lambda row: row[1] is not None)
    found = [list(group) for finite, group in grouped if finite]
    total = sum(map(len, found))
    if most is None or total <= most:
        return found
    return [thin(piece, max(4, most * len(piece) // total)) for piece in found]


def metric_names(db: Database, run_id: str) -> list[str]:
    """Return the names of the metrics that the run has points of, in alphabetical order.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select name from metrics m
        where exists (select 1 from points where run = :run and metric = m.id)
        order by name
        """,
        {"run": runs.seq_of(db, run_id)},
    )
    return [name for (name,) in rows]


def is_logged(db: Database, run_id: str, metric: str) -> bool:
    """Tell whether the run has points of the metric.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select 1 from points
        where run = :run and metric = (select id from metrics where name = :metric) limit 1
        """,
        {"run": runs.seq_of(db, run_id), "metric": metric},
    )
    return rows.fetchone() is not None


def last(db: Database, run_id: str) -> dict[str, float]:
    """Return the last finite value of every metric of the run.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select name, (
          select value from points
          where run = :run and metric = m.id and value is not null
          order by step desc limit 1
        ) as value
        from metrics m order by name
        """,
        {"run": runs.seq_of(db, run_id)},
    )
    return {name: value for name, value in rows if value is not None}


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """Return `points`, or the ends and the extremes between them where there are too many."""
    if most < 4:
        raise ValueError(f"a curve of {most} points was asked for; expected at least 4")
    if len(points) <= most:
        return list(points)
    inner = points[1:-1]
    buckets = (most - 2) // 2
    kept = [points[0]]
    for n in range(buckets):
        bucket = inner[n * len(inner) // buckets : (n + 1) * len(inner) // buckets]
        ends = {min(bucket, key=_value), max(bucket, key=_value)}
        kept += sorted(ends)
    return [*kept, points[-1]]


def _value(point: Point) -> float:
    return point[1]
