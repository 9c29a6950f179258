"""`cxrlab import`: bring in results made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened, what

if TYPE_CHECKING:
    from cxrlab.imports.predictions import Cell

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def bring_in() -> None:
    """Bring in results made elsewhere; they are marked, and never mixed with the lab's own."""


@app.command("predictions")
def predictions(
    ctx: typer.Context,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="A csv table, a `predictions.npz`, or one text file a class (or their folder).",
            show_default=False,
        ),
    ],
    method: Annotated[
        str,
        typer.Option(
            help="The method that made them.",
            autocompletion=completion.methods,
            show_default=False,
        ),
    ],
    task: Annotated[
        str,
        typer.Option(
            help="The task they are of.", autocompletion=completion.tasks, show_default=False
        ),
    ],
    ratio: Annotated[int, typer.Option(min=1, max=100, help="Percent of the labels.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Which repeat of their source it is.")] = 0,
    source: Annotated[
        str,
        typer.Option(metavar="TEXT", help="Where they come from. [default: the files' names]"),
    ] = "",
    metric: Annotated[
        str,
        typer.Option(
            help="In which metric their source tells of them; another than the task's is refused.",
            show_default="the task's",
        ),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Bring predictions made elsewhere into a cell, as a finished run that is marked so.

    A csv table has a header and one image a row: `name`, `patient` if known, and `label` and
    `score`, or for several classes `label_CLASS` and `score_CLASS` of each. A text file is called
    after its class and has lines `label probability`, the same images in the same order in all.

    The same files in the same cell are brought in once. Runs of one source are repeats of each
    other by their seed.
    """
    from cxrlab import console, grid, text
    from cxrlab.exports import facts
    from cxrlab.imports.predictions import bring_in
    from store import results
    from trainers import metrics

    cell = cell_of(files, method=method, task=task, ratio=ratio, seed=seed, source=source)
    if metric:
        grid.refuse_other_metric(task, metric, f"{method} {task}")
    with opened(ctx) as (lab, db):
        imported = bring_in(lab, db, files, cell)
        numbers = results.of_run(db, imported.run.id)
    run = imported.run
    if as_json:
        chosen = metrics.selection(None)
        told = {
            "new": imported.new,
            "results": [facts.of_result(n, selection=chosen) for n in numbers],
        }
        console.facts(facts.of_run(run) | told)
        return
    if not imported.new:
        console.fact(f"{run.id} {what(run)}: these predictions are there already; nothing changed")
        return
    for number in numbers:
        said = f"{number.metric} {text.metric(number.value, 'share')}"
        if number.low is not None and number.high is not None:
            low, high = text.metric(number.low, "share"), text.metric(number.high, "share")
            said += f"  [{low}, {high}] 95 %"
        console.fact(f"{run.id} {what(run)}: {said}")
    console.say(f"`cxrlab show {run.id}` tells more; {run.reason}")


def cell_of(
    files: list[Path], *, method: str, task: str, ratio: int, seed: int, source: str
) -> Cell:
    """Return the cell that a command line names.

    Raises:
        NotFound: no method or task is called so.
    """
    from cxrlab.errors import unknown_name
    from cxrlab.imports.predictions import Cell
    from trainers import catalog

    if method not in catalog.METHODS:
        raise unknown_name("method", method, catalog.METHODS)
    if task not in catalog.TASKS:
        raise unknown_name("task", task, catalog.TASKS)
    named = " ".join(source.split()) or ", ".join(path.name for path in files)
    return Cell(method, task, ratio, seed, named)
