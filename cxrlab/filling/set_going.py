"""How is what the grid lacks set going? What left a checkpoint goes on, the rest is queued anew."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxrlab import launch, mending
from cxrlab.errors import CxrlabError
from cxrlab.filling.outlook import Outlook
from cxrlab.lab import Lab
from cxrlab.launch import Launched, Prepared
from cxrlab.queueing import steering
from store import runs
from store.db import Database


def carry_out(
    lab: Lab,
    db: Database,
    found: Outlook,
    prepared: Sequence[Prepared],
    *,
    say: Callable[[str], object],
    on_oom: str | None = None,
) -> list[Launched]:
    """Let runs go on, queue the new ones, and return what became of all of them.

    Args:
        lab: where the runs are.
        db: its registry, open.
        found: what is lacking.
        prepared: its plan, as `launch.prepare` returns it.
        say: is told of each run that does not go on, and why; and of each new one whose
            micro-batches may not be cut though `on_oom` asks for it.
        on_oom: what new runs do where a GPU has too little memory; None for as the lab says.
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
    launched = launch.queue(lab, db, prepared)
    if on_oom is not None:
        fixed = {one.run.id for one in prepared if not launch.may_halve(one)}
        fixed = set() if on_oom != "halve" else fixed
        for one in launched:
            if one.new and one.id in fixed:
                say(mending.refusal(one.method))
        launch.note_on_oom(db, on_oom, [one for one in launched if one.id not in fixed])
    return done + launched
