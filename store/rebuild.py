"""How is the registry made anew from the run folders alone?

What lives in the registry alone (the queue, priorities, requests to stop) is kept for runs it still
knows. A run whose trainer never said how it ended comes back as `running`; whoever looks next finds
out from the process table whether that is true.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from store import artifacts, intake, jobs, runs, within
from store.db import Database, StoreError, writing
from store.kinds import as_text

NEVER_STARTED = "never started; the queue is not kept in run folders"

_PROCESSES = re.compile(r"--nproc[-_]per[-_]node[= ](\d{1,4})\b")

_NAME = re.compile(
    r"(?P<id>[a-z][a-z2-7]{5})-(?P<method>[a-z0-9_+]+)-(?P<task>[a-z0-9_]+)"
    r"(-(?P<ratio>\d+))?-s(?P<seed>\d+)"
)


_LONGEST = 2**31


class _Found(NamedTuple):
    """What a run folder says of itself."""

    run: runs.NewRun
    attempts: list[dict[str, Any]]
    created: float
    pretrained: str
    job: jobs.Job | None = None
    """The job of a cluster that it was handed in as."""


def rebuild(db: Database, runs_dir: Path) -> int:
    """Make the rows of all runs under `runs_dir` anew, and return how many there are.

    One transaction a run, so that others can write in between; when killed in mid-work, run it
    again. A run that has ended and whose folder is gone is dropped. A folder that is not named
    like a run's is left alone; one without a readable `config.json` is known by its name.

    Raises:
        StoreError: `runs_dir` is not there, or a file in it cannot be read.
    """
    if not runs_dir.is_dir():
        raise StoreError(f"`{runs_dir}` is no folder; a lab keeps its runs there")
    found = sorted(_folders(runs_dir), key=lambda each: (each.created, each.run.id))
    for each in found:
        with writing(db, wait_s=60.0):
            _remake(db, each)
    with writing(db, wait_s=60.0):
        _drop_missing(db, runs_dir, {each.run.id for each in found})
        for each in found:
            _set_parent(db, each)
    return len(found)


def _folders(runs_dir: Path) -> Iterator[_Found]:
    for folder in runs_dir.iterdir():
        named = _NAME.fullmatch(folder.name)
        if named and folder.is_dir():
            yield _read(folder, named.groupdict())


def _read(folder: Path, named: dict[str, Any]) -> _Found:
    config = within.read_object(folder, "config.json")
    attempts = [
        record
        for path in folder.glob("attempts/*.json")
        if isinstance((record := _record(folder, path.name)).get("attempt"), int)
    ]
    attempts.sort(key=lambda record: int(record["attempt"]))
    times = [record["started"] for record in attempts if record.get("started")]
    order = within.read_object(folder, "slurm.json")
    job = jobs.told(named["id"], order, attempts)
    nodes = _whole(order.get("nodes"), None) or 1
    files = [folder / "config.json", folder / "command.txt"]
    times += [path.stat().st_mtime for path in files if path.exists()]
    command = _ordered(order) or _command(folder, attempts)
    run = runs.NewRun(
        id=named["id"],
        method=_text(config, "method", named["method"]),
        task=_text(config, "task", named["task"]),
        ratio=_whole(config.get("ratio"), named["ratio"]),
        seed=_whole(config.get("seed"), named["seed"]) or 0,
        preset=_text(config, "preset"),
        recipe=_text(config, "recipe"),
        folder=str(folder),
        parent=None,
        command=command,
        gpus=0 if config.get("device") == "cpu" else _processes(command),
        backend="slurm" if order else "local",
        nodes=nodes,
    )
    created = min(times, default=folder.stat().st_mtime)
    return _Found(run, attempts, created, _text(config, "pretrained"), job)


def _processes(command: list[str]) -> int:
    """Return how many processes a command starts on a machine, each of them on a GPU."""
    told = _PROCESSES.search(" ".join(command))
    return int(told[1]) if told else 1


def _ordered(order: dict[str, Any]) -> list[str]:
    """Return the command that was handed in to a cluster; there is no such where none was."""
    words = order.get("command")
    return [str(word) for word in words] if isinstance(words, list) else []


def _command(folder: Path, attempts: list[dict[str, Any]]) -> list[str]:
    """Return the first attempt's command, or what `command.txt` says, without its settings."""
    for record in attempts:
        if record.get("command"):
            return [str(part) for part in record["command"]]
    try:
        parts = shlex.split(within.read_text(folder, "command.txt"), comments=True)
    except (OSError, ValueError):
        return []
    while parts and re.match(r"\w+=", parts[0]):
        del parts[0]
    return parts


def _record(folder: Path, name: str) -> dict[str, Any]:
    """Return what the runner recorded of an attempt, without what is not of its kind."""
    record = within.read_object(folder / "attempts", name)
    for key in ("started", "ended"):
        if not isinstance(record.get(key), int | float):
            record[key] = None
    trainer = record.get("trainer")
    pid = trainer.get("pid") if isinstance(trainer, dict) else None
    record["pid"] = pid if isinstance(pid, int) and abs(pid) < _LONGEST else None
    record["host"] = _text(record, "host") or None
    if not isinstance(record.get("command"), list):
        record["command"] = []
    if not isinstance(record.get("attempt"), int) or not 0 < record["attempt"] < _LONGEST:
        record["attempt"] = None
    return record


def _text(given: dict[str, Any], key: str, other: str = "") -> str:
    value = given.get(key)
    return as_text(value) if isinstance(value, str) else other


def _whole(value: object, other: str | None) -> int | None:
    """Return a whole number; what the folder's name says where it is none."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST:
        return value
    return None if other is None else int(other[:9])


def _remake(db: Database, found: _Found) -> None:
    run = found.run
    known = db.conn.execute("select 1 from runs where id = :id", {"id": run.id}).fetchone()
    if known:
        # the lab may have been moved
        db.conn.execute(
            "update runs set folder = :folder where id = :id",
            {"id": run.id, "folder": run.folder},
        )
        intake.forget(db, run.id)
    else:
        runs.add(db, [run], at=found.created)
    try:
        intake.take_in(db, run.id, Path(run.folder))
    except StoreError as error:
        if not isinstance(error.__cause__, within.Elsewhere):
            raise  # what is no file of the run says nothing of it, and keeps no other run back
    for path, said in artifacts.removed_of(Path(run.folder)).items():
        if isinstance(said, dict) and not (Path(run.folder) / path).exists():
            at = said.get("at")
            removed = float(at) if isinstance(at, int | float) else found.created
            artifacts.mark_removed(db, run.id, as_text(path), at=removed)
    _add_attempts(db, found)
    _settle(db, found, known=bool(known))


def _add_attempts(db: Database, found: _Found) -> None:
    """Put down what the runner recorded, beside what the trainer has said."""
    seq = runs.seq_of(db, found.run.id)
    for record in found.attempts:
        values = {
            "run": seq,
            "attempt": record["attempt"],
            "started": record.get("started"),
            "ended": record.get("ended"),
            "host": record.get("host"),
            "pid": record["pid"],
        }
        db.conn.execute(
            """
            insert into attempts (run, attempt, started, ended, host, pid)
            values (:run, :attempt, :started, :ended, :host, :pid)
            on conflict do update set
              started = coalesce(excluded.started, started), ended = coalesce(ended, excluded.ended)
            """,
            values,
        )
        db.conn.execute("update runs set attempt = max(attempt, :attempt) where seq = :run", values)


def _settle(db: Database, found: _Found, *, known: bool) -> None:
    """Give the run the state that its folder speaks for."""
    run = runs.get(db, found.run.id)
    if known and run.state in runs.WAITING:
        return
    (began, ended) = db.conn.execute(
        """
        select a.started, a.ended from attempts a join runs r on r.seq = a.run
        where r.id = :id and a.attempt = r.attempt
        """,
        {"id": run.id},
    ).fetchone() or (None, None)
    if found.job and not known:
        jobs.restore(db, found.job)
    if found.job and not known and found.job.ended is None:  # whoever looks next asks the cluster
        under_way = found.attempts and not found.attempts[-1].get("ended")
        state, reason = ("running" if under_way else "queued"), ""
    elif run.end_outcome:
        state, reason = run.end_outcome, run.end_reason
    elif known:
        return
    elif found.attempts or run.last_event is not None:
        state, reason = "running", ""
    else:
        state, reason = "stopped", NEVER_STARTED
    runs.change_state(db, run.id, state, reason=reason, at=ended or found.created)
    db.conn.execute(
        "update runs set started = coalesce(:began, started) where id = :id",
        {"id": run.id, "began": began},
    )


def _drop_missing(db: Database, runs_dir: Path, there: set[str]) -> None:
    for run in runs.select(db, states=runs.ENDED):
        if run.id not in there and Path(run.folder).parent.resolve() == runs_dir.resolve():
            values = {"id": run.id}
            db.conn.execute("update runs set parent = null where parent = :id", values)
            db.conn.execute(
                "delete from needs where need = (select seq from runs where id = :id)", values
            )
            db.conn.execute("delete from runs where id = :id", values)


def _set_parent(db: Database, found: _Found) -> None:
    """Find the run whose encoder this one starts from by the path `<folder>/checkpoints/FILE`."""
    named = _NAME.fullmatch(Path(found.pretrained).parent.parent.name)
    if named:
        db.conn.execute(
            """
            update runs set parent = :parent
            where id = :id and parent is null and exists (select 1 from runs where id = :parent)
            """,
            {"id": found.run.id, "parent": named["id"]},
        )
