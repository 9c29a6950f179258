"""`cxrlab stop`: stop runs."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab.access import AsJson, RunNames, named, opened
from cxrlab.naming import what


def stop(
    ctx: typer.Context,
    runs: RunNames,
    grace: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS", min=0, help="How long it may take before it is killed. [the lab's]"
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Stop runs. Each writes a checkpoint first, from which `resume` goes on.

    A run that waits never starts. Stopping one that is stopped already does nothing.
    """
    from cxrlab import console, text
    from cxrlab.exports import facts
    from cxrlab.queueing import steering

    with opened(ctx, changes=True) as (lab, db):
        ended = []
        for run in named(db, runs):
            if run.state != "stopped":
                if run.state == "running" and not as_json:
                    console.say(f"{run.id}: waiting for its last checkpoint")
                run = steering.stop(lab, db, run, grace_s=grace)
            ended.append(run)
            if not as_json:
                console.fact(f"{run.id} ({what(run)}) {text.state(run.state, run.reason)}")
    if as_json:
        console.facts([facts.of_run(run) for run in ended])
