"""`cxrlab import`: bring in results made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened
from cxrlab.imports.options import (
    Only,
    Renames,
    TheirMethod,
    TheirRatio,
    TheirSeed,
    TheirSource,
    TheirTask,
    place_of,
)
from cxrlab.naming import what

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cxrlab.imports.curves import Found
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
    from cxrlab import console, text
    from cxrlab.exports import facts
    from cxrlab.grid.published import refuse_other_metric
    from cxrlab.imports.predictions import bring_in
    from store import results
    from trainers import metrics

    cell = cell_of(files, method=method, task=task, ratio=ratio, seed=seed, source=source)
    if metric:
        refuse_other_metric(task, metric, f"{method} {task}")
    with opened(ctx, changes=True) as (lab, db):
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


@app.command("notebook")
def notebook(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Markdown with a table of HTML, as `export --style notebook` writes it.",
            show_default=False,
        ),
    ],
    source: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What to know it by. [default: the file's name]"),
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what is read, and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring in a lab notebook: its table of results, its notes, open points, ideas and commands.

    Its own numbers stand in the grid without a run behind them, the papers' as references; what to
    know before believing one is kept with it. What cannot be read is listed with its line.

    A notebook is known by its name. Reading it again takes over what has changed in it, and leaves
    alone what was ticked off here.
    """
    from cxrlab import console
    from cxrlab.imports import notebook as reading
    from cxrlab.imports import notebook_told

    read = reading.read(file, " ".join(source.split()))
    with opened(ctx, changes=True) as (_, db):
        brought = reading.bring_in(db, read, dry_run=dry_run)
    if as_json:
        console.facts(notebook_told.facts(read, brought, dry_run=dry_run))
        return
    for line in notebook_told.page(read, brought, columns=console.width()):
        console.fact(line)
    if dry_run:
        console.say("nothing was written")
    elif any(entry.kind in ("todo", "idea") for entry in read.entries):
        console.say("`cxrlab todo` lists what is open, `cxrlab note` the rest")


@app.command("table")
def table(
    ctx: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What `cxrlab export --format csv` or `--format json` wrote.",
            show_default=False,
        ),
    ],
    source: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What to know it by. [default: the file's name]"),
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Bring in the grid of another lab, as `cxrlab export` wrote it.

    Its numbers stand in the grid without a run behind them, marked, where this lab has none of its
    own; the papers' numbers as references. A table is known by its name: reading it again takes
    over what has changed in it, and what is gone from it is gone here.
    """
    from cxrlab import console, text
    from cxrlab.imports import table as reading

    read = reading.read(file, " ".join(source.split()))
    with opened(ctx, changes=True) as (_, db):
        brought = reading.bring_in(db, read)
    own = sum(number.origin == "own" for number in read.numbers)
    if as_json:
        told = {"source": read.source, "numbers": own, "papers": len(read.numbers) - own}
        console.facts(told | {"empty": read.empty, **brought._asdict()})
        return
    papers = text.plural(len(read.numbers) - own, "paper's number")
    console.fact(f"{read.source}: {text.plural(own, 'number')}, {papers}, {read.empty} empty")
    if brought.new or brought.changed:
        console.say(f"{brought.new} new, {brought.changed} changed; `cxrlab grid` shows them")
    else:
        console.say("they are there already; nothing changed")


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


@app.command("tensorboard")
def tensorboard(
    ctx: typer.Context,
    place: Annotated[Path, place_of("DIR", "A folder with event files in it or below it.")],
    method: TheirMethod = None,
    task: TheirTask = None,
    ratio: TheirRatio = None,
    seed: TheirSeed = None,
    source: TheirSource = "",
    only: Only = "",
    rename: Renames = None,
    as_json: AsJson = False,
) -> None:
    """Bring in the scalars of TensorBoard's event files, a run for each folder that holds some.

    The same files again change nothing; files that have grown since bring their run up to date.
    """
    from cxrlab.imports.tensorboard import read

    bring_in_curves(ctx, read(place.expanduser()), place, as_json=as_json)


@app.command("mlflow")
def mlflow(
    ctx: typer.Context,
    place: Annotated[Path, place_of("DIR", "A folder `mlruns`, or MLflow's SQLite file.")],
    method: TheirMethod = None,
    task: TheirTask = None,
    ratio: TheirRatio = None,
    seed: TheirSeed = None,
    source: TheirSource = "",
    only: Only = "",
    rename: Renames = None,
    as_json: AsJson = False,
) -> None:
    """Bring in the runs of an MLflow file store or database, with their curves and parameters.

    The same runs again change nothing; what was logged since brings them up to date.
    """
    from cxrlab.imports.mlflow import read

    bring_in_curves(ctx, read(place.expanduser()), place, as_json=as_json)


@app.command("wandb")
def wandb(
    ctx: typer.Context,
    place: Annotated[Path, place_of("DIR", "A folder with `run-ID.wandb` in it or below it.")],
    method: TheirMethod = None,
    task: TheirTask = None,
    ratio: TheirRatio = None,
    seed: TheirSeed = None,
    source: TheirSource = "",
    only: Only = "",
    rename: Renames = None,
    as_json: AsJson = False,
) -> None:
    """Bring in the runs of W&B's offline folders, with their curves and settings.

    The same logs again change nothing; logs that have grown since bring their run up to date.
    """
    from cxrlab.imports.wandb import read

    bring_in_curves(ctx, read(place.expanduser()), place, as_json=as_json)


@app.command("csv")
def csv(
    ctx: typer.Context,
    place: Annotated[Path, place_of("FILE", "A table with a column `step`, and one a metric.")],
    method: TheirMethod = None,
    task: TheirTask = None,
    ratio: TheirRatio = None,
    seed: TheirSeed = None,
    source: TheirSource = "",
    rename: Renames = None,
    as_json: AsJson = False,
) -> None:
    """Bring in the curves of a csv table as one run.

    The same table again changes nothing; one that has changed since replaces what it was.
    """
    from cxrlab.imports.tables import read

    bring_in_curves(ctx, [read(place.expanduser())], place, as_json=as_json)


def bring_in_curves(
    ctx: typer.Context, found: Iterable[Found], place: Path, *, as_json: bool
) -> None:
    """Make runs of what was found at `place`, as the command line asks, and tell of each."""
    from cxrlab import console, text
    from cxrlab.exports import facts
    from cxrlab.imports import curves, foreign

    given = ctx.params
    names = ("method", "task", "ratio", "seed", "source", "only")
    asked = curves.Asked(**{name: given[name] for name in names if name in given},
                         renames=curves.renames_of(given["rename"]))  # fmt: skip
    wanted = curves.placed(found, asked, where=str(place))
    command = ["cxrlab", "import", str(ctx.info_name), str(place.resolve())]
    told = []
    with opened(ctx, changes=True) as (lab, db):
        for run, cell in wanted:
            brought = foreign.bring_in(lab, db, run, cell, command)
            told.append((run, brought))
    if as_json:
        console.facts(
            [
                facts.of_run(brought.run)
                | {"done": brought.done, "curves": sorted(run.curves), "points": run.points,
                   "notes": run.notes}
                for run, brought in told
            ]
        )  # fmt: skip
        return
    for run, brought in told:
        said = {
            "new": f"{text.plural(len(run.curves), 'curve')}, {text.plural(run.points, 'point')}",
            "updated": f"brought up to date, {text.plural(run.points, 'point')}",
            "unchanged": "there already; nothing changed",
            "own": "a run of this lab; nothing changed",
        }[brought.done]
        console.fact(f"{brought.run.id} {what(brought.run)}: {said} (`{run.name}`)")
        for note in run.notes:
            console.say(f"{run.name}: {note}")
