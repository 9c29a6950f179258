"""Which job of a cluster does a run have, and which attempts came of it?

A job is noted before it is handed in, so that one is never handed in twice: whoever finds a note
without a number asks the cluster for the token, by which the job is called there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from store import runs
from store.db import Database, writing


class Job(NamedTuple):
    """One handing-in of a run."""

    run: str
    attempt: int
    """The first attempt that comes of it; each new start by the cluster makes another."""
    token: str
    job: str
    """The cluster's number of it; empty while it is handed in."""
    submitted: float
    ended: float | None


_COLUMNS = "r.id, j.attempt, j.token, j.job, j.submitted, j.ended"
_SELECT = f"select {_COLUMNS} from jobs j join runs r on r.seq = j.run"


def begin(db: Database, ids: Sequence[str], token: str, at: float) -> list[Job]:
    """Note that queued runs are handed in together, and return those that are.

    A run that waits no longer, is held, or has a job, is left out.
    """
    with writing(db):
        taken = []
        for id in ids:
            run = runs.get(db, id)
            if run.state == "queued" and run.held is None and run.job is None:
                db.conn.execute(
                    "insert into jobs (run, attempt, token, submitted) "
                    "values ((select seq from runs where id = :id), :attempt, :token, :at)",
                    {"id": id, "attempt": run.attempt + 1, "token": token, "at": at},
                )
                taken.append(Job(id, run.attempt + 1, token, "", at, None))
    return taken


def note(db: Database, id: str, token: str, job: str) -> None:
    """Note the number that the cluster has given to a run's job."""
    with writing(db):
        db.conn.execute(
            "update jobs set job = :job "
            "where run = (select seq from runs where id = :id) and token = :token",
            {"id": id, "token": token, "job": job},
        )


def close(db: Database, id: str, at: float) -> None:
    """Note that the job a run has is over."""
    with writing(db):
        db.conn.execute(
            "update jobs set ended = :at "
            "where run = (select seq from runs where id = :id) and ended is null",
            {"id": id, "at": at},
        )


def told(run: str, order: Mapping[str, Any], attempts: Sequence[Mapping[str, Any]]) -> Job | None:
    """Return the job that a run folder tells of, over if its last attempt is; None where none.

    Args:
        run: the run's id.
        order: what its `slurm.json` says was handed in.
        attempts: the records of its attempts, the first one first.
    """
    token, number, first = (order.get(key) for key in ("token", "job", "attempt"))
    submitted = order.get("submitted")
    if not token or not isinstance(token, str) or not isinstance(first, int):
        return None
    if not isinstance(number, str) or not isinstance(submitted, int | float):
        return None
    last = attempts[-1] if attempts and int(attempts[-1]["attempt"]) >= first else {}
    ended = None if last.get("requeue") else last.get("ended")
    return Job(run, first, token, number, float(submitted), ended)


def restore(db: Database, job: Job) -> None:
    """Put down a job that a run folder tells of, unless it is known."""
    with writing(db):
        db.conn.execute(
            "insert or ignore into jobs (run, attempt, token, job, submitted, ended) values "
            "((select seq from runs where id = :run), :attempt, :token, :job, :submitted, :ended)",
            job._asdict(),
        )


def open_jobs(db: Database) -> list[Job]:
    """Return the jobs that are not over, the oldest first."""
    # from the few that are open to their runs: left to itself, SQLite walks through all runs
    rows = db.conn.execute(
        f"""
        select {_COLUMNS} from jobs j indexed by jobs_open cross join runs r on r.seq = j.run
        where j.ended is null order by j.submitted, r.seq
        """
    )
    return [Job._make(row) for row in rows]


def open_job(db: Database, id: str) -> Job | None:
    """Return the job of a run that is not over."""
    for row in db.conn.execute(f"{_SELECT} where r.id = :id and j.ended is null", {"id": id}):
        return Job._make(row)
    return None


def of_run(db: Database, id: str) -> list[Job]:
    """Return every job that a run has had, the oldest first."""
    rows = db.conn.execute(f"{_SELECT} where r.id = :id order by j.submitted", {"id": id})
    return [Job._make(row) for row in rows]
