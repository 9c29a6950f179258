"""What do finished runs say of each cell of the grid, and which runs are still on their way?"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlite_utils import Database


class Group(NamedTuple):
    """The runs of one recipe in one cell. Repeats of each other, so that a mean means something.

    All were trained and tested on the same items.
    """

    method: str
    task: str
    ratio: int | None
    metric: str
    """Without its split: `Dice` for the `test/Dice` of the results."""
    recipe: str
    preset: str
    """Of the newest run."""
    mean: float
    sd: float | None
    """Between seeds, with n - 1 in the denominator; None for a single run."""
    n: int
    low: float | None
    """Lower end of the interval over test items, averaged over runs; None unless all gave one."""
    high: float | None
    run_ids: tuple[str, ...]
    """Newest first."""
    selected_value: float | None
    """Mean of the validation metric that chose the checkpoint; None unless all gave it."""
    train_split: str = ""
    """SHA-256 of the names of what was trained on, as the runs told it; empty where none did."""
    test_split: str = ""
    """The same of what was tested on."""


class OpenRun(NamedTuple):
    """A run of a cell that has not succeeded."""

    method: str
    task: str
    ratio: int | None
    run_id: str
    state: str
    recipe: str
    done: int | None
    total: int | None


class _Row(NamedTuple):
    method: str
    task: str
    ratio: int | None
    metric: str
    recipe: str
    seed: int
    id: str
    preset: str
    value: float
    low: float | None
    high: float | None
    selected: float | None


def groups(db: Database) -> list[Group]:
    """Return one group per method, task, ratio, test metric, recipe and split, of succeeded runs.

    Where a seed was run more than once its newest run counts: a repeat of a seed is not another
    draw. Runs without a result are left out.
    """
    rows = db.conn.execute(
        """
        select r.method, r.task, r.ratio, substr(t.metric, 6), r.recipe, r.seed, r.id, r.preset,
          t.value, t.low, t.high, v.value
        from runs r
        join results t on t.run = r.seq and t.metric >= 'test/' and t.metric < 'test0'
        left join results v on v.run = r.seq and v.metric = r.selected_by
        where r.state = 'succeeded' and t.value is not null
        order by r.created desc, r.seq desc
        """
    )
    told = splits(db)
    found: dict[tuple[Any, ...], dict[int, _Row]] = {}
    for row in itertools.starmap(_Row, rows):
        split = told.get(row.id, ("", ""))
        of_seed = found.setdefault((*row[:3], row.metric, row.recipe, *split), {})
        of_seed.setdefault(row.seed, row)
    ordered = sorted(found, key=lambda key: (*key[:2], key[2] or 0, *key[3:]))
    return [
        _group(list(found[key].values()))._replace(train_split=key[-2], test_split=key[-1])
        for key in ordered
    ]


def splits(db: Database) -> dict[str, tuple[str, str]]:
    """Return the digests of what succeeded runs were trained and tested on, by the run's id.

    Runs that did not tell are left out.
    """
    rows = db.conn.execute(
        """
        select id, json_extract(result, '$.data.split_sha256.train'),
          json_extract(result, '$.data.split_sha256.test')
        from runs
        where state = 'succeeded' and json_extract(result, '$.data.split_sha256.test') is not null
        """
    )
    return {str(id): (str(train or ""), str(test)) for id, train, test in rows}


def open_runs(db: Database) -> list[OpenRun]:
    """Return the runs that have not succeeded, newest first."""
    rows = db.conn.execute(
        """
        select method, task, ratio, id, state, recipe, done, total from runs
        where state in ('queued', 'blocked', 'running', 'failed', 'stopped', 'lost')
        order by created desc, seq desc
        """
    )
    return [OpenRun._make(row) for row in rows]


def _group(rows: Sequence[_Row]) -> Group:
    values = [row.value for row in rows]
    newest = rows[0]
    return Group(
        method=newest.method,
        task=newest.task,
        ratio=newest.ratio,
        metric=newest.metric,
        recipe=newest.recipe,
        preset=newest.preset,
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        n=len(values),
        low=_mean([row.low for row in rows]),
        high=_mean([row.high for row in rows]),
        run_ids=tuple(row.id for row in rows),
        selected_value=_mean([row.selected for row in rows]),
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
