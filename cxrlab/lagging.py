"""Has a pre-training fallen behind the best one before it? Told early, while it can be stopped.

What counts is the held-out loss at the same epoch, against the pre-training of the same method
that ended lowest: one of the same recipe where there is one, else one of the same preset.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from cxrlab import text
from store import points, predecessors
from store.db import Database
from store.runs import Run
from trainers.catalog import PRETRAIN

MARGIN = 0.05
"""So much higher than its predecessor's a loss must be to be told of (share of the loss)."""
METRIC = "val/loss"

Curve = Sequence[tuple[float, float]]
"""(epoch, loss), in order of epochs."""


class Behind(NamedTuple):
    """How far a pre-training is behind, where it was held out last."""

    epoch: float
    loss: float
    """Its own (nats)."""
    best: float
    """Its predecessor's at the same epoch (nats)."""
    run_id: str
    same_recipe: bool
    margin: float

    def told(self) -> str:
        """Return it in a sentence."""
        whose = "of the same recipe" if self.same_recipe else "of another recipe"
        return (
            f"val loss {text.metric(self.loss, 'nats')} at epoch {text.number(self.epoch, 3)}, "
            f"best predecessor {self.run_id} ({whose}) {text.metric(self.best, 'nats')}: "
            f"more than {100 * self.margin:g} % behind"
        )

    def as_facts(self) -> dict[str, Any]:
        """Return it as JSON."""
        return self._asdict() | {"told": self.told()}


def at(curve: Curve, epoch: float) -> float | None:
    """Return the loss at an epoch, on a straight line between its neighbours; None outside."""
    place = bisect.bisect_left([e for e, _ in curve], epoch)
    if place < len(curve) and curve[place][0] == epoch:
        return curve[place][1]
    if not 0 < place < len(curve):
        return None
    (e0, y0), (e1, y1) = curve[place - 1], curve[place]
    return y0 + (y1 - y0) * (epoch - e0) / (e1 - e0)


def behind(
    own: Curve, best: Curve, *, run_id: str, same_recipe: bool, margin: float = MARGIN
) -> Behind | None:
    """Return how far `own` is behind `best` at its last epoch; None where it is not."""
    if not own:
        return None
    epoch, loss = own[-1]
    other = at(best, epoch)
    if other is None or loss - other <= margin * abs(other):
        return None
    return Behind(epoch, loss, other, run_id, same_recipe, margin)


def look(db: Database, run: Run) -> Behind | None:
    """Return how far a run is behind; None for all but pre-trainings that are.

    Reads two curves of held-out losses, which have a point for each validation.
    """
    if run.task != PRETRAIN or not run.step:
        return None
    best = predecessors.best(db, run)
    if best is None:
        return None
    return behind(
        _curve(db, run.id, run.step, run.epoch),
        _curve(db, best.id, best.step, best.epoch),
        run_id=best.id,
        same_recipe=best.recipe == run.recipe,
    )


def of_running(db: Database, found: Collection[Run]) -> dict[str, Behind]:
    """Return how far each of the runs that are running is behind, by id; only those that are."""
    looked = {run.id: look(db, run) for run in found if run.state == "running"}
    return {id: told for id, told in looked.items() if told is not None}


def _curve(db: Database, id: str, step: int | None, epoch: float | None) -> Curve:
    """Return the held-out losses by epoch; none where the run does not say what an epoch is."""
    if not step or not epoch:
        return []
    pieces = points.pieces(db, id, METRIC)
    return [(step_ * epoch / step, loss) for step_, loss in itertools.chain.from_iterable(pieces)]
