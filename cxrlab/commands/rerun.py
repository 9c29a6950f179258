"""`cxrlab rerun`: run a finished run again, and say whether the same comes of it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, RunName, named, opened
from cxrlab.naming import what

if TYPE_CHECKING:
    from cxrlab.rerunning import Comparison
    from store.db import Database
    from store.runs import NewRun, Run

MOST_TOLD = 10
"""Lines of numbers that differ; the rest is counted."""

MOST_LETTERS = 40


def rerun(
    ctx: typer.Context,
    run: RunName,
    other: Annotated[
        str | None,
        typer.Argument(
            metavar="[OTHER]",
            help="With --compare: what to compare with. [default: the run that RUN repeats]",
            autocompletion=completion.run_ids,
            show_default=False,
        ),
    ] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Run nothing; compare two runs that have ended.")
    ] = False,
    checked_out: Annotated[
        bool,
        typer.Option(
            "--checkout",
            help="Make its code anew, from its commit and diff.patch, and make sure that it is the "
            "same.",
        ),
    ] = False,
    repository: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="With --checkout: a checkout that has the commit. [default: the run's]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be queued, and stop.")
    ] = False,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for it, and compare; exit 1 if not the same.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a finished run again: the same command, code and seed, as a new run.

    Its code is the copy that it was queued with, or one that `--checkout` makes from git.
    Its numbers are compared bit for bit. Where they differ, what else is different is told:
    settings, code, versions, machine, data. A CPU gives the same; a GPU need not.
    """
    from cxrlab import agent, console, rerunning
    from cxrlab.errors import Usage
    from cxrlab.exports import facts
    from cxrlab.queueing import disk

    if other is not None and not compare:
        raise Usage(f"`{other}`: only `--compare` takes a second run")
    if repository is not None and not checked_out:
        raise Usage("`--repository` goes with `--checkout`")
    with opened(ctx, changes=not compare) as (lab, db):
        (first,) = named(db, [run])
        if compare:
            second = counterpart(db, first, other)
            pair = (first, second) if other is not None else (second, first)
            conclude(db, *pair, as_json=as_json)
            return
        new = rerunning.again(lab, first)
        if told := disk.Disk(db).told([new]):
            console.say(f"it {told}")
        if dry_run:
            if as_json:
                console.facts({**new._asdict(), "id": None, "state": "planned", "reason": "",
                               "rerun_of": first.id})  # fmt: skip
            else:
                console.fact(f"{what(new)}: {first.id} again")
                console.fact(f"  {shlex.join(new.command)}")
                console.say("nothing was queued")
            return
        queued = rerunning.queue(
            lab, db, first, new, checked_out=checked_out, repository=repository
        )
        for line in words_on(first, new):
            console.say(line)
        agent.ensure_agent(lab)
        if not wait:
            if as_json:
                console.facts(facts.of_run(queued) | {"rerun_of": first.id})
                return
            console.fact(f"{queued.id} ({what(queued)}) {queued.state}: {first.id} again")
            console.say(f"`cxrlab rerun --compare {queued.id}` compares them when it has ended")
            return
        from cxrlab.commands.launch import waited_for

        if not waited_for(lab, db, [queued.id]):
            raise typer.Exit(1)
        (ended,) = named(db, [queued.id])
        conclude(db, first, ended, as_json=as_json)


def words_on(first: Run, new: NewRun) -> list[str]:
    """Return what is to be known before numbers are compared."""
    from cxrlab.code import frozen

    code = frozen.facts(Path(first.folder))
    found = []
    if code is None:
        found.append(f"{first.id} does not tell its code; this one executes today's")
    elif code["before"]:
        found.append(f"{first.id} was begun with other code; this one executes its last")
    if new.command[0] != first.command[0]:
        found.append(f"{first.command[0]} is gone; this one runs by {new.command[0]}")
    return found


def counterpart(db: Database, run: Run, other: str | None) -> Run:
    """Return the run to compare with.

    Raises:
        Usage: none is named, and `run` repeats none.
        NoSuchRun: it is not there.
    """
    from cxrlab import rerunning
    from cxrlab.errors import Usage

    name = other or rerunning.original_of(run)
    if not name:
        raise Usage(f"{run.id} repeats no other run", f"`cxrlab rerun --compare {run.id} OTHER`")
    (found,) = named(db, [name])
    return found


def conclude(db: Database, first: Run, second: Run, *, as_json: bool) -> None:
    """Compare two runs and tell; ends the command with 1 where they are not the same."""
    from cxrlab import console, rerunning
    from cxrlab.exports import facts

    found = rerunning.compare(db, first, second)
    if as_json:
        console.facts(facts.of_run(second) | {"rerun_of": first.id} | as_facts(found))
    else:
        tell(found, first.id, second.id)
    if not found.same:
        raise typer.Exit(1)


def as_facts(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON."""
    return {
        "same": found.same,
        "numbers": found.numbers,
        "unlike": [each._asdict() for each in found.unlike],
        "made_of": [each._asdict() for each in found.made_of],
    }


def tell(found: Comparison, first: str, second: str) -> None:
    """Print the verdict, the first numbers that differ, and what is different besides."""
    from cxrlab import console

    if found.same:
        console.fact(f"{second} is {first} bit for bit: {found.numbers:,} numbers are the same")
    elif not found.numbers:
        console.fact(f"{first} and {second} have no numbers to compare")
    else:
        console.fact(
            f"{second} is not {first}: {len(found.unlike):,} of {found.numbers:,} numbers differ"
        )
    rows = [
        [each.metric, "result" if each.step is None else f"step {each.step}", _said(each.before),
         "→", _said(each.after)]
        for each in found.unlike[:MOST_TOLD]
    ]  # fmt: skip
    for line in console.table([""] * 5, rows)[1:] if rows else ():
        console.fact(line)
    if len(found.unlike) > MOST_TOLD:
        console.fact(f"and {len(found.unlike) - MOST_TOLD:,} more")
    made = [[each.name, _said(each.before), "→", _said(each.after)] for each in found.made_of]
    if made:
        console.fact("what is different:")
        for line in console.table([""] * 4, made)[1:]:
            console.fact(line)
    elif not found.same:
        console.fact("nothing else is known to be different")


def _said(value: Any) -> str:
    text = "–" if value is None else repr(value) if isinstance(value, float) else str(value)
    return " ".join(text.split())[:MOST_LETTERS]
