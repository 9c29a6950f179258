"""What can a command line say of runs that another tracker has kept? The same for every tracker."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab import completion

TheirMethod = Annotated[
    str | None,
    typer.Option(
        "--method",
        help="The method of the runs, if they were not logged with a setting `method`.",
        autocompletion=completion.methods,
        show_default=False,
    ),
]
TheirTask = Annotated[
    str | None,
    typer.Option(
        "--task",
        help="`pretrain`, or the task they are of; else their setting `task`.",
        autocompletion=completion.tasks,
        show_default=False,
    ),
]
TheirRatio = Annotated[
    int | None,
    typer.Option(
        "--ratio", min=1, max=100, help="Percent of the labels; else their setting, else 100."
    ),
]
TheirSeed = Annotated[
    int | None, typer.Option("--seed", min=0, help="Their seed; else their setting, else 0.")
]
TheirSource = Annotated[
    str,
    typer.Option(
        "--source",
        metavar="TEXT",
        help="Where they come from; runs of one source are repeats of each other.",
        show_default="the run's name",
    ),
]
Only = Annotated[
    str, typer.Option("--only", metavar="PATTERN", help="Only runs of such a name: `*lr1e-4*`.")
]
Renames = Annotated[
    list[str] | None,
    typer.Option(
        "--rename",
        metavar="OLD=NEW",
        help="Call a curve otherwise, such as `val_dice=val/Dice`; may be given again.",
    ),
]


def place_of(metavar: str, about: str) -> typer.models.ArgumentInfo:
    """Return the argument that names where the logs of another tracker lie."""
    argument = typer.Argument(metavar=metavar, help=about, show_default=False)
    assert isinstance(argument, typer.models.ArgumentInfo)
    return argument
