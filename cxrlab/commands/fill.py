"""`cxrlab fill`: launch whatever the grid still lacks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab.access import AsJson, opened
from cxrlab.asked import (
    BackendName,
    GpuCount,
    GpuMemory,
    LikeMethod,
    NodeCount,
    OnOom,
    PresetName,
    Priority,
    RatioNames,
    RowNames,
    SeedNames,
    ShareGpu,
    TaskNames,
    part_of_grid,
)
from cxrlab.naming import what
from cxrlab.progress.meter import busy

if TYPE_CHECKING:
    from cxrlab.filling.outlook import Outlook
    from store.db import Database

HANDFUL = 5
"""So many runs are queued without being asked about."""


def fill(
    ctx: typer.Context,
    methods: RowNames = None,
    task: TaskNames = None,
    ratio: RatioNames = None,
    seed: SeedNames = None,
    preset: PresetName = None,
    gpus: GpuCount = None,
    gpu_memory: GpuMemory = None,
    share: ShareGpu = None,
    on_oom: OnOom = None,
    priority: Priority = 0,
    backend: BackendName = None,
    nodes: NodeCount = None,
    like: LikeMethod = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be queued, and stop.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask, however many runs it are.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Launch whatever the grid still lacks, in the order that fills most cells soonest.

    A run that was stopped, lost or failed goes on from its checkpoint where it left one, as it was
    launched; what is said of GPUs and machines is for new ones. What waits, runs or has succeeded
    is never queued again.
    """
    from cxrlab import agent, console
    from cxrlab import launch as launching
    from cxrlab.exports import launched as telling
    from cxrlab.exports import outlook as told
    from cxrlab.filling import outlook
    from cxrlab.filling import set_going as filling

    with opened(ctx, changes=True) as (lab, db):
        asked = part_of_grid(
            lab,
            methods,
            task=task,
            ratio=ratio,
            seed=seed,
            preset=preset,
            gpus=gpus,
            like=like,
            backend=backend,
        )
        found = outlook.look(lab, db, asked)
        tell_left_out(found)
        where = launching.Where(backend.value if backend else None, nodes)
        with busy(launching.ASKING):
            prepared = launching.prepare(
                lab, db, found.plan, gpus=found.each, priority=priority, where=where
            )
        prepared = launching.asking(prepared, gpu_gib=gpu_memory, share=share)
        number = sum(one.there is None for one in prepared) + len(found.going_on)
        telling.tell_space(db, prepared)
        telling.tell_memory(lab, db, prepared)
        if dry_run:
            tell_going_on(db, found, as_json=as_json)
            telling.tell_plan(lab, prepared, as_json=as_json)
            return
        if number > HANDFUL and not yes:
            for line in told.page(found, columns=console.width()):
                console.say(line)
            ask(number)
        word = on_oom.value if on_oom else None
        launched = filling.carry_out(lab, db, found, prepared, say=console.say, on_oom=word)
        if number:
            agent.ensure_agent(lab)
        if as_json:
            console.facts(telling.launched_facts(db, launched))
        elif number:
            telling.tell_launched(launched, wait=False)
        else:
            console.say("nothing to launch: every cell that can be filled has its runs")


def tell_left_out(found: Outlook) -> None:
    """Say which cells cannot be filled here."""
    from cxrlab import console
    from cxrlab.exports import outlook as told

    for line in told.left_out_told(found):
        console.say(f"left out: {line}")


def tell_going_on(db: Database, found: Outlook, *, as_json: bool) -> None:
    """Print which runs would go on; as JSON they follow from `cxrlab runs`, and are talk."""
    from cxrlab import console
    from store import runs

    for id in found.going_on:
        run = runs.get(db, id)
        line = f"{what(run)}: {id}, {run.state}, would go on from its checkpoint"
        console.say(line) if as_json else console.fact(line)


def ask(number: int) -> None:
    """Ask whether so many runs shall be queued; ends the command if not.

    Raises:
        Usage: there is nobody to ask.
    """
    from cxrlab import console
    from cxrlab.errors import Usage

    if not sys.stdin.isatty():
        raise Usage(
            f"{number} runs would be queued, and there is no terminal to ask on",
            "`--yes` queues them without asking, `--dry-run` lists them",
        )
    if not typer.confirm(f"queue {number} runs?", err=True):
        console.say("nothing was queued")
        raise typer.Exit(1)
