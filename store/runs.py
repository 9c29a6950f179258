"""Which runs are there, in which state, and which comes next?

A run is named by its id or any unique prefix of it. Times are seconds since the epoch.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from store.db import Database, StoreError, writing
from store.rows import COLUMNS, AmbiguousRun, NewRun, NoSuchRun, Run, read_row

__all__ = [
    "ENDED", "STATES", "THERE", "WAITING", "AmbiguousRun", "NewRun", "NoSuchRun", "Run", "add",
    "add_unless_there", "change_state", "count", "find", "get", "new_id", "release_waiting",
    "remove", "request_stop", "select", "seq_of",
    "set_command", "start_attempt",
]  # fmt: skip

STATES = ("queued", "blocked", "running", "succeeded", "failed", "stopped", "lost")
WAITING = ("queued", "blocked")
ENDED = ("succeeded", "failed", "stopped", "lost")
THERE = ("queued", "blocked", "running", "succeeded")
"""A run in one of these makes another with the same recipe and seed superfluous."""

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_ALPHABET = _LETTERS + "234567"


def new_id() -> str:
    """Return six characters of a-z and 2-7, the first a letter: some 900 million ids."""
    return secrets.choice(_LETTERS) + "".join(secrets.choice(_ALPHABET) for _ in range(5))


def add(db: Database, new: Sequence[NewRun], *, at: float | None = None) -> None:
    """Add runs in one transaction: `queued`, or `blocked` when a need has not succeeded.

    Raises:
        NoSuchRun: a parent or need is neither there nor among `new`.
        StoreError: a run of that id is there.
    """
    with writing(db):
        _add(db, new, time.time() if at is None else at)


def add_unless_there(
    db: Database,
    new: Sequence[NewRun],
    *,
    again: Collection[str] = (),
    at: float | None = None,
) -> list[str]:
    """Add the runs that no other stands for, and return the ids of those added.

    One of equal method, task, ratio, seed and recipe that waits, runs or has succeeded stands for
    it; that is decided under the write lock. Runs of `new` that start from one that was not added
    start from the one that stands for it: parent, needs, and its folder in the command. Those whose
    ids are among `again` are added whatever there is.
    """
    with writing(db):
        standing: dict[str, tuple[str, str, str]] = {}  # id -> (its folder, other id, folder)
        added = []
        for run in new:
            other = None if run.id in again else _same(db, run)
            if other is None:
                _add(db, [_starting_from(run, standing)], time.time() if at is None else at)
                added.append(run.id)
            else:
                standing[run.id] = (run.folder, *other)
    return added


def get(db: Database, id: str) -> Run:
    """Return the run of exactly that id.

    Raises:
        NoSuchRun: there is none.
    """
    for row in db.conn.execute(f"select {COLUMNS} from runs where id = :id", {"id": id}):
        return read_row(row)
    raise NoSuchRun(id)


def find(db: Database, prefix: str) -> Run:
    """Return the run that `prefix` names: its id, or the beginning of no other's.

    Raises:
        NoSuchRun: nothing begins with it.
        AmbiguousRun: several do.
    """
    if not prefix:
        raise NoSuchRun(prefix)
    found = [
        read_row(row)
        for row in db.conn.execute(
            f"""
            select {COLUMNS} from runs where id >= :prefix and id < :prefix || '{{'
            order by id
            """,
            {"prefix": prefix},
        )
    ]
    for run in found:
        if len(found) == 1 or run.id == prefix:
            return run
    if not found:
        raise NoSuchRun(prefix)
    raise AmbiguousRun(prefix, sorted(found, key=lambda run: run.created, reverse=True))


def select(
    db: Database,
    *,
    states: Collection[str] = (),
    method: str | None = None,
    task: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[Run]:
    """Return the runs that fit every filter given, newest first."""
    sql, values = _filtered(f"{COLUMNS}, created as born, seq", states, method, task)
    values |= {"limit": -1 if limit is None else limit, "offset": offset}
    sql += " order by born desc, seq desc limit :limit offset :offset"
    return [read_row(row[:-2]) for row in db.conn.execute(sql, values)]


def count(
    db: Database,
    *,
    states: Collection[str] = (),
    method: str | None = None,
    task: str | None = None,
) -> int:
    """Return how many runs fit every filter given."""
    sql, values = _filtered("count(*)", states, method, task)
    return sum(number for (number,) in db.conn.execute(sql, values))


def change_state(
    db: Database,
    id: str,
    state: str,
    *,
    reason: str = "",
    expect: Collection[str] = (),
    at: float | None = None,
) -> bool:
    """Change a run's state, and the times that go with it, unless its state is not as expected.

    `queued` and `blocked` forget an earlier end and a request to stop, all others that the run was
    held; `running` begins now; the four last states end now. To say the same state again changes
    the reason alone. Returns False, and changes nothing, when the state before was not among
    `expect`; none expected means any.

    Raises:
        NoSuchRun: there is none.
    """
    with writing(db):
        before = get(db, id).state
        if expect and before not in expect:
            return False
        db.conn.execute(
            """
            update runs set
              state = :state, reason = :reason,
              queued = case when :state in ('queued', 'blocked') then :at else queued end,
              started = case when :state = 'running' then :at else started end,
              ended = case when :state in ('queued', 'blocked', 'running') then null else :at end,
              held = case when :state in ('queued', 'blocked') then held end,
              stop_requested =
                case when :state in ('queued', 'blocked') then null else stop_requested end
            where id = :id and state <> :state
            """,
            {"id": id, "state": state, "reason": reason, "at": time.time() if at is None else at},
        )
        if state in ENDED:
            _end_attempt(db, id, state, reason)
        db.conn.execute(
            "update runs set reason = :reason where id = :id and reason <> :reason",
            {"id": id, "reason": reason},
        )
    return True


def _end_attempt(db: Database, id: str, state: str, reason: str) -> None:
    """Note when and how the present attempt ended, if its trainer did not.

    That was no later than its last word.
    """
    db.conn.execute(
        """
        update attempts set ended = (
          select min(ended, coalesce(last_event, ended)) from runs where id = :id
        ), outcome = coalesce(outcome, :state), reason = coalesce(nullif(reason, ''), :reason)
        where ended is null
          and (run, attempt) = (select seq, attempt from runs where id = :id)
        """,
        {"id": id, "state": state, "reason": reason},
    )


def release_waiting(db: Database) -> list[str]:
    """Queue the blocked runs whose needs have all succeeded, and return their ids.

    The others are told what they wait for. Nothing is written when nothing has changed.
    """
    if not _waits(db):
        return []
    with writing(db):
        released = []
        for id, reason in _waits(db):
            if reason:
                change_state(db, id, "blocked", reason=reason)
            else:
                change_state(db, id, "queued", expect=("blocked",))
                released.append(id)
    return released


def start_attempt(db: Database, id: str, at: float) -> int:
    """Note that a process of the run begins, and return its number, from 1."""
    with writing(db):
        run = get(db, id)
        values = {"id": id, "attempt": run.attempt + 1, "at": at}
        db.conn.execute("update runs set attempt = :attempt where id = :id", values)
        db.conn.execute(
            """
            insert into attempts (run, attempt, started)
            select seq, :attempt, :at from runs where id = :id
            on conflict do update set started = excluded.started
            """,
            values,
        )
    return run.attempt + 1


def set_command(db: Database, id: str, command: Sequence[str]) -> None:
    """Change what the next attempt of a run executes."""
    with writing(db):
        db.conn.execute(
            "update runs set command = :command where id = :id",
            {"id": id, "command": json.dumps(list(command))},
        )


def request_stop(db: Database, id: str, at: float) -> None:
    """Note that somebody wants the run to stop; the first request counts."""
    with writing(db):
        get(db, id)
        db.conn.execute(
            "update runs set stop_requested = coalesce(stop_requested, :at) where id = :id",
            {"id": id, "at": at},
        )


def remove(db: Database, id: str) -> None:
    """Remove a run and everything known of it; its folder is left alone.

    Raises:
        NoSuchRun: there is none.
        StoreError: other runs start from it; they are named.
    """
    with writing(db):
        get(db, id)
        later = [
            name
            for (name,) in db.conn.execute(
                """
            select id from runs where parent = :id
            union
            select r.id from runs n join needs on need = n.seq join runs r on r.seq = run
            where n.id = :id
            """,
                {"id": id},
            )
        ]
        if later:
            named = ", ".join(f"`{name}`" for name in later)
            raise StoreError(f"`{id}` cannot be removed: {named} start from it")
        db.conn.execute("delete from runs where id = :id", {"id": id})


def seq_of(db: Database, id: str) -> int:
    """Return the row number by which other tables name the run.

    Raises:
        NoSuchRun: there is none.
    """
    for (seq,) in db.conn.execute("select seq from runs where id = :id", {"id": id}):
        return int(seq)
    raise NoSuchRun(id)


def _filtered(
    columns: str, states: Collection[str], method: str | None, task: str | None
) -> tuple[str, dict[str, Any]]:
    """Return a select, one branch a state, so that each walks its index in order of time."""
    values: dict[str, Any] = {"method": method, "task": task}
    terms = [f"{name} = :{name}" for name in ("method", "task") if values[name] is not None]
    branches: Iterable[list[str]] = [terms]
    if states:
        ordered = sorted(set(states))
        values |= {f"state{n}": state for n, state in enumerate(ordered)}
        branches = [[*terms, f"state = :state{n}"] for n in range(len(ordered))]
    selects = []
    for branch in branches:
        where = f" where {' and '.join(branch)}" if branch else ""
        selects.append(f"select {columns} from runs{where}")
    return " union all ".join(selects), values


def _add(db: Database, new: Sequence[NewRun], at: float) -> None:
    for run in new:
        if db.conn.execute("select 1 from runs where id = :id", {"id": run.id}).fetchone():
            raise StoreError(f"a run `{run.id}` is there")
        values = run._asdict() | {"command": json.dumps(run.command), "at": at}
        db.conn.execute(
            """
            insert into runs (id, method, task, ratio, seed, preset, recipe, state, folder, parent,
              command, gpus, gpu_mib, share, priority, backend, nodes, created, queued)
            values (:id, :method, :task, :ratio, :seed, :preset, :recipe, 'queued', :folder,
              :parent, :command, :gpus, :gpu_mib, :share, :priority, :backend, :nodes, :at, :at)
            """,
            {name: value for name, value in values.items() if name != "needs"},
        )
    for run in new:
        if run.parent is not None:
            seq_of(db, run.parent)
        for need in run.needs:
            db.conn.execute(
                "insert or ignore into needs (run, need) values (:run, :need)",
                {"run": seq_of(db, run.id), "need": seq_of(db, need)},
            )
    for run in new:
        reason = _what_it_waits_for(db, run.id)
        if reason:
            change_state(db, run.id, "blocked", reason=reason, at=at)


def _same(db: Database, run: NewRun) -> tuple[str, str] | None:
    """Return id and folder of the newest run that stands for `run`."""
    found: tuple[str, str] | None = db.conn.execute(
        """
        select id, folder from runs
        where recipe = :recipe and seed = :seed
          and method = :method and task = :task and ratio is :ratio
          and state in ('queued', 'blocked', 'running', 'succeeded')
        order by seq desc limit 1
        """,
        {
            "recipe": run.recipe,
            "seed": run.seed,
            "method": run.method,
            "task": run.task,
            "ratio": run.ratio,
        },
    ).fetchone()
    return found


def _starting_from(run: NewRun, standing: dict[str, tuple[str, str, str]]) -> NewRun:
    """Return `run` with every run that was not added replaced by the one that stands for it."""
    command = run.command
    for folder, _, other_folder in standing.values():
        command = [part.replace(folder, other_folder) for part in command]
    names = {id: other for id, (_, other, _) in standing.items()}
    return run._replace(
        parent=None if run.parent is None else names.get(run.parent, run.parent),
        needs=tuple(names.get(need, need) for need in run.needs),
        command=command,
    )


def _what_it_waits_for(db: Database, id: str) -> str:
    """Return the reason to be blocked, empty when nothing is waited for."""
    for need, method, task, state in db.conn.execute(
        """
        select n.id, n.method, n.task, n.state
        from runs r join needs on run = r.seq join runs n on n.seq = need
        where r.id = :id and n.state <> 'succeeded'
        order by n.seq limit 1
        """,
        {"id": id},
    ):
        return f"waits for {need} ({method} {task}), which is {state}"
    return ""


def _waits(db: Database) -> list[tuple[str, str]]:
    """Return the blocked runs whose reason has changed, with the new one (empty: released)."""
    blocked = db.conn.execute("select id, reason from runs where state = 'blocked'").fetchall()
    now = [(id, reason, _what_it_waits_for(db, id)) for id, reason in blocked]
    return [(id, reason) for id, before, reason in now if reason != before]
