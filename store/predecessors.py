"""Which earlier pre-training is the one to be measured against?"""

from __future__ import annotations

from typing import NamedTuple

from store.db import Database
from store.runs import Run


class Predecessor(NamedTuple):
    """The best of the pre-trainings of a method that had finished, or begun, before a run."""

    id: str
    recipe: str
    step: int | None
    epoch: float | None
    """The epoch that `step` is in, so that each of its steps has one."""
    loss: float
    """Its held-out loss at the end (nats)."""


def best(db: Database, run: Run) -> Predecessor | None:
    """Return the finished pre-training of the same method and preset that ended lowest.

    It began before `run`. One of the same recipe goes before all others, whatever its loss.
    """
    rows = db.conn.execute(
        """
        select r.id, r.recipe, r.step, r.epoch, t.value
        from runs r indexed by runs_cell_state
        join results t on t.run = r.seq and t.metric = 'val/loss'
        where r.method = :method and r.task = 'pretrain' and r.state = 'succeeded'
          and r.created <= :created and r.id <> :id and r.preset = :preset and t.value is not null
        order by r.recipe <> :recipe, t.value, r.seq limit 1
        """,
        {
            "method": run.method,
            "created": run.created,
            "id": run.id,
            "preset": run.preset,
            "recipe": run.recipe,
        },
    )
    for row in rows:
        return Predecessor._make(row)
    return None
