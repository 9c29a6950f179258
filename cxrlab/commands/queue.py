"""`cxrlab queue`: what waits, for what, and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, RunName, RunNames, named, opened
from cxrlab.naming import what

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database
    from store.runs import Run

HEAD = ("", "id", "run", "priority", "")

app = typer.Typer(add_completion=False, rich_markup_mode=None, invoke_without_command=True)


@app.callback()
def queue(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the runs that wait, the next one first, each with what it waits for.

    The order is by priority (0 unless said otherwise; higher comes first), then by age.
    """
    if ctx.invoked_subcommand is None:
        with opened(ctx) as (_, db):
            tell(db, as_json=as_json)


@app.command()
def hold(ctx: typer.Context, runs: RunNames, as_json: AsJson = False) -> None:
    """Keep runs that wait from starting; they keep their place."""
    from store import queue as places

    with opened(ctx, changes=True) as (_, db):
        places.hold(db, _ids(db, runs))
        tell(db, as_json=as_json)


@app.command()
def release(
    ctx: typer.Context,
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN...]",
            help="Held runs; all of them where none is named.",
            autocompletion=completion.run_ids,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Let held runs start when their turn comes."""
    from cxrlab.refresh import TURN
    from store import queue as places

    with opened(ctx, changes=True) as (lab, db):
        held = [run.id for run in places.waiting(db) if run.held is not None]
        places.release(db, _ids(db, runs) if runs else held, reason=TURN)
        tell(db, as_json=as_json)
        _wake(lab)


@app.command()
def first(ctx: typer.Context, runs: RunNames, as_json: AsJson = False) -> None:
    """Move runs before all others, in the order given."""
    from store import queue as places

    with opened(ctx, changes=True) as (_, db):
        places.put_first(db, _ids(db, runs))
        tell(db, as_json=as_json)


@app.command()
def last(ctx: typer.Context, runs: RunNames, as_json: AsJson = False) -> None:
    """Move runs behind all others, in the order given."""
    from store import queue as places

    with opened(ctx, changes=True) as (_, db):
        places.put_last(db, _ids(db, runs))
        tell(db, as_json=as_json)


@app.command()
def before(ctx: typer.Context, run: RunName, other: RunName, as_json: AsJson = False) -> None:
    """Move a run directly before another one."""
    from store import queue as places

    with opened(ctx, changes=True) as (_, db):
        moved, later = (named(db, [name])[0].id for name in (run, other))
        places.put_before(db, moved, later)
        tell(db, as_json=as_json)


@app.command()
def priority(
    ctx: typer.Context,
    number: Annotated[int, typer.Argument(metavar="N", show_default=False)],
    runs: RunNames,
    as_json: AsJson = False,
) -> None:
    """Give runs a priority; higher ones start first."""
    from store import queue as places

    with opened(ctx, changes=True) as (_, db):
        places.set_priority(db, _ids(db, runs), number)
        tell(db, as_json=as_json)


def tell(db: Database, *, as_json: bool) -> None:
    """Print the queue as it is now."""
    from cxrlab import console
    from cxrlab.exports import facts
    from store import queue as places

    found = places.waiting(db)
    if as_json:
        console.facts([facts.of_run(run) for run in found])
        return
    if not found:
        console.say("nothing waits; `cxrlab launch METHOD --task TASK` queues runs")
        return
    for line in listing(found, columns=console.width()):
        console.fact(line)


def listing(found: Sequence[Run], *, columns: int) -> list[str]:
    """Return the lines of the queue, what a run waits for on a line of its own below it."""
    from cxrlab import console

    rows = [
        [str(place), run.id, what(run), str(run.priority), "held" if run.held is not None else ""]
        for place, run in enumerate(found, start=1)
    ]
    styles = [["dim", "bold", "", "", "yellow"] for _ in found]
    lines = console.table(HEAD, rows, right=(0, 3), gives_way=2, styles=styles, columns=columns)
    out = lines[:1]
    for run, line in zip(found, lines[1:], strict=True):
        out.append(line)
        out += console.wrapped(run.reason, indent=8, columns=columns) if run.reason else []
    return out


def _ids(db: Database, names: Sequence[str]) -> list[str]:
    return [run.id for run in named(db, names)]


def _wake(lab: Lab) -> None:
    from cxrlab import agent

    agent.ensure_agent(lab)
