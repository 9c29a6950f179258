"""How is what the grid lacks set going? What left a checkpoint goes on, the rest is queued anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlite_utils import Database

from cxrlab import launch, steering
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from cxrlab.launch import Launched, Prepared
from cxrlab.outlook import Outlook
from store import runs


def carry_out(
    lab: Lab,
    db: Database,
    found: Outlook,
    prepared: Sequence[Prepared],
    *,
    say: Callable[[str], object],
) -> list[Launched]:
    """Let runs go on, queue the new ones, and return what became of all of them.

    Args:
        lab: where the runs are.
        db: its registry, open.
        found: what is lacking.
        prepared: its plan, as `launch.prepare` returns it.
        say: is told of each run that does not go on, and why.
    """
    done = []
    for id in found.going_on:
        try:
            run = steering.retry(lab, db, runs.get(db, id))
        except CxrlabError as error:  # somebody was first, or processes of it live on
            say(f"{id} does not go on: {error}")
            continue
        facts = (run.id, run.method, run.task, run.ratio, run.seed, run.state, run.reason)
        done.append(Launched(*facts, False, "goes on", run.command))
    return done + launch.queue(lab, db, prepared)
