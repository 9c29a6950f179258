"""What is known of a run that is put back by itself: how often, and from when may it start?"""

from __future__ import annotations

from typing import NamedTuple

from store import runs
from store.db import Database, writing

LATEST_S = 3600.0
"""No wait is longer: a time further ahead comes from a clock that has been set back since."""


class Mending(NamedTuple):
    """How often a run was put back in a row, and what comes next."""

    on_oom: str = ""
    """What a person asked for where a GPU has too little memory; empty: as the lab says."""
    losses: int = 0
    stalls: int = 0
    not_before: float | None = None
    """When it may start again."""
    ending: int | None = None
    """The attempt that was asked to end because it had stalled."""


def of_run(db: Database, id: str) -> Mending:
    """Return what is known of a run; nothing where it never was put back."""
    for row in db.conn.execute(
        """
        select on_oom, losses, stalls, not_before, ending from mending
        where run = (select seq from runs where id = :id)
        """,
        {"id": id},
    ):
        return Mending(*row)
    return Mending()


def keep(db: Database, id: str, known: Mending) -> None:
    """Keep what is known of a run, in place of what was.

    Raises:
        NoSuchRun: there is no such run.
    """
    with writing(db):
        db.conn.execute(
            """
            insert or replace into mending (run, on_oom, losses, stalls, not_before, ending)
            values (:run, :on_oom, :losses, :stalls, :not_before, :ending)
            """,
            known._asdict() | {"run": runs.seq_of(db, id)},
        )


def begin_anew(db: Database, id: str, *, on_oom: str | None = None) -> None:
    """Forget how often a run was put back, for now a person has acted on it.

    Args:
        db: the registry.
        id: of the run.
        on_oom: what to do from now on where a GPU has too little memory; None leaves it.
    """
    with writing(db):
        known = of_run(db, id)
        anew = Mending(known.on_oom if on_oom is None else on_oom)
        if anew != known:
            keep(db, id, anew)
