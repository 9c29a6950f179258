"""How does what a trainer wrote in its run folder come into the registry, each event once?

`events.jsonl` is read from the byte offset last taken in. The offset is read and moved under the
write lock, in one transaction with the rows, so that any number of processes may take in at once
and any of them may be killed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from store import runs, use, within
from store.db import COMMAND_WAIT_S, Database, StoreError, writing
from store.kinds import Event, OddEvent, Taking, as_text, take_event, write_points

FILE_NAME = "events.jsonl"
BATCH_BYTES = 2**20
"""How much is taken in under one hold of the lock: about a tenth of a second."""

_LONGEST_KIND = 100


def take_in(db: Database, run_id: str, folder: Path, *, wait_s: float = COMMAND_WAIT_S) -> int:
    """Take in what `folder/events.jsonl` holds beyond what is known, and return how many events.

    A torn last line is left for next time. A whole line that is no JSON object is skipped and
    counted in `bad_lines`; an event of a known kind without what belongs to it is counted too, and
    kept as it came. A file shorter than what was taken in is another file: the run starts over.
    Nothing is locked when nothing is new. What was seen of the run's machine comes in as well.

    Raises:
        NoSuchRun: the registry does not know the run.
        StoreError: the file cannot be read, or the lock was not to be had in `wait_s`.
    """
    path = folder / FILE_NAME
    taken = 0
    try:
        while _has_more(db, run_id, path):
            with writing(db, wait_s):
                events, moved = _take_batch(db, run_id, path)
            taken += events
            if not moved:
                break
    except FileNotFoundError:
        runs.seq_of(db, run_id)
    except OSError as error:
        raise StoreError(f"cannot read `{path}`: {error.strerror}") from error
    use.take_in(db, run_id, folder, wait_s=wait_s)
    return taken


def forget(db: Database, run_id: str) -> None:
    """Drop all that was taken in of a run, so that the next `take_in` begins at the first byte."""
    with writing(db):
        seq = runs.seq_of(db, run_id)
        for table in ("points", "results", "artifacts", "warnings", "events", "use"):
            db.conn.execute(f"delete from {table} where run = :run", {"run": seq})
        db.conn.execute(
            """
            update runs set step = null, epoch = null, done = null, total = null, eta_s = null,
              last_event = null, end_attempt = null, end_outcome = null, end_reason = '',
              selected_by = null, result = null, warnings = 0, bad_lines = 0, events_attempt = 0,
              events_offset = 0
            where seq = :run
            """,
            {"run": seq},
        )


def _has_more(db: Database, run_id: str, path: Path) -> bool:
    """Return whether it is worth taking the lock; what is read here decides nothing else."""
    size = path.stat().st_size
    (offset,) = db.conn.execute(
        "select events_offset from runs where seq = :run", {"run": runs.seq_of(db, run_id)}
    ).fetchone()
    return bool(size != offset)


def _take_batch(db: Database, run_id: str, path: Path) -> tuple[int, bool]:
    """Take in one batch; return the number of events and whether the offset has moved."""
    taking = _begin(db, run_id)
    with within.open_file(path.parent, path.name) as file:
        if file.seek(0, 2) < taking.row["events_offset"]:
            forget(db, run_id)
            taking = _begin(db, run_id)
        file.seek(taking.row["events_offset"])
        chunk = within.whole_lines(file, BATCH_BYTES)
    events = _take_lines(taking, chunk.split(b"\n"))
    if chunk:
        taking.row["events_offset"] += len(chunk)
        _finish(taking)
    return events, bool(chunk)


_ROW = (
    "step, epoch, done, total, eta_s, last_event, attempt, end_attempt, end_outcome, end_reason, "
    "selected_by, result, warnings, bad_lines, events_attempt, events_offset"
)


def _begin(db: Database, run_id: str) -> Taking:
    seq = runs.seq_of(db, run_id)
    values = db.conn.execute(f"select {_ROW} from runs where seq = :run", {"run": seq}).fetchone()
    metric_ids = dict(db.conn.execute("select name, id from metrics").fetchall())
    return Taking(db, seq, dict(zip(_ROW.split(", "), values, strict=True)), metric_ids)


def _finish(taking: Taking) -> None:
    write_points(taking)
    settings = ", ".join(f"{name} = :{name}" for name in taking.row)
    taking.db.conn.execute(
        f"update runs set {settings} where seq = :seq", taking.row | {"seq": taking.seq}
    )


def _take_lines(taking: Taking, lines: Iterable[bytes]) -> int:
    taken = 0
    for line in lines:
        if not line.strip():
            continue
        try:
            # decoded here: json would take a line with null bytes for UTF-16
            event = json.loads(line.decode())
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict):
            _take_event(taking, event, line)
            taken += 1
        else:
            taking.row["bad_lines"] += 1
    return taken


def _take_event(taking: Taking, event: Event, line: bytes) -> None:
    try:
        if take_event(taking, event):
            return
    except OddEvent:
        taking.row["bad_lines"] += 1
    # what nobody here understands is kept as it came
    taking.db.conn.execute(
        "insert into events (run, kind, line) values (:run, :kind, :line)",
        {
            "run": taking.seq,
            "kind": as_text(str(event.get("kind", ""))[:_LONGEST_KIND]),
            "line": line.decode(),
        },
    )
