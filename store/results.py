"""What did a run end with: its numbers, the document it gave, what it warned of, its attempts?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from store import runs
from store.db import Database


class Result(NamedTuple):
    """One number of the result, with its interval where one was given."""

    metric: str
    value: float | None
    low: float | None
    high: float | None


class Warned(NamedTuple):
    """One warning, however often it was given."""

    message: str
    path: str
    times: int
    last: float | None


class Attempt(NamedTuple):
    """One process of a run, as launcher and trainer told of it."""

    attempt: int
    started: float | None
    ended: float | None
    pid: int | None
    host: str | None
    first_step: int | None
    total_steps: int | None
    outcome: str | None
    reason: str


def of_run(db: Database, run_id: str) -> list[Result]:
    """Return the numbers of the run's result, by name; none while it has not ended well.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        "select metric, value, low, high from results where run = :run order by metric",
        {"run": runs.seq_of(db, run_id)},
    )
    return [Result._make(row) for row in rows]


def one_each(db: Database, wanted: Mapping[str, str]) -> dict[str, Result]:
    """Return of each run the number it is asked for; runs without it are left out.

    `wanted` gives the name of a number for the id of a run.
    """
    rows = db.conn.execute(
        """
        select runs.id, metric, results.value, low, high
        from json_each(:wanted) wanted join runs on runs.id = wanted.key
        join results on run = seq and metric = wanted.value
        """,
        {"wanted": json.dumps(wanted)},
    )
    return {id: Result(*number) for id, *number in rows.fetchall()}


def document(db: Database, run_id: str) -> dict[str, Any] | None:
    """Return the `result` event as it came, without `t` and `kind`; None where there is none.

    Raises:
        NoSuchRun: there is no such run.
    """
    (text,) = db.conn.execute(
        "select result from runs where seq = :run", {"run": runs.seq_of(db, run_id)}
    ).fetchone()
    loaded: dict[str, Any] | None = None if text is None else json.loads(text)
    return loaded


def division(db: Database, run_id: str) -> str:
    """Return on which division of its data a run was tested; empty where it tells none."""
    for (said,) in db.conn.execute(
        "select json_extract(result, '$.data.split') from runs where id = :id", {"id": run_id}
    ):
        return said if isinstance(said, str) else ""
    return ""


def of_data_version(db: Database, task: str, version: str) -> list[tuple[str, str]]:
    """Return the finished runs of `task` on data of that version: id and the data's fingerprint."""
    rows = db.conn.execute(
        """
        select id, json_extract(result, '$.data.fingerprint') from runs
        where task = :task and json_extract(result, '$.data.version') = :version
          and json_extract(result, '$.data.fingerprint') is not null
        order by seq
        """,
        {"task": task, "version": version},
    )
    return [(str(id), str(fingerprint)) for id, fingerprint in rows]


def warnings(db: Database, run_id: str) -> list[Warned]:
    """Return what the run warned of, most recent first.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select message, path, times, last from warnings where run = :run
        order by last desc, message, path
        """,
        {"run": runs.seq_of(db, run_id)},
    )
    return [Warned._make(row) for row in rows]


def attempts(db: Database, run_id: str) -> list[Attempt]:
    """Return the processes of the run, first to last.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        """
        select attempt, started, ended, pid, host, first_step, total_steps, outcome, reason
        from attempts where run = :run order by attempt
        """,
        {"run": runs.seq_of(db, run_id)},
    )
    return [Attempt._make(row) for row in rows]


def kept_events(db: Database, run_id: str) -> list[dict[str, Any]]:
    """Return the events that were kept as they came, because a kind or key was not known.

    Raises:
        NoSuchRun: there is no such run.
    """
    rows = db.conn.execute(
        "select line from events where run = :run order by id", {"run": runs.seq_of(db, run_id)}
    )
    return [json.loads(line) for (line,) in rows]
