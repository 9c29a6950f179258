"""`cxrlab launch`: queue the runs that cells of the grid need."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened
from cxrlab.asked import (
    BackendName,
    GpuMemory,
    NodeCount,
    OnOom,
    Preset,
    Priority,
    ShareGpu,
    every,
    gpus_asked,
    methods_asked,
    numbers,
    split,
)
from cxrlab.progress.meter import busy

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from cxrlab.plan import Plan
    from store.db import Database


def launch(
    ctx: typer.Context,
    methods: Annotated[
        list[str],
        typer.Argument(
            metavar="METHOD...",
            help="Methods of the catalog; `all` for every one, their variants apart.",
            autocompletion=completion.methods,
            show_default=False,
        ),
    ],
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T,...",
            help="Tasks to fine-tune for; `all` for every one. Without it: pre-train only.",
            autocompletion=completion.tasks,
        ),
    ] = None,
    ratio: Annotated[
        list[str] | None,
        typer.Option(metavar="R,...", help="Percent of the labels. [default: all of the task]"),
    ] = None,
    seed: Annotated[
        list[str] | None, typer.Option(metavar="S,...", help="Such as 0,1 or 0..4. [default: 0]")
    ] = None,
    preset: Annotated[
        Preset | None, typer.Option(help="Sizes and schedule. [default: the lab's]")
    ] = None,
    sets: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A setting of the trainer; `pretrain.KEY` or `TASK.KEY` for one of them alone. "
            "With several values, `blr=1e-4,3e-4`, a run for each. May be given again.",
        ),
    ] = None,
    sweeps: Annotated[
        list[str] | None,
        typer.Option(
            "--sweep",
            metavar="KEY=A,B,...|FILE",
            help="A setting with several values, a run for each; given again, every combination. "
            "Or a TOML file of lists of values, and of combinations under `[[runs]]`.",
        ),
    ] = None,
    pretrained: Annotated[
        str,
        typer.Option(
            metavar="auto|RUN|RUN@EPOCH|PATH",
            help="The encoder to start from: this lab's newest of the method, a run's, one that a "
            "run has kept on its way (`--set keep_every=N`), a file's.",
            autocompletion=completion.run_ids,
        ),
    ] = "auto",
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="N|cpu",
            help="GPUs of each run, on each of its nodes. [default: one where there is one]",
        ),
    ] = None,
    gpu_memory: GpuMemory = None,
    share: ShareGpu = None,
    on_oom: OnOom = None,
    priority: Priority = 0,
    backend: BackendName = None,
    nodes: NodeCount = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be queued, and stop.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Queue what was asked for although the lab has it.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the runs; exit 1 if one does not succeed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Queue the runs that cells of the grid need, pre-training first where none is finished.

    What is there already is not queued again, unless by `--again`. The runs outlive this command
    and the terminal.
    """
    from cxrlab import agent, console, sweeping
    from cxrlab import launch as launching
    from cxrlab import plan as plans
    from cxrlab.exports import launched as telling

    number = gpus_asked(gpus)
    where = launching.Where(backend.value if backend else None, nodes)
    with opened(ctx, changes=True) as (lab, db):
        rows = methods_asked(lab, methods)
        start = launching.pretrained_named(db, pretrained)
        wants = [
            want
            for swept in sweeping.combinations(sets or [], sweeps or [])
            for want in plans.wanted(
                rows,
                every(split(task), completion.task_names()),
                ratios=numbers("ratio", ratio),
                seeds=numbers("seed", seed) or [0],
                preset=preset.value if preset else lab.settings.launch.preset,
                overrides=swept,
                pretrained=start,
                again=again,
            )
        ]
        plan = plans.plan(wants, launching.pretrainings(db, start))
        tell_copy(lab, plan)
        with busy(launching.ASKING):
            prepared = launching.prepare(lab, db, plan, gpus=number, priority=priority, where=where)
        if on_oom is not None:
            launching.check_on_oom(on_oom.value, prepared)
        prepared = launching.asking(prepared, gpu_gib=gpu_memory, share=share)
        telling.tell_space(db, prepared)
        telling.tell_memory(lab, db, prepared)
        if dry_run:
            telling.tell_plan(lab, prepared, as_json=as_json)
            return
        launched = launching.queue(lab, db, prepared)
        if on_oom is not None:
            launching.note_on_oom(db, on_oom.value, launched)
        agent.ensure_agent(lab)
        if not as_json:
            telling.tell_launched(launched, wait=wait)
        good = waited_for(lab, db, [run.id for run in launched]) if wait else True
        if as_json:
            console.facts(telling.launched_facts(db, launched))
    if not good:
        raise typer.Exit(1)


def waited_for(lab: Lab, db: Database, ids: list[str]) -> bool:
    """Wait for runs, tell which did not succeed, and return whether all did."""
    from cxrlab import console
    from cxrlab.progress import waiting

    try:
        found = waiting.wait(lab, db, ids)
    except KeyboardInterrupt:
        console.say("no longer waiting; the runs go on: `cxrlab runs` lists them,")
        console.say("`cxrlab stop RUN` stops one")
        raise
    waiting.tell_unhappy(found)
    return not waiting.unhappy(found)


def tell_copy(lab: Lab, plan: Plan) -> None:
    """Say which prepared copy pre-training will read, or that one is there and is not used."""
    from cxrlab import console
    from cxrlab.assets import copies
    from trainers import catalog

    if any(step.task == catalog.PRETRAIN for step in plan.steps):
        copy = copies.find(lab, catalog.PRETRAIN_ENTRY.dataset)
        if copy is not None and copy.state != "stale":  # which is an error, and said as one
            console.say(f"prepared copy: {copies.told(copy)}")
