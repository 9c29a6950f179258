"""`cxrlab runs`: list runs."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from cxrlab.lagging import Behind
    from store.db import Database
    from store.runs import Run
    from store.use import Use

SHOWN = 50
"""How many runs the table shows where `--limit` does not say."""

WIDE = 100
"""With so many columns there is room for what runs used of GPUs."""

NARROW = 80
"""With fewer columns some are left out; a pipe has as many."""

DROPPED = ("settings", "done", "seed", "ratio", "when", "method")
"""Columns that are left out, the first of them first."""

HEAD = ("id", "state", "method", "task", "ratio", "seed", "settings", "done", "when")
SETTINGS = HEAD.index("settings")
"""The column that is there where a run has settings of its own."""


def runs(
    ctx: typer.Context,
    state: Annotated[
        list[str] | None, typer.Option(help="Only runs in this state; may be given again.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(help="Only runs of this method.", autocompletion=completion.methods),
    ] = None,
    task: Annotated[
        str | None, typer.Option(help="Only runs of this task.", autocompletion=completion.tasks)
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            "--filter",
            "-F",
            metavar="FILTER",
            help="Only runs that fit words and terms such as "
            "`state:running blr>1e-4 AUROC>0.7 tag:x`; docs/filtering.md tells them all.",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", min=0, help="How many; 0 for all. [default: 50]"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List runs, newest first.

    A line below a run says why it is in its state, where there is something to say.
    """
    from cxrlab import console, lagging, text, use_words
    from cxrlab.errors import unknown_name
    from cxrlab.exports import facts
    from store import runs as store_runs
    from store import tags, use
    from trainers import catalog

    for name in state or ():
        if name not in store_runs.STATES:
            raise unknown_name("state", name, store_runs.STATES)
    if method is not None and method not in catalog.METHODS:
        raise unknown_name("method", method, catalog.METHODS)
    if task is not None and task not in (*catalog.TASKS, catalog.PRETRAIN):
        raise unknown_name("task", task, (*catalog.TASKS, catalog.PRETRAIN))
    most = (None if as_json else SHOWN) if limit is None else limit or None
    states = tuple(state or ())
    with opened(ctx) as (lab, db):
        if where is None:
            found = store_runs.select(db, states=states, method=method, task=task, limit=most)
            fitting = store_runs.count(db, states=states, method=method, task=task)
        else:
            found, fitting = filtered(db, where, states, {"method": method, "task": task}, most)
        tagged = tags.of(db, [run.id for run in found])
        behind = lagging.of_running(db, found)
        used = use.of_runs(db, [run.id for run in found], now=time.time())
        everything = store_runs.count(db)
        asleep = store_runs.count(db, states=("queued",)) if nobody_starts(lab) else 0
    if as_json:
        late = {id: each.as_facts() for id, each in behind.items()}
        console.facts(
            [
                facts.of_run(run)
                | {
                    "behind": late.get(run.id),
                    "tags": tagged.get(run.id, ()),
                    "use": use_words.facts(used.get(run.id)),
                }
                for run in found
            ]
        )
        return
    if not everything and lab.runs_dir.is_dir() and any(p.is_dir() for p in lab.runs_dir.iterdir()):
        console.say(f"no run is in the registry, and folders lie in {lab.runs_dir}:")
        console.say("`cxrlab rebuild` reads them")
    elif not everything:
        console.say("no runs yet; `cxrlab launch mrm --task siim --ratio 10` queues the first")
    elif not found:
        none = (
            "the only run does not fit" if everything == 1 else f"none of {everything:,} runs fits"
        )
        console.say(f"{none}; `cxrlab runs` lists all")
    else:
        columns, now = console.width(), time.time()
        for line in listing(found, behind, tagged, used, columns=columns, now=now):
            console.fact(line)
        if len(found) < fitting:
            left = text.plural(fitting - len(found), "older one")
            console.say(f"{left} not shown; `--limit 0` shows all")
    if asleep and not as_json:
        console.say(f"{asleep} in the queue and no agent to start them; `cxrlab agent start`")


def filtered(
    db: Database,
    where: str,
    states: tuple[str, ...],
    names: Mapping[str, str | None],
    most: int | None,
) -> tuple[list[Run], int]:
    """Return the newest runs that fit a filter and the options beside it, and how many fit.

    Raises:
        NotFound: there is no field, setting or metric of a name.
        Usage: a value does not go with what it is compared to.
    """
    from cxrlab import indexing
    from store import matching, runs

    asked, _ = indexing.understood(db, where)
    assert asked is not None  # all settings have been read
    more = [matching.Term("text", "state", "=", states)] if states else []
    more += [matching.Term("text", n, "=", (value,)) for n, value in names.items() if value]
    terms, now = (*asked.terms, *more), time.time()
    ids = matching.ids(db, terms, limit=most, now=now)
    return [runs.get(db, id) for id in ids], matching.count(db, terms, now=now)


def nobody_starts(lab: Lab) -> bool:
    """Return whether the lab has no agent."""
    from cxrlab import agent

    return not agent.status(lab).alive


def listing(
    found: list[Run],
    behind: Mapping[str, Behind],
    tagged: Mapping[str, tuple[str, ...]],
    used: Mapping[str, Use],
    *,
    columns: int,
    now: float,
) -> list[str]:
    """Return the lines of a table of runs, each with what there is to say of it below it."""
    from cxrlab import console, naming, text

    rows = [
        [
            run.id,
            text.state(run.state),
            run.method,
            run.task,
            text.percent(run.ratio),
            str(run.seed),
            naming.name(run.command, longest=naming.LONGEST),
            done(run),
            when(run, now=now),
        ]
        for run in found
    ]
    styles = [["bold", text.STATES[run.state].style, *[""] * 7] for run in found]
    head, gives_way = list(HEAD), SETTINGS
    right: tuple[int, ...] = (4, 5, 7)
    if not any(row[SETTINGS] for row in rows):
        for each in (head, *rows, *styles):
            del each[SETTINGS]
        right, gives_way = (4, 5, 6), 3
    if columns >= WIDE and any(each.gpu_hours for each in used.values()):
        right = (*right, len(head) - 1, len(head))
        head[-1:-1] = "GPU h", "busy"
        for run, row, style in zip(found, rows, styles, strict=True):
            row[-1:-1] = gpu_use(used.get(run.id))
            style[-1:-1] = "", ""
    lines = console.table(
        head,
        rows,
        right=right,
        gives_way=gives_way,
        dropped=DROPPED if columns < NARROW else (),
        styles=styles,
        columns=columns,
    )
    out = lines[:1]
    for run, line in zip(found, lines[1:], strict=True):
        out.append(line)
        if run.reason:
            out += console.wrapped(run.reason, indent=8, columns=columns)
        if run.id in tagged:
            said = " ".join(f"#{tag}" for tag in tagged[run.id])
            out += console.wrapped(said, indent=8, columns=columns)
        if run.id in behind:
            out += console.wrapped(behind[run.id].told(), indent=8, columns=columns)
    return out


def gpu_use(used: Use | None) -> tuple[str, str]:
    """Return how many GPU hours a run took, and how busy the GPUs were."""
    hours = used.gpu_hours if used else None
    busy = used.utilization if used else None
    return (
        "" if hours is None else f"{hours:.1f}",
        "" if busy is None else f"{busy:.0f} %",
    )


def done(run: Run) -> str:
    """Return how much of a run is done, in percent."""
    if run.done is None or not run.total:
        return ""
    return f"{100 * run.done / run.total:.0f} %"


def when(run: Run, *, now: float) -> str:
    """Return how long a running run still takes, or how long ago another ended or was made."""
    from cxrlab import text

    if run.state == "running":
        return f"{text.duration(run.eta_s)} left" if run.eta_s is not None else "starting"
    return text.ago(run.ended or run.created, now)
