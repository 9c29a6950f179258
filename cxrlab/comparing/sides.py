"""What do the names A and B of a comparison stand for?

A method stands for the runs that the grid shows of it, a run for itself. Where a method has no run
in a cell, but its paper tells a number, that number stands in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cxrlab import grid
from cxrlab.errors import NotFound, Usage, nearest
from cxrlab.grid.published import Paper, read_published
from cxrlab.grid.stale import reason
from store import cells, results, runs
from store.db import Database
from trainers.catalog import METHODS, PRETRAIN, TASKS

PAPER = "paper"
"""In place of B: the numbers of A's own paper."""
PREDICTIONS = "predictions.npz"

Key = tuple[str, int | None]
"""A task and its ratio."""


@dataclass(frozen=True)
class Entry:
    """What a side has in one cell: runs that differ in their seed alone, or a paper's number."""

    run_ids: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    """Their predictions."""
    preset: str = ""
    train_split: str = ""
    test_split: str = ""
    others: int = 0
    """How many further recipes have a number here."""
    stale: str = ""
    """Why the runs no longer stand for what the lab has, where they do not."""
    paper: Paper | None = None


@dataclass(frozen=True)
class Side:
    """What the name A or B stands for."""

    name: str
    method: str
    entries: Mapping[Key, Entry]
    whole: bool
    """Whether it is a method with all its cells, and no single run."""


def side_of(db: Database, name: str, groups: Sequence[cells.Group]) -> Side:
    """Return what a name on the command line stands for: a method first, then a run.

    Raises:
        NotFound: it is neither.
        Usage: it is a run without a test result.
    """
    if name in METHODS:
        return method_side(db, name, groups)
    try:
        run = runs.find(db, name)
    except runs.NoSuchRun:
        close = nearest(name, METHODS)
        hint = f"did you mean the method `{close}`?" if close else "`cxrlab runs` lists the runs"
        raise NotFound(f"`{name}` is neither a run nor a method", hint) from None
    if run.task == PRETRAIN:
        raise Usage(
            f"{run.id} is a pre-training; its loss does not compare across methods",
            "compare the fine-tunings that start from it",
        )
    if run.state != "succeeded":
        raise Usage(f"{run.id} is {run.state} and has no test result to compare")
    told = ((results.document(db, run.id) or {}).get("data") or {}).get("split_sha256") or {}
    splits = (str(told.get("train") or ""), str(told.get("test") or ""))
    entry = Entry((run.id,), (_predictions(db, run),), run.preset, *splits)
    return Side(run.id, run.method, {(run.task, run.ratio): entry}, whole=False)


def method_side(db: Database, method: str, groups: Sequence[cells.Group]) -> Side:
    """Return a method with what the grid shows in each of its cells, else its paper's number."""
    entries: dict[Key, Entry] = {}
    for (of, task, ratio, metric), paper in read_published().items():
        if of == method and task in TASKS and metric == TASKS[task].metric:
            entries[task, ratio] = Entry(paper=paper)
    found: dict[Key, list[cells.Group]] = {}
    for group in groups:
        entry = TASKS.get(group.task)
        if entry and group.method == method and group.metric == entry.metric:
            found.setdefault((group.task, group.ratio), []).append(group)
    starts = {s.run_id for several in found.values() for g in several for s in g.starts}
    encoders = cells.encoders(db, starts - {""})
    for key, several in found.items():
        stale = {group: why for group in several if (why := reason(group, encoders))}
        chosen = grid.choose(several, better=TASKS[key[0]].better, stale=stale)
        if chosen is not None:
            made = _entry(db, chosen, others=len(several) - 1)
            entries[key] = replace(made, stale=stale.get(chosen, ""))
    return Side(method, method, entries, whole=True)


def paper_of(side: Side) -> Side:
    """Return the numbers of a side's own paper as the other side.

    Raises:
        NotFound: no paper's number of the method is known.
    """
    known = {
        (task, ratio): Entry(paper=paper)
        for (method, task, ratio, metric), paper in read_published().items()
        if method == side.method and task in TASKS and metric == TASKS[task].metric
    }
    if not known:
        raise NotFound(f"no paper's number of `{side.method}` is known here")
    return Side(PAPER, side.method, known, whole=True)


def shared(
    first: Side, second: Side, *, tasks: Sequence[str] = (), ratios: Sequence[int] = ()
) -> list[Key]:
    """Return the cells to compare, in the catalog's order: those where one side at least has runs.

    Two runs are compared whatever their cells are, or refused for it.

    Raises:
        NotFound: there are none.
    """
    keys = [
        key
        for key in first.entries
        if (other := second.entries.get(counterpart(second, key)))
        and not (first.entries[key].paper and other.paper)
        and (not tasks or key[0] in tasks)
        and (not ratios or key[1] in ratios)
    ]
    if not keys:
        sides = [f"{side.name} has {_cells(side, tasks, ratios)}" for side in (first, second)]
        raise NotFound(
            f"no such cell is in both with a run behind it: {'; '.join(sides)}",
            f"`cxrlab runs {' '.join(f'--task {task}' for task in tasks)}".rstrip()
            + "` lists what is under way",
        )
    order = list(TASKS)
    return sorted(keys, key=lambda key: (order.index(key[0]), key[1] or 0))


def counterpart(side: Side, key: Key) -> Key:
    """Return the cell of `side` to hold against `key`: a single run has but one."""
    return key if side.whole else next(iter(side.entries))


def _entry(db: Database, group: cells.Group, *, others: int) -> Entry:
    files = tuple(_predictions(db, runs.get(db, id)) for id in group.run_ids)
    splits = (group.train_split, group.test_split)
    return Entry(group.run_ids, files, group.preset, *splits, others)


def _predictions(db: Database, run: runs.Run) -> Path:
    document = results.document(db, run.id) or {}
    return Path(run.folder) / str(document.get("predictions") or PREDICTIONS)


def where(key: Key) -> str:
    """Return a cell's place in words: `siim 10 %`."""
    return key[0] + (f" {key[1]} %" if key[1] is not None else "")


def _cells(side: Side, tasks: Sequence[str], ratios: Sequence[int]) -> str:
    said = [
        where(key) + " (paper)" * bool(entry.paper)
        for key, entry in side.entries.items()
        if (not tasks or key[0] in tasks) and (not ratios or key[1] in ratios)
    ]
    return ", ".join(said) or "no result"
