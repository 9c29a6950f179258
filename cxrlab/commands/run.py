"""`cxrlab run`: any program of one's own as a run of the lab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened
from cxrlab.asked import BackendName, GpuMemory, ShareGpu


def run(
    ctx: typer.Context,
    command: Annotated[
        list[str],
        typer.Argument(
            metavar="-- COMMAND...",
            help="The program with its options, as you would type it here.",
            show_default=False,
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            help="The method it is.", autocompletion=completion.methods, show_default=False
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            help="The task it trains for, or `pretrain`.",
            autocompletion=completion.tasks,
            show_default=False,
        ),
    ],
    ratio: Annotated[
        int | None, typer.Option(min=1, max=100, help="Percent of the labels.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which repeat it is; fills `{seed}` in.")] = 0,
    result: Annotated[
        list[str] | None,
        typer.Option(
            metavar="METRIC=NAME",
            help="A result: METRIC is the last value that the log tells of NAME; `NAME%` where it "
            "is in percent. May be given again.",
        ),
    ] = None,
    watch: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            help="Read the logs, JSON lines and TensorBoard files written there too; may begin "
            "with `{run_dir}`; may be given again.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Keep this environment variable too, with its present value; may be given again.",
        ),
    ] = None,
    gpus: Annotated[
        str | None,
        typer.Option(metavar="N|cpu", help="GPUs it takes. [default: one where there is one]"),
    ] = None,
    gpu_memory: GpuMemory = None,
    share: ShareGpu = None,
    backend: BackendName = None,
    priority: Annotated[
        int, typer.Option(metavar="N", help="Runs of a higher one start first.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be queued, and stop.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Queue it although the lab has this line and seed.")
    ] = False,
    freeze: Annotated[
        bool | None,
        typer.Option(
            "--freeze/--no-freeze",
            help="Start it in a copy of this git checkout as it is now; what git ignores is "
            "linked to. [default: where this folder is a checkout of source code]",
        ),
    ] = None,
    restartable: Annotated[
        bool,
        typer.Option(
            "--restartable",
            help="It goes on when the same line is started again in its folder: do so where it is "
            "lost, `retry_lost` times in a row.",
        ),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for it; exit 1 if it fails.")] = False,
    as_json: AsJson = False,
) -> None:
    """Queue a program of your own, unchanged, as a run that is watched, followed and stopped.

    It starts in this folder, with this shell's interpreter and search paths. What it prints is its
    log; losses, metrics and bars in it become curves and progress. `{run_dir}`, `{seed}` and
    `{port}` in its words are filled in, and a rendezvous port is replaced by a free one.
    """
    from cxrlab import agent, console, launch, own
    from cxrlab.asked import gpus_asked
    from cxrlab.commands.launch import waited_for
    from cxrlab.exports.launched import (
        launched_facts,
        tell_launched,
        tell_memory,
        tell_plan,
        tell_space,
    )

    number = gpus_asked(gpus)
    with opened(ctx, changes=True) as (lab, db):
        starter = backend.value if backend else lab.settings.launch.backend
        asked = own.Own(
            command=command,
            method=method,
            task=task,
            ratio=ratio,
            seed=seed,
            gpus=launch.default_gpus(lab, starter) if number is None else number,
            workdir=Path.cwd(),
            watch=[own.place(path) for path in watch or ()],
            results=result or (),
            variables=env or (),
            priority=priority,
            again=again,
            backend=starter,
            freeze=freeze,
            restartable=restartable,
        )
        source = own.source_of(lab, asked)
        new = own.prepare(lab, db, asked, source)
        (prepared,) = launch.asking([new], gpu_gib=gpu_memory, share=share)
        if prepared.there is None:
            console.say(source.told)
        tell_space(db, [prepared])
        tell_memory(lab, db, [prepared])
        if dry_run:
            tell_plan(lab, [prepared], as_json=as_json)
            return
        launched = own.queue(lab, db, prepared, source)
        agent.ensure_agent(lab)
        if not as_json:
            tell_launched(launched, wait=wait)
        good = waited_for(lab, db, [one.id for one in launched]) if wait else True
        if as_json:
            console.facts(launched_facts(db, launched))
    if not good:
        raise typer.Exit(1)
