"""What do finished runs say of each cell of the grid, and which runs are still on their way?

Means over seeds are kept in `cell_groups`, so that a grid costs as much as it has cells and not as
much as there are runs. Triggers mark in `cells_changed` the places (method, task, ratio) whose
finished runs have changed; whoever reads next works those out anew.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from store import finished
from store.db import Database, StoreError, writing
from store.finished import Finished, Place, Start

WAIT_S = 0.5
"""How long a reader waits to keep what it has worked out; it can do without."""

AT_ONCE = 20
"""How many places are worked out under one hold of the lock."""


class Group(NamedTuple):
    """The runs of one recipe in one cell. Repeats of each other, so that a mean means something.

    All were trained and tested on the same items of the same data, from the same encoder, by as
    many processes.
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
    version: str = ""
    """What a person calls the state of the data."""
    fingerprint: str = ""
    """Digest of the data; empty where the runs tell none."""
    encoder: str = ""
    """SHA-256 of what they start from, else the run that made it; empty for none."""
    starts: tuple[Start, ...] = ()
    """What each of them starts from, each once."""
    processes: int = 1
    """How many trained together, a batch each."""


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
    ids: str = ""
    """All runs of that cell in that state, with blanks between, where it stands for them."""


class Encoder(NamedTuple):
    """A pre-training that others start from, as it is now."""

    run_id: str
    state: str
    files: tuple[tuple[str, str], ...]
    """Path within its folder and SHA-256 of each checkpoint whose digest is known."""
    start: Start | None
    """What it starts from itself."""


def groups(db: Database, wanted: Collection[tuple[str, str]] | None = None) -> list[Group]:
    """Return one group per cell and whatever tells its runs apart but the seed, of succeeded runs.

    Where a seed was run more than once its newest run counts: a repeat of a seed is not another
    draw. Runs without a result are left out. Of pre-trainings there are `loss`, which is held out,
    and `time`, which is chosen between by the loss: so both in one row are of the same runs.

    Args:
        db: the registry; what is worked out is kept there, unless others keep it busy.
        wanted: pairs of task and metric; None for all, in order.
    """
    fresh = _worked_out(db)
    kept = [g for g in _kept(db, wanted) if (g.method, g.task, g.ratio) not in fresh]
    new = (g for some in fresh.values() for g in some)
    kept += [g for g in new if wanted is None or (g.task, g.metric) in wanted]
    return sorted(kept, key=_order) if wanted is None else kept


def open_runs(db: Database) -> list[OpenRun]:
    """Return the runs that have not succeeded, newest first."""
    rows = db.conn.execute(
        """
        select method, task, ratio, id, state, recipe, done, total from runs
        where state in ('queued', 'blocked', 'running', 'failed', 'stopped', 'lost')
        order by created desc, seq desc
        """
    )
    return [OpenRun(*row) for row in rows]


def waiting(db: Database) -> list[OpenRun]:
    """Return the newest run of each cell and state that is not `succeeded`, with the ids of all."""
    rows = db.conn.execute(
        """
        select method, task, ratio, id, state, '', null, null, group_concat(id, ' '), max(seq)
        from runs indexed by runs_places
        where state in ('queued', 'blocked', 'failed', 'stopped', 'lost')
        group by state, method, task, ratio
        """
    )
    found = [OpenRun._make(row[:9]) for row in rows]
    running = db.conn.execute(
        """
        select method, task, ratio, id, state, recipe, done, total from runs
        where state = 'running' order by created desc, seq desc
        """
    )
    newest: dict[tuple[Any, ...], OpenRun] = {}
    for run in itertools.starmap(OpenRun, running):
        first = newest.setdefault(run[:3], run)
        newest[run[:3]] = first._replace(ids=f"{first.ids} {run.run_id}".strip())
    return [*newest.values(), *found]


def methods(db: Database) -> list[str]:
    """Return the methods that have a run of any kind, in order, at a step an index each."""
    rows = db.conn.execute(
        """
        select name from (
          with recursive each (name) as (
            select min(method) from runs
            union all
            select (select min(method) from runs where method > name) from each
            where name is not null
          )
          select name from each where name is not null
        )
        """
    )
    return [str(name) for (name,) in rows]


def encoders(db: Database, run_ids: Iterable[str]) -> dict[str, Encoder]:
    """Return those of the runs that are there, and all that they start from in turn, by id."""
    found: dict[str, Encoder] = {}
    left = list(dict.fromkeys(run_ids))
    while left:
        id = left.pop()
        row = db.conn.execute(
            f"select seq, state, {finished.START} from runs where id = :id", {"id": id}
        ).fetchone()
        if row is None or id in found:
            continue
        seq, state, *said = row
        files = db.conn.execute(
            "select path, sha256 from artifacts where run = :run and sha256 is not null",
            {"run": seq},
        ).fetchall()
        start = finished.start_of(*said)
        found[id] = Encoder(id, state, tuple(files), start)
        if start is not None and start.run_id:
            left.append(start.run_id)
    return found


def _worked_out(db: Database) -> dict[Place, list[Group]]:
    """Keep the groups of places that have changed; return those that could not be kept.

    A hold of the lock is short, also when a registry is read for the first time.
    """
    left = _changed(db)
    while left:
        some = left[:AT_ONCE]
        try:
            with writing(db, WAIT_S):
                _keep(db, {place: _compute(db, place) for place in some})
        except StoreError:  # another process writes, or nobody may: the next reader can keep them
            return {place: _compute(db, place) for place in left}
        left = left[AT_ONCE:]
    return {}


def _changed(db: Database) -> list[Place]:
    rows = db.conn.execute("select method, task, ratio from cells_changed")
    return [(method, task, ratio or None) for method, task, ratio in rows]


_KEPT = """
  method, task, nullif(ratio, 0), metric, recipe, preset, mean, sd, n, low, high, run_ids,
  selected_value, train_split, test_split, version, fingerprint, encoder, starts, processes
"""


def _kept(db: Database, wanted: Collection[tuple[str, str]] | None) -> Iterator[Group]:
    if wanted is None:
        yield from map(_read, db.conn.execute(f"select {_KEPT} from cell_groups"))
        return
    for task, metric in sorted(wanted):
        rows = db.conn.execute(
            f"select {_KEPT} from cell_groups where task = :task and metric = :metric",
            {"task": task, "metric": metric},
        )
        yield from map(_read, rows)


def _read(row: tuple[Any, ...]) -> Group:
    return Group._make((*row[:11], tuple(row[11].split()), *row[12:18], _starts(row[18]), row[19]))


@lru_cache(maxsize=4096)
def _starts(text: str) -> tuple[Start, ...]:
    """Return what runs start from; a whole row of the grid starts from one pre-training."""
    return tuple(Start(*each) for each in json.loads(text)) if text else ()


def _keep(db: Database, fresh: dict[Place, list[Group]]) -> None:
    for (method, task, ratio), made in fresh.items():
        place = {"method": method, "task": task, "ratio": ratio or 0}
        for table in ("cell_groups", "cells_changed"):
            db.conn.execute(
                f"delete from {table} where method = :method and task = :task and ratio = :ratio",
                place,
            )
        db.conn.executemany(
            """
            insert into cell_groups (method, task, ratio, metric, recipe, preset, mean, sd, n, low,
              high, run_ids, selected_value, train_split, test_split, version, fingerprint, encoder,
              starts, processes)
            values (:method, :task, :ratio, :metric, :recipe, :preset, :mean, :sd, :n, :low, :high,
              :run_ids, :selected_value, :train_split, :test_split, :version, :fingerprint,
              :encoder, :starts, :processes)
            """,
            [
                group._asdict()
                | {
                    "ratio": ratio or 0,
                    "run_ids": " ".join(group.run_ids),
                    "starts": json.dumps(group.starts) if group.starts else "",
                }
                for group in made
            ],
        )


def _compute(db: Database, place: Place) -> list[Group]:
    alike: dict[tuple[str, ...], dict[int, Finished]] = {}
    for run in finished.of_place(db, place):
        alike.setdefault(run.alike, {}).setdefault(run.seed, run)
    found = []
    for repeats in alike.values():
        found += _groups_of(place, list(repeats.values()))
    return sorted(found, key=_order)


def _groups_of(place: Place, repeats: Sequence[Finished]) -> list[Group]:
    """Return a group for each metric that repeats of one another have given, in each its own."""
    named = dict.fromkeys(name for run in repeats for name in run.scores)
    return [
        _group(place, metric, [run for run in repeats if metric in run.scores]) for metric in named
    ]


def _group(place: Place, metric: str, repeats: Sequence[Finished]) -> Group:
    values = [run.scores[metric].value for run in repeats]
    newest = repeats[0]
    return Group(
        *place,
        metric=metric,
        recipe=newest.recipe,
        preset=newest.preset,
        mean=statistics.fmean(values),
        sd=statistics.stdev(values) if len(values) > 1 else None,
        n=len(values),
        low=_mean([run.scores[metric].low for run in repeats]),
        high=_mean([run.scores[metric].high for run in repeats]),
        run_ids=tuple(run.id for run in repeats),
        selected_value=_mean([run.selected for run in repeats]),
        train_split=newest.train_split,
        test_split=newest.test_split,
        version=newest.version,
        fingerprint=newest.fingerprint,
        encoder=newest.encoder,
        starts=tuple(dict.fromkeys(run.start for run in repeats if run.start is not None)),
        processes=newest.processes,
    )


def _order(group: Group) -> tuple[Any, ...]:
    told = (group.train_split, group.test_split, group.version, group.fingerprint, group.encoder)
    place = (group.method, group.task, group.ratio or 0, group.metric)
    return (*place, group.recipe, *told, group.processes)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if len(known) == len(values) else None
