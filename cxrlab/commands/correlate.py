"""`cxrlab correlate`: does the loss of pre-training foretell what comes of it?"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened
from cxrlab.asked import every, split

DRAWN = 2
"""So many scatters are drawn in the terminal without being asked for."""
ROWS = 18


class Within(StrEnum):
    """What losses are ranked within."""

    method = "method"
    recipe = "recipe"


def correlate(
    ctx: typer.Context,
    task: Annotated[
        list[str] | None,
        typer.Option(
            metavar="T,...",
            help="Only these tasks. [default: all]",
            autocompletion=completion.tasks,
        ),
    ] = None,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="M,...",
            help="Only these metrics, such as `Dice` or `AUROC/*`. [default: all but single "
            "classes and floors]",
        ),
    ] = None,
    within: Annotated[
        Within, typer.Option(help="Rank losses within a method, or within one recipe of it.")
    ] = Within.method,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw every scatter, however many there are.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the scatters to a .png or .svg.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Correlate the held-out loss of pre-training with every downstream metric.

    By Spearman's rho over checkpoints, within each method and pooled: losses of two methods are
    not of one kind, and are never ranked against each other. A negative rho means that the lower
    loss has the higher value.
    """
    from cxrlab import console
    from cxrlab.errors import unknown_name
    from cxrlab.exports import foretell, picture, terminal
    from trainers import catalog

    tasks = every(split(task), list(catalog.TASKS))
    for name in tasks:
        if name not in catalog.TASKS:
            raise unknown_name("task", name, catalog.TASKS)
    path = picture.checked(out) if out else None
    with opened(ctx) as (lab, db):
        found = foretell.read(db, tasks=tasks, wanted=split(metric), within=within.value)
        if path is not None and found:
            picture.write(lab, foretell.chart(found), path)
    if as_json:
        console.facts([foretell.as_facts(one) for one in found])
        return
    if not found:
        console.say("no finished run has started from a pre-training of this lab yet")
        return
    for line in foretell.lines(found, columns=console.width()):
        console.fact(line)
    if path is not None:
        console.fact(str(path))
    elif plot or len(found) <= DRAWN:
        drawn = terminal.lines(foretell.chart(found), columns=console.width(), rows=ROWS)
        for line in ["", *drawn]:
            console.fact(line)
    else:
        console.say(f"`--plot` draws the {len(found)} scatters, `--task` and `--metric` choose")
