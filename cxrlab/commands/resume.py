"""`cxrlab resume`: go on with runs."""

from __future__ import annotations

import typer

from cxrlab.access import AsJson, RunNames, named, opened, what


def resume(ctx: typer.Context, runs: RunNames, as_json: AsJson = False) -> None:
    """Go on with stopped or lost runs, each from its last checkpoint."""
    from cxrlab import agent, console, launch, text
    from cxrlab.exports import facts

    with opened(ctx) as (lab, db):
        queued = [launch.resume(lab, db, run) for run in named(db, runs)]
        agent.ensure_agent(lab)
    if as_json:
        console.facts([facts.of_run(run) for run in queued])
        return
    for run in queued:
        console.fact(f"{run.id} ({what(run)}) {text.state(run.state, run.reason)}")
