"""In which order do the runs that wait come, and which of them may not start yet?

The order is by priority, then by age. Runs that are held keep their place, and are passed over.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from store import mending, runs
from store.db import Database, StoreError, writing
from store.mending import LATEST_S
from store.rows import COLUMNS, Run, read_row

HELD = "held; `cxrlab queue release` lets it start"
"""The reason of a run that somebody holds back."""

_NOT_YET = """
select 1 from mending where run = runs.seq and not_before > :now and not_before < :latest
"""

_ORDER = "order by priority desc, created, seq"


def waiting(db: Database) -> list[Run]:
    """Return every run that waits, in the order in which they come: queued, then blocked ones."""
    found: list[Run] = []
    for state in runs.WAITING:
        rows = db.conn.execute(
            f"select {COLUMNS} from runs where state = :state {_ORDER}", {"state": state}
        )
        found += [read_row(row) for row in rows]
    return found


def next_queued(db: Database, limit: int, *, backend: str | None = None) -> list[Run]:
    """Return the queued runs to start first: highest priority, then longest there; none held.

    One that was lost, and put back, is passed over until it may start again.

    Args:
        db: the registry.
        limit: how many at most.
        backend: only those that it starts.
    """
    whose = "" if backend is None else "and backend = :backend"
    rows = db.conn.execute(
        f"select {COLUMNS} from runs where state = 'queued' and held is null {whose} "
        f"and not exists ({_NOT_YET}) {_ORDER} limit :limit",
        {"limit": limit, "backend": backend, "now": time.time(), "latest": time.time() + LATEST_S},
    )
    return [read_row(row) for row in rows]


def unexplained(db: Database, limit: int) -> list[Run]:
    """Return queued runs that nobody has said yet what they wait for."""
    rows = db.conn.execute(
        f"select {COLUMNS} from runs where state = 'queued' and reason = '' {_ORDER} limit :limit",
        {"limit": limit},
    )
    return [read_row(row) for row in rows]


def running(db: Database) -> dict[str, int]:
    """Return how many runs of each task are running, or handed in to a cluster to run."""
    rows = db.conn.execute(
        """
        select task, count(*) from (
          select seq, task from runs where state = 'running'
          union
          select r.seq, r.task from jobs j join runs r on r.seq = j.run where j.ended is null
        )
        group by task
        """
    )
    return {str(task): int(number) for task, number in rows}


def hold(db: Database, ids: Sequence[str], *, reason: str = HELD, at: float | None = None) -> None:
    """Keep runs that wait from starting; their place in the queue stays theirs.

    Raises:
        StoreError: one does not wait; none is held then.
    """
    with writing(db):
        for run in _waiting_only(db, ids):
            db.conn.execute(
                "update runs set held = coalesce(held, :at) where id = :id",
                {"id": run.id, "at": time.time() if at is None else at},
            )
            if run.state == "queued":
                runs.change_state(db, run.id, "queued", reason=reason)


def release(db: Database, ids: Sequence[str], *, reason: str = "", at: float | None = None) -> None:
    """Let held runs start when their turn comes; it counts as queueing them anew.

    Raises:
        StoreError: one does not wait; none is released then.
    """
    with writing(db):
        for run in _waiting_only(db, ids):
            db.conn.execute(
                "update runs set held = null, queued = :at where id = :id",
                {"id": run.id, "at": time.time() if at is None else at},
            )
            waits = mending.of_run(db, run.id)
            if run.state == "queued" and (run.held is not None or waits.not_before is not None):
                runs.change_state(db, run.id, "queued", reason=reason)
            if waits.not_before is not None:
                mending.keep(db, run.id, waits._replace(not_before=None))


def put_first(db: Database, ids: Sequence[str]) -> None:
    """Move runs before all others that wait, in the order given.

    Raises:
        StoreError: one does not wait; none is moved then.
    """
    with writing(db):
        chosen = _waiting_only(db, ids)
        (top,) = db.conn.execute(
            "select coalesce(max(priority), 0) from runs where state in ('queued', 'blocked')"
        ).fetchone()
        for step, run in enumerate(reversed(chosen), start=1):
            _set_priority(db, run.id, top + step)


def put_last(db: Database, ids: Sequence[str]) -> None:
    """Move runs behind all others that wait, in the order given.

    Raises:
        StoreError: one does not wait; none is moved then.
    """
    with writing(db):
        (least,) = db.conn.execute(
            "select coalesce(min(priority), 0) from runs where state in ('queued', 'blocked')"
        ).fetchone()
        for step, run in enumerate(_waiting_only(db, ids), start=1):
            _set_priority(db, run.id, least - step)


def put_before(db: Database, id: str, other: str) -> None:
    """Move a run directly before another one.

    What stands further ahead rises by two, so that there is room between it and `other`; no two
    other runs change places.

    Raises:
        StoreError: one of the two does not wait.
    """
    with writing(db):
        if id != other:
            _put_before(db, *_waiting_only(db, [id, other]))


def move(db: Database, id: str, places: int) -> bool:
    """Let a run change places with the one before it (-1) or after it (1) in its state.

    Returns:
        False where it is the first or the last already.

    Raises:
        StoreError: it does not wait.
    """
    with writing(db):
        (run,) = _waiting_only(db, [id])
        order = [each for each in waiting(db) if each.state == run.state]
        at = next(i for i, each in enumerate(order) if each.id == id)
        if not 0 <= at + places < len(order):
            return False
        other = order[at + places]
        _put_before(db, *((run, other) if places < 0 else (other, run)))
        return True


def _put_before(db: Database, run: Run, later: Run) -> None:
    ahead = [
        each.id
        for each in sorted(waiting(db), key=lambda each: (-each.priority, each.created))
        if each.id != run.id
    ]
    for each in ahead[: ahead.index(later.id)]:
        db.conn.execute("update runs set priority = priority + 2 where id = :id", {"id": each})
    _set_priority(db, run.id, later.priority + 1)


def set_priority(db: Database, ids: Sequence[str], priority: int) -> None:
    """Give runs that wait a priority; higher ones start first, 0 is what a launch gives.

    Raises:
        StoreError: one does not wait; none is changed then.
    """
    with writing(db):
        for run in _waiting_only(db, ids):
            _set_priority(db, run.id, priority)


def newest_ended(db: Database, method: str, task: str, limit: int) -> tuple[Run, ...]:
    """Return the last runs of a method and task that succeeded or failed, newest first."""
    rows = db.conn.execute(
        f"""
        select {COLUMNS} from runs indexed by runs_cell_ended
        where method = :method and task = :task and state in ('failed', 'succeeded')
        order by ended desc limit :limit
        """,
        {"method": method, "task": task, "limit": limit},
    )
    return tuple(read_row(row) for row in rows)


def _waiting_only(db: Database, ids: Sequence[str]) -> list[Run]:
    return list(_checked(runs.get(db, id) for id in dict.fromkeys(ids)))


def _checked(found: Iterator[Run]) -> Iterator[Run]:
    for run in found:
        if run.state not in runs.WAITING:
            raise StoreError(f"`{run.id}` is {run.state}; only runs that wait have a place")
        yield run


def _set_priority(db: Database, id: str, priority: int) -> None:
    db.conn.execute(
        "update runs set priority = :priority where id = :id", {"id": id, "priority": priority}
    )
