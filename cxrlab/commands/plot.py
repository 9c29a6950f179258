"""`cxrlab plot`: draw the curves of runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened
from cxrlab.asked import split

if TYPE_CHECKING:
    from cxrlab.exports.plot import Curve

ROWS = 20
"""How many rows of the terminal a panel takes where `--height` does not say."""


class Across(StrEnum):
    """What the horizontal axis is."""

    step = "step"
    epoch = "epoch"
    time = "time"


def plot(
    ctx: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN|METHOD...",
            help="Runs by id; of a method its newest run.",
            autocompletion=completion.runs_and_methods,
            show_default=False,
        ),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="M,...", help="Such as `val/loss` or `val/*`. [default: the losses]"),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="The task whose newest run of a method is meant. [default: pretrain]",
            autocompletion=completion.tasks,
        ),
    ] = None,
    x: Annotated[
        Across, typer.Option(help="Over steps, epochs, or the time spent on training.")
    ] = Across.step,
    log: Annotated[bool, typer.Option("--log", help="A logarithmic scale.")] = False,
    smooth: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.999, help="Weight of what came before in a running mean, from 0 to 1."
        ),
    ] = 0.0,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a .png, .svg or .pdf instead.")
    ] = None,
    height: Annotated[int, typer.Option(min=8, help="Rows of the terminal for a panel.")] = ROWS,
    as_json: AsJson = False,
) -> None:
    """Draw the curves of runs, in the terminal or to a file; several runs are laid over another.

    Gaps stay gaps: no line is drawn across values that were not finite.
    """
    from cxrlab import console
    from cxrlab.errors import unknown_name
    from cxrlab.exports import picture, terminal
    from cxrlab.exports import plot as plotting
    from trainers import catalog

    if task is not None and task not in (*catalog.TASKS, catalog.PRETRAIN):
        raise unknown_name("task", task, (*catalog.TASKS, catalog.PRETRAIN))
    path = picture.checked(out) if out else None
    with opened(ctx) as (lab, db):
        found = plotting.named(db, names, task=task)
        metrics = plotting.metrics_of(db, found, split(metric))
        curves = plotting.curves(db, found, metrics, axis=x.value, weight=smooth)
        drawn = {one.run.id for one in curves}
        for run in found:
            if run.id not in drawn:
                console.say(f"{run.id} has logged none of {', '.join(metrics)}")
        chart = plotting.chart(curves, axis=x.value, log=log)
        if path is not None:
            picture.write(lab, chart, path)
    if as_json:
        console.facts([series_facts(one, x=x.value) for one in curves])
    elif path is not None:
        console.fact(str(path))
    else:
        for line in terminal.lines(chart, columns=console.width(), rows=height):
            console.fact(line)


def series_facts(one: Curve, *, x: str) -> dict[str, Any]:
    """Return one curve as JSON, in pieces between which values are missing."""
    from cxrlab.exports import facts

    return facts.of_run(one.run) | {"metric": one.metric, "x": x, "pieces": one.pieces}
