"""`cxrlab grid`: print the comparison grid."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened


def grid(
    ctx: typer.Context,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this method; may be given again.", autocompletion=completion.methods
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this task, or task:ratio; may be given again.",
            autocompletion=completion.tasks,
        ),
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(
            help="These columns: task, task:ratio, task:metric, number, description, log, status, "
            "a group of cxrlab.toml, or `notebook` for its table; several with commas.",
            autocompletion=completion.columns,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the grid: a row for each method, a column for each task and share of the labels.

    A cell is this lab's mean ± standard deviation (number of seeds), then the paper's number in
    brackets; or the state of the run that will fill it.
    """
    from cxrlab import console
    from cxrlab.exports import facts
    from cxrlab.exports.plain import page
    from cxrlab.grid.cells import grid_settings, read_grid

    with opened(ctx) as (lab, db):
        chosen = grid_settings(lab.settings.grid, method, [*(task or ()), *(columns or ())])
        shown = read_grid(db, chosen, lab.settings.language)
    if as_json:
        console.facts([facts.of_cell(cell) for cell in shown.cells()])
        return
    for line in page(shown, columns=console.width()):
        console.fact(line)
    if all(cell.state in ("empty", "none") for cell in shown.cells()):
        console.say("nothing has run yet; `cxrlab launch mrm --task siim --ratio 10` fills a cell")
