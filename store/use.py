"""What did a run use of its machine: how busy its GPUs were, what memory, power and CPU time?

`use.jsonl` in a run folder has a line for each stretch of time, written by whoever watches the run
and never by its trainer: `{"t": end, "attempt": 1, "at": 20.0, "s": 10.0, "values": {...}}`, where
`at` is how long the attempt had been running at the end of the stretch and `s` how long that was.
Values are means over the stretch, of memory the most. They become points like any other curve's,
whose steps are the run's seconds, pauses between attempts left out; no attempt supersedes them.
What they sum up to is kept in one row a run.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from store import kinds, points, runs, within
from store.db import COMMAND_WAIT_S, Database, StoreError, writing

FILE_NAME = "use.jsonl"
BATCH_BYTES = 2**20
LATELY_S = 600
"""How far back `lately` looks."""

_LONGEST_S = 1e9
_NAME = re.compile(r"(gpu/\d{1,3}|host)/[a-z_]{1,32}")
_SUMS = (
    "watched_s", "gpu_s", "busy_s", "power_s", "energy_j", "host_s", "cpu_s",
)  # fmt: skip
_MOST = ("gpus", "gpu_gib", "host_gib")
_ROW = ("offset", "attempt", "base", "last", *_SUMS, *_MOST)


class Stretch(NamedTuple):
    """What one line says."""

    t: float
    attempt: int
    at: float
    s: float
    values: dict[str, float]


class Use(NamedTuple):
    """What a run used in all its attempts; None where nobody has seen it."""

    seconds: float
    """How long its processes have run."""
    watched_s: float
    """How much of that was seen."""
    gpus: int
    gpu_hours: float | None
    """GPUs times hours, whether they were busy or not."""
    utilization: float | None
    """Mean over time and GPUs (percent)."""
    gpu_gib: float | None
    """The most of any one of its GPUs."""
    energy_kwh: float | None
    """Of its GPUs."""
    cpu: float | None
    """Mean (percent of one core)."""
    host_gib: float | None
    """The most."""


def take_in(db: Database, run_id: str, folder: Path, *, wait_s: float = COMMAND_WAIT_S) -> None:
    """Take in the lines of `folder/use.jsonl` beyond those known, each once; see `store.intake`.

    What is no such line is skipped. Nothing is locked when nothing is new.

    Raises:
        NoSuchRun: the registry does not know the run.
        StoreError: the file cannot be read, or the lock was not to be had in `wait_s`.
    """
    path = folder / FILE_NAME
    try:
        while path.stat().st_size != _row(db, runs.seq_of(db, run_id))["offset"]:
            with writing(db, wait_s):
                if not _take_batch(db, runs.seq_of(db, run_id), folder):
                    break
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreError(f"cannot read `{path}`: {error.strerror}") from error


def forget(db: Database, seq: int) -> None:
    """Drop what was taken in; the caller holds the lock."""
    db.conn.execute("delete from use where run = :run", {"run": seq})
    db.conn.execute(
        f"""
        delete from points
        where run = :run and metric in (select id from metrics where {points.IS_USE})
        """,
        {"run": seq},
    )


def stretches(folder: Path) -> Iterator[tuple[int, Stretch]]:
    """Give the stretches of a run folder, each with its step; none where there is no such file."""
    try:
        with within.open_file(folder, FILE_NAME) as file:
            yield from _placed({"attempt": 0, "base": 0, "last": 0}, file)
    except OSError:
        return


def of_runs(db: Database, ids: Collection[str], *, now: float) -> dict[str, Use]:
    """Return what each of the runs used; one that has never begun is left out."""
    rows = db.conn.execute(
        f"""
        select r.id, r.gpus * r.nodes, (
          select sum(max(0, coalesce(
            a.ended, case when r.state = 'running' and a.attempt = r.attempt then :now end,
            a.started
          ) - a.started)) from attempts a where a.run = r.seq
        ), {", ".join(f"use.{name}" for name in _SUMS + _MOST)}
        from runs r left join use on use.run = r.seq
        where r.id in (select value from json_each(:ids))
        """,
        {"now": now, "ids": json.dumps(list(ids))},
    )
    return {
        id: _summed(gpus, seconds, dict(zip(_SUMS + _MOST, seen, strict=True)))
        for id, gpus, seconds, *seen in rows.fetchall()
        if seconds is not None
    }


def of_run(db: Database, run_id: str, *, now: float) -> Use | None:
    """Return what a run used; None where it has never begun."""
    return of_runs(db, [run_id], now=now).get(run_id)


def lately(db: Database, run_id: str) -> float | None:
    """Return how busy the GPUs were in the run's last ten minutes that were seen (percent).

    None where less than that has been seen.

    Raises:
        NoSuchRun: there is no such run.
    """
    seq = runs.seq_of(db, run_id)
    row = _row(db, seq)
    if not row["gpu_s"] or row["watched_s"] < LATELY_S:
        return None
    (mean,) = db.conn.execute(
        """
        select avg(value) from points
        where run = :run and step > :since and metric in (
          select id from metrics where name glob 'gpu/[0-9]*/utilization'
        )
        """,
        {"run": seq, "since": row["last"] - LATELY_S},
    ).fetchone()
    return None if mean is None else float(mean)


def _take_batch(db: Database, seq: int, folder: Path) -> bool:
    """Take in one batch; return whether there was anything."""
    row = _row(db, seq)
    with within.open_file(folder, FILE_NAME) as file:
        if file.seek(0, 2) < row["offset"]:
            forget(db, seq)
            row = _row(db, seq)
        file.seek(row["offset"])
        chunk = within.whole_lines(file, BATCH_BYTES)
    ids: dict[str, int] = {}
    new = []
    for step, stretch in _placed(row, chunk.splitlines()):
        for name, value in stretch.values.items():
            if name not in ids:
                ids[name] = kinds.metric_id(db, name)
            new.append((seq, ids[name], step, value))
        _sum_up(row, stretch)
    db.conn.executemany(
        "insert or replace into points (run, metric, step, value) values (?, ?, ?, ?)", new
    )
    row["offset"] += len(chunk)
    db.conn.execute(
        f"""
        insert or replace into use (run, {", ".join(_ROW)})
        values (:run, {", ".join(f":{name}" for name in _ROW)})
        """,
        {"run": seq, **{name: row[name] for name in _ROW}},
    )
    return bool(chunk)


def _row(db: Database, seq: int) -> dict[str, Any]:
    found = db.conn.execute(
        f"select {', '.join(_ROW)} from use where run = :run", {"run": seq}
    ).fetchone()
    return dict(zip(_ROW, found or [0] * len(_ROW), strict=True))


def _placed(row: dict[str, Any], lines: Iterable[bytes]) -> Iterator[tuple[int, Stretch]]:
    """Give each stretch its step; an attempt begins where the one before was last seen."""
    for line in lines:
        stretch = _read(line)
        if stretch is None:
            continue
        if stretch.attempt > row["attempt"]:
            row["attempt"], row["base"] = stretch.attempt, row["last"]
        step = row["base"] + round(stretch.at)
        row["last"] = max(row["last"], step)
        yield step, stretch


def _read(line: bytes) -> Stretch | None:
    """Return what a line says; None for one that is torn, or of something else."""
    try:
        said = json.loads(line.decode())
        numbers = [float(said[key]) for key in ("t", "attempt", "at", "s")]
        values = {
            name: float(value)
            for name, value in said["values"].items()
            if _NAME.fullmatch(name) and 0 <= value < _LONGEST_S
        }
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    t, attempt, at, s = numbers
    if not (all(map(math.isfinite, numbers)) and 1 <= attempt < 2**31 and 0 <= at < _LONGEST_S):
        return None
    return Stretch(t, int(attempt), at, s, values) if 0 < s < _LONGEST_S else None


def _sum_up(row: dict[str, Any], stretch: Stretch) -> None:
    of_gpus: dict[str, list[float]] = {}
    for name, value in stretch.values.items():
        head, _, what = name.rpartition("/")
        if head != "host":
            of_gpus.setdefault(what, []).append(value)
    busy, power = of_gpus.get("utilization", []), of_gpus.get("power", [])
    cpu = stretch.values.get("host/cpu")
    row["watched_s"] += stretch.s
    row["gpu_s"] += len(busy) * stretch.s
    row["busy_s"] += sum(busy) / 100 * stretch.s
    row["power_s"] += len(power) * stretch.s
    row["energy_j"] += sum(power) * stretch.s
    row["host_s"] += 0 if cpu is None else stretch.s
    row["cpu_s"] += (cpu or 0) / 100 * stretch.s
    row["gpus"] = max(row["gpus"], *(len(each) for each in of_gpus.values()), 0)
    row["gpu_gib"] = max(row["gpu_gib"], *of_gpus.get("memory", []), 0)
    row["host_gib"] = max(row["host_gib"], stretch.values.get("host/memory", 0))


def _summed(gpus: int, seconds: float, row: dict[str, Any]) -> Use:
    held = max(gpus, row["gpus"] or 0)
    return Use(
        seconds=seconds,
        watched_s=row["watched_s"] or 0.0,
        gpus=held,
        gpu_hours=held * seconds / 3600 if held else None,
        utilization=100 * row["busy_s"] / row["gpu_s"] if row["gpu_s"] else None,
        gpu_gib=row["gpu_gib"] or None,
        energy_kwh=row["energy_j"] / 3.6e6 if row["power_s"] else None,
        cpu=100 * row["cpu_s"] / row["host_s"] if row["host_s"] else None,
        host_gib=row["host_gib"] or None,
    )
