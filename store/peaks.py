"""How high did a metric that only rises get in the newest runs of a kind?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from store.db import Database

LOOKED_AT = 20
"""So many of the newest runs of a kind, and of each state, are looked at."""

_STATES = ("succeeded", "running", "stopped")


def peak(
    db: Database, metric: str, *, method: str, task: str, preset: str, recipe: str
) -> float | None:
    """Return the largest last value of `metric` in runs of a recipe, else of a method's preset.

    Only the last point of each run is read, so it is the peak where the metric never falls. None
    where no run has logged it.
    """
    values = {"method": method, "task": task, "recipe": recipe, "most": LOOKED_AT}
    alike = db.conn.execute(
        """
        select seq from runs indexed by runs_recipe
        where recipe = :recipe and method = :method and task = :task and attempt > 0
        order by created desc limit :most
        """,
        values,
    )
    lasts = _lasts(db, metric, [seq for (seq,) in alike])
    return max(lasts or _lasts(db, metric, _of_preset(db, values, preset)), default=None)


def _of_preset(db: Database, values: dict[str, Any], preset: str) -> list[int]:
    """Return the newest runs of each state that were of the preset."""
    found = []
    for state in _STATES:
        rows = db.conn.execute(
            """
            select seq, preset from runs
            where method = :method and task = :task and state = :state
            order by created desc limit :most
            """,
            {**values, "state": state},
        )
        found += [seq for seq, its in rows if its == preset]
    return found


def _lasts(db: Database, metric: str, seqs: Sequence[int]) -> list[float]:
    found = []
    for seq in seqs:
        rows = db.conn.execute(
            """
            select value from points
            where run = :run and metric = (select id from metrics where name = :metric)
            order by step desc limit 1
            """,
            {"run": seq, "metric": metric},
        )
        found += [float(value) for (value,) in rows if value is not None]
    return found
