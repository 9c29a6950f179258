"""Which run holds which device? A device is a GPU's UUID, or `cpu:0` for a place on the CPU."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlite_utils import Database

from store import runs
from store.db import writing


def claim(db: Database, run_id: str, devices: Sequence[str], *, at: float | None = None) -> bool:
    """Give all of `devices` to the run, or none when another run holds one of them.

    Raises:
        NoSuchRun: there is no such run.
    """
    since = time.time() if at is None else at
    with writing(db):
        seq = runs.seq_of(db, run_id)
        holders = held(db)
        if any(holders.get(device, run_id) != run_id for device in devices):
            return False
        db.conn.executemany(
            "insert or ignore into claims (device, run, since) values (:device, :run, :since)",
            [{"device": device, "run": seq, "since": since} for device in devices],
        )
    return True


def release(db: Database, run_id: str) -> None:
    """Free every device of the run; a run that holds none is left alone."""
    with writing(db):
        db.conn.execute(
            "delete from claims where run = (select seq from runs where id = :id)", {"id": run_id}
        )


def held(db: Database) -> dict[str, str]:
    """Return the devices that are held, each with its run's id."""
    rows = db.conn.execute("select device, id from claims join runs on seq = run order by device")
    return dict(rows.fetchall())
