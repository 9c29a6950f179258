"""What has been done for each cell, and what did it take?"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

from store.db import Database

MOST = 200
"""How many runs of a method and task are looked at for the time they took; the newest."""


class Repeat(NamedTuple):
    """A run as one of the repeats that a cell asks for."""

    id: str
    ratio: int | None
    seed: int
    preset: str
    recipe: str
    state: str
    folder: str
    gpus: int
    done: int | None
    total: int | None


class Spent(NamedTuple):
    """What a run has taken so far, start, validation and test included."""

    id: str
    method: str
    task: str
    ratio: int | None
    preset: str
    recipe: str
    gpus: int
    state: str
    total: int
    """Steps from its first to its last."""
    steps: int
    """Steps that were made in `seconds`."""
    seconds: float


def repeats(db: Database, method: str, task: str) -> list[Repeat]:
    """Return every run of `method` and `task`, newest first."""
    rows = db.conn.execute(
        """
        select id, ratio, seed, preset, recipe, state, folder, gpus, done, total from runs
        where method = :method and task = :task order by created desc, seq desc
        """,
        {"method": method, "task": task},
    )
    return [Repeat._make(row) for row in rows]


def spent(db: Database, method: str, task: str) -> list[Spent]:
    """Return what the newest runs of `method` and `task` took, newest first.

    Only attempts count whose start and end are known, and of their steps only those that a later
    attempt did not make again. Runs that have made no step are left out.
    """
    rows = db.conn.execute(
        """
        select r.id, r.method, r.task, r.ratio, r.preset, r.recipe, r.gpus, r.state, r.total,
          r.done, r.last_event, a.started, a.ended, a.first_step
        from runs r join attempts a on a.run = r.seq
        where r.total > 0 and r.seq in (
          select seq from runs where method = :method and task = :task
          order by created desc, seq desc limit :most
        )
        order by r.created desc, r.seq desc, a.attempt
        """,
        {"method": method, "task": task, "most": MOST},
    )
    found = []
    for key, group in itertools.groupby(rows, key=lambda row: row[:11]):
        attempts = [_Attempt._make(row[11:]) for row in group]
        steps, seconds = _taken(attempts, done=key[9], last_event=key[10])
        if steps > 0 and seconds > 0:
            found.append(Spent._make((*key[:9], steps, seconds)))
    return found


class _Attempt(NamedTuple):
    started: float | None
    ended: float | None
    first_step: int | None


def _taken(
    attempts: Sequence[_Attempt], *, done: int | None, last_event: float | None
) -> tuple[int, float]:
    """Return the steps and seconds of the attempts of which both are known."""
    steps, seconds = 0, 0.0
    for attempt, after in zip(attempts, [*attempts[1:], None], strict=True):
        until = attempt.ended if after or attempt.ended is not None else last_event
        reached = after.first_step if after else done
        if None in (attempt.started, until, attempt.first_step, reached):
            continue
        made = (reached or 0) - (attempt.first_step or 0)
        took = (until or 0.0) - (attempt.started or 0.0)
        if made > 0 and took > 0:
            steps += made
            seconds += took
    return steps, seconds
