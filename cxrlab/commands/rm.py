"""`cxrlab rm`: remove runs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab.access import AsJson, RunNames, named, opened
from cxrlab.naming import what

if TYPE_CHECKING:
    from store.runs import Run


def rm(
    ctx: typer.Context,
    runs: RunNames,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove runs: their rows in the registry and their folders, checkpoints included.

    A run that is under way has to be stopped first; one that others start from stays.
    """
    from cxrlab import console
    from cxrlab.exports import facts
    from cxrlab.queueing import steering

    with opened(ctx, changes=True) as (lab, db):
        doomed = named(db, runs)
        if not yes:
            ask(doomed)
        gone = []
        for run in doomed:
            steering.remove(lab, db, run)
            gone.append(run)
            if not as_json:
                console.fact(f"removed {run.id} ({what(run)})")
    if as_json:
        console.facts([facts.of_run(run) for run in gone])


def ask(doomed: list[Run]) -> None:
    """Say what would be lost and ask whether it shall be; ends the command if not.

    Raises:
        Usage: there is nobody to ask.
    """
    from cxrlab import console, text
    from cxrlab.errors import Usage

    if not sys.stdin.isatty():
        raise Usage("there is no terminal to ask on", "`--yes` removes without asking")
    for run in doomed:
        size = text.size(size_of(Path(run.folder)))
        console.say(f"{run.id} ({what(run)}), {run.state}: {run.folder}, {size}")
    if not typer.confirm(f"remove {text.plural(len(doomed), 'run')} for good?", err=True):
        console.say("nothing was removed")
        raise typer.Exit(1)


def size_of(folder: Path) -> int:
    """Return how many bytes the files in a folder take."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())
