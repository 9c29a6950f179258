"""Where did the lab of this registry lie when it was last opened, and what if it lies elsewhere?

Folders and commands of runs name their lab in full, so that a trainer can be run by hand. A lab
that is moved or copied would go on reading, and even removing, what lies at the old place.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

from store import claims, jobs, queue, runs
from store.db import Database, writing


class Rehomed(NamedTuple):
    """What became of the runs of a lab that lies elsewhere now."""

    was: str
    """Where the lab lay before."""
    runs: int
    """How many runs lay in it."""
    copied: bool = False
    held: int = 0
    """Of a copy: how many waited, and are held."""
    parted: int = 0
    """Of a copy: how many were running, and go on at the old place alone."""


def root_of(db: Database) -> str:
    """Return where the lab lay when this was last asked; empty where nobody has said."""
    row = db.conn.execute("select root from home").fetchone()
    return str(row[0]) if row else ""


def told_by_runs(db: Database) -> str:
    """Return where the lab lay when its newest run was queued, by that run's folder, else empty."""
    row = db.conn.execute("select folder from runs order by seq desc limit 1").fetchone()
    folder = Path(row[0]) if row else Path()
    return str(folder.parents[1]) if folder.parent.name == "runs" else ""


def set_root(db: Database, root: str) -> None:
    """Remember where the lab lies."""
    with writing(db):
        db.conn.execute("delete from home")
        db.conn.execute("insert into home (root) values (?)", (root,))


def rehome(db: Database, root: str, *, copied: bool) -> Rehomed | None:
    """Let every run that lay in the lab lie at `root`; one transaction.

    Paths outside of the lab, such as data sets', stay what they are. Of a copy, runs that wait are
    held, and those that were running are `stopped`: their processes belong to the original.

    Args:
        db: the registry.
        root: where the lab lies now, resolved.
        copied: whether the lab at the old place is still there.

    Returns:
        What was done; None where another process has done it meanwhile.
    """
    with writing(db):
        was = root_of(db)
        if was in ("", root):
            return None
        set_root(db, root)
        held, parted = _part(db, was) if copied else (0, 0)
        changed = db.conn.execute(
            """
            update runs set
              folder = :root || substr(folder, length(:was) + 1),
              command = replace(replace(replace(replace(command,
                '"' || :was_said || '/', '"' || :root_said || '/'),
                '"' || :was_said || '"', '"' || :root_said || '"'),
                '=' || :was_said || '/', '=' || :root_said || '/'),
                '=' || :was_said || '"', '=' || :root_said || '"')
            where substr(folder, 1, length(:was) + 1) = :was || '/'
            """,
            {
                "was": was,
                "root": root,
                "was_said": json.dumps(was)[1:-1],
                "root_said": json.dumps(root)[1:-1],
            },
        )
        return Rehomed(was, changed.rowcount, copied, held, parted)


def _part(db: Database, was: str) -> tuple[int, int]:
    """Keep a copy from starting or stopping what the original starts and stops."""
    waiting = [run.id for run in queue.waiting(db) if run.held is None]
    reason = f"held, since this lab is a copy of {was}; `cxrlab queue release` lets it start"
    queue.hold(db, waiting, reason=reason)
    now = time.time()
    for job in jobs.open_jobs(db):
        jobs.close(db, job.run, now)
    running = [str(id) for (id,) in db.conn.execute("select id from runs where state = 'running'")]
    for id in running:
        claims.release(db, id)
        runs.change_state(db, id, "stopped", reason=f"goes on in {was}; this lab is a copy of it")
    return len(waiting), len(running)
