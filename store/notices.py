"""Of which ends have people been told? Each end of an attempt is told of once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from store import runs
from store.db import Database, writing
from store.rows import COLUMNS, Run, read_row


def due(db: Database, states: Sequence[str], *, since: float) -> list[Run]:
    """Return the runs that ended in one of `states` after `since`, and nobody was told of."""
    found: list[Run] = []
    for state in states:
        rows = db.conn.execute(
            f"""
            select {COLUMNS} from runs
            where state = :state and ended > :since and attempt > 0
              and not exists (
                select 1 from notices n where n.run = runs.seq and n.attempt = runs.attempt
              )
            order by ended
            """,
            {"state": state, "since": since},
        )
        found += [read_row(row) for row in rows]
    return found


def take(db: Database, run: Run, *, at: float | None = None) -> bool:
    """Note that the end of this attempt is being told of; False where somebody else does."""
    with writing(db):
        told = db.conn.execute(
            "insert or ignore into notices (run, attempt, at) values (:run, :attempt, :at)",
            {
                "run": runs.seq_of(db, run.id),
                "attempt": run.attempt,
                "at": time.time() if at is None else at,
            },
        )
        return bool(told.rowcount)
