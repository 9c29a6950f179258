"""Which run holds which device? A device is a GPU's UUID, or `cpu:0` for a place on the CPU.

A run holds a device alone, or shares it with others by the memory that each needs. The registry
itself refuses a claim that joins one held alone, whoever writes it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from store import runs
from store.db import Database, writing


class Claim(NamedTuple):
    """A run's hold on a device."""

    device: str
    run: str
    mib: int | None
    """How much of its memory; None for all."""
    exclusive: bool
    since: float


def claim(
    db: Database,
    run_id: str,
    devices: Sequence[str],
    *,
    mib: int | None = None,
    room: Mapping[str, int] | None = None,
    at: float | None = None,
) -> bool:
    """Give all of `devices` to the run, or none where they are not to be had.

    Args:
        db: the registry, open.
        run_id: the run.
        devices: what it is to hold.
        mib: how much memory of each it takes beside others; None holds them alone.
        room: how much memory of each may be taken by all runs together.
        at: since when; None for now.

    Raises:
        NoSuchRun: there is no such run.
    """
    since = time.time() if at is None else at
    with writing(db):
        seq = runs.seq_of(db, run_id)
        others = [each for each in every(db) if each.run != run_id and each.device in devices]
        if any(each.exclusive or mib is None for each in others):
            return False
        for device, most in (room or {}).items():
            taken = sum(each.mib or 0 for each in others if each.device == device)
            if mib is not None and device in devices and taken + mib > most:
                return False
        db.conn.executemany(
            """
            insert or ignore into claims (device, run, mib, exclusive, since)
            values (:device, :run, :mib, :exclusive, :since)
            """,
            [
                {
                    "device": device,
                    "run": seq,
                    "mib": mib,
                    "exclusive": int(mib is None),
                    "since": since,
                }
                for device in devices
            ],
        )
    return True


def release(db: Database, run_id: str) -> None:
    """Free every device of the run; a run that holds none is left alone."""
    with writing(db):
        db.conn.execute(
            "delete from claims where run = (select seq from runs where id = :id)", {"id": run_id}
        )


def every(db: Database) -> list[Claim]:
    """Return every claim, in order of devices, the oldest first of those that share one."""
    rows = db.conn.execute(
        """
        select device, id, mib, exclusive, since from claims join runs on seq = run
        order by device, since, id
        """
    )
    return [
        Claim(device, run, mib, bool(exclusive), since)
        for device, run, mib, exclusive, since in rows
    ]


def held(db: Database) -> dict[str, str]:
    """Return the devices that are held, each with its run's id, the oldest where it is shared."""
    return {each.device: each.run for each in reversed(every(db))}
