"""`cxrlab resume`: go on with runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab.access import AsJson, FreshCode, RunNames, named, opened
from cxrlab.naming import what


def resume(
    ctx: typer.Context,
    runs: RunNames,
    fresh_code: FreshCode = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the runs; exit 1 if one does not succeed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Go on with stopped or lost runs, each from its last checkpoint.

    They execute the code that they were queued with, whatever has been edited since.
    """
    from cxrlab import agent, console, text
    from cxrlab.commands.launch import waited_for
    from cxrlab.exports import facts
    from cxrlab.queueing import steering

    with opened(ctx, changes=True) as (lab, db):
        queued = [steering.resume(lab, db, run, fresh_code=fresh_code) for run in named(db, runs)]
        agent.ensure_agent(lab)
        if fresh_code and not as_json:
            console.say("with today's code; `cxrlab show` names both")
        for run in queued if not as_json else ():
            console.fact(f"{run.id} ({what(run)}) {text.state(run.state, run.reason)}")
        ids = [run.id for run in queued]
        good = waited_for(lab, db, ids) if wait else True
        if as_json:
            console.facts([facts.of_run(run) for run in named(db, ids)])
    if not good:
        raise typer.Exit(1)
