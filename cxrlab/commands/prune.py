"""`cxrlab prune`: remove checkpoints that nobody needs, to keep within a budget."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.keeping import Spare
    from cxrlab.lab import Lab

MOST_TOLD = 100
"""Lines of files where a terminal is asked; `--dry-run` lists all."""


def prune(
    ctx: typer.Context,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help='Such as "200 GiB"; 0 spares all that nobody needs. [default: the lab\'s]',
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed, and stop.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove checkpoints that nobody needs, the oldest first, until the budget is kept.

    What a cell cites, what a run starts from, what belongs to a run under way, and the best and the
    last of every run stay; only what a newer run of the same cell, recipe and seed repeats has
    neither. The agent does the same by itself where `[checkpoints] budget` is set.
    """
    from cxrlab import console, pruning, text

    with opened(ctx) as (lab, db):
        limit = limit_of(lab, budget)
        found = pruning.look(lab, db)
        spare = found.spare(limit)
        gone: list[Spare] = []
        if spare and not dry_run:
            if not yes:
                ask(spare)
            gone = pruning.remove(lab, db, found, spare)
        listed = spare if dry_run else gone
    if as_json:
        console.facts(
            {
                "budget": limit,
                "taken": found.taken,
                "freed": sum(each.file.bytes for each in gone),
                "removed" if not dry_run else "spare": [as_facts(lab, each) for each in listed],
            }
        )
        return
    for line in lines(listed):
        console.fact(line)
    console.say(pruning.told(found.taken, limit, spare))
    freed = text.size(sum(each.file.bytes for each in listed))
    if dry_run:
        console.say(f"{text.plural(len(listed), 'file')}, {freed}, would be removed; nothing was")
    elif listed:
        console.say(f"removed {text.plural(len(listed), 'file')}, {freed}")
    else:
        console.say("nothing was removed")


def limit_of(lab: Lab, budget: str | None) -> int:
    """Return the budget that was asked for, else the lab's.

    Raises:
        Usage: it is no size, or the lab has none.
    """
    from cxrlab import text
    from cxrlab.errors import Usage

    if budget is None:
        if lab.settings.checkpoints.budget is None:
            raise Usage(
                f"{lab.settings_file} sets no budget for checkpoints",
                'add `[checkpoints]` with `budget = "200 GiB"`, or give `--budget`',
            )
        return lab.settings.checkpoints.budget
    size = text.bytes_of(budget)
    if size is None:
        raise Usage(f"`--budget {budget}` is no size", 'write `--budget "200 GiB"`')
    return size


def ask(spare: Sequence[Spare]) -> None:
    """List what would be removed and ask whether it shall be; ends the command if not.

    Raises:
        Usage: there is nobody to ask.
    """
    from cxrlab import console, text
    from cxrlab.errors import Usage

    if not sys.stdin.isatty():
        would = f"{text.plural(len(spare), 'file')} would be removed"
        raise Usage(
            f"{would}, and there is no terminal to ask on",
            "`--yes` removes without asking, `--dry-run` lists them",
        )
    for line in lines(spare[:MOST_TOLD]):
        console.say(line)
    if len(spare) > MOST_TOLD:
        console.say(f"and {len(spare) - MOST_TOLD:,} more; `--dry-run` lists all")
    size = text.size(sum(each.file.bytes for each in spare))
    question = f"remove {text.plural(len(spare), 'file')}, {size}, for good?"
    if not typer.confirm(question, err=True):
        console.say("nothing was removed")
        raise typer.Exit(1)


def lines(spare: Sequence[Spare]) -> list[str]:
    """Return a line for each file: its size, where it lies among the runs, and why it can go."""
    from cxrlab import console, text
    from cxrlab.harmless import harmless

    rows = [[text.size(each.file.bytes), harmless(each.file.path), each.why] for each in spare]
    return console.table(["", "", ""], rows, right=(0,))[1:] if rows else []


def as_facts(lab: Lab, each: Spare) -> dict[str, Any]:
    """Return a file as JSON."""
    return {
        "run": each.file.run,
        "path": str(lab.runs_dir / each.file.path),
        "kind": each.file.kind,
        "bytes": each.file.bytes,
        "saved": each.file.saved,
        "why": each.why,
    }
