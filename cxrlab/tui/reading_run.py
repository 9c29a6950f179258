"""What is known of one run, of its curves, and of the runs behind a cell?

Each function opens the registry for itself and is called on a thread, never by a handler.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import (
    advice,
    behind,
    cloning,
    grid,
    restricted,
    use_words,
)
from cxrlab.behind import Member
from cxrlab.comparing import presets
from cxrlab.errors import NotFound
from cxrlab.exports.notebook import settings_for as as_notebook
from cxrlab.grid import cells
from cxrlab.lab import Lab
from cxrlab.tui.reading import registry
from store import (
    artifacts,
    notes,
    points,
    results,
    runs,
    use,
    within,
)
from store.db import Database
from store.points import Point
from store.runs import Run
from trainers.catalog import PRETRAIN

MOST_POINTS = 1000
"""Points of one curve; a plot on a wide screen has some 400 columns of dots."""

MOST_ALIKE = 200
"""Runs that there are to choose from at most, newest first."""

PAPER = "the paper's preset"


class Behind(NamedTuple):
    """A run of a cell, with its number, its checkpoints and what it was made of."""

    run: Run
    result: results.Result | None
    saved: tuple[artifacts.Artifact, ...]
    member: Member | None = None
    """Of a run that has succeeded: its data, predictions and commit."""


class CellView(NamedTuple):
    """What stands behind a cell."""

    cell: grid.Cell
    behind: tuple[Behind, ...]


class RunView(NamedTuple):
    """A run with what is known of it, curves aside."""

    run: Run
    parent: Run | None
    metrics: tuple[str, ...]
    """Of its training; those of what it uses of its machine are in `use_metrics`."""
    last: dict[str, float]
    results: tuple[results.Result, ...]
    saved: tuple[artifacts.Artifact, ...]
    warnings: tuple[results.Warned, ...]
    attempts: tuple[results.Attempt, ...]
    restricted: str = ""
    """The data set whose reports and images this run may not show."""
    next: str = ""
    """What to do about it; empty where all is well."""
    notes: tuple[str, ...] = ()
    """What was noted about it, newest first."""
    use_metrics: tuple[str, ...] = ()
    used: use.Use | None = None
    """What it used of its machine; None where it has never begun."""
    gone: bool = False
    """Whether its folder is no longer there."""


class Compared(NamedTuple):
    """In what the settings of a run differ from others."""

    other: str
    """A run's id, or `PAPER`."""
    differences: tuple[cloning.Difference, ...] | None
    """None while they are worked out."""
    why: str = ""
    """Why there is nothing to compare with."""


class NewPoints(NamedTuple):
    """Points of one metric: all of them, or those after the step that was asked for."""

    metric: str
    attempt: int
    after: int | None
    points: tuple[Point, ...]


def read_cell(lab: Lab, place: tuple[str, str, int | None, str]) -> CellView:
    """Return the runs of a cell, newest first, with their numbers and checkpoints."""
    method, task, ratio, metric = place
    with registry(lab) as db:
        every = _cells(lab, db)
        cell = next((c for c in every if (c.method, c.task, c.ratio, c.metric) == place), None)
        if cell is None:
            raise NotFound(f"the grid has no cell `{method} {task} {ratio} {metric}`")
        found = runs.select(db, method=method, task=task)
        members = tuple(_behind(db, run, metric) for run in found if run.ratio == ratio)
    return CellView(cell, members)


def _cells(lab: Lab, db: Database) -> Iterator[grid.Cell]:
    """Yield the cells of the lab's own table, then those of a notebook's."""
    yield from cells.read_grid(db, lab.settings.grid).cells()
    yield from cells.read_grid(db, as_notebook(lab.settings.grid)).cells()


def find_cell(lab: Lab, named: str) -> grid.Cell:
    """Return the first cell of the grid that notes call `METHOD:TASK`, `:RATIO` and `:METRIC`.

    Raises:
        NotFound: the grid does not show it.
    """
    with registry(lab) as db:
        method, task, *rest = named.split(":")
        for cell in _cells(lab, db):
            narrower = {str(cell.ratio), cell.metric}
            if (cell.method, cell.task) == (method, task) and narrower.issuperset(rest):
                return cell
    raise NotFound(f"the grid has no cell `{named}`", "`[grid]` in cxrlab.toml says what it has")


def _behind(db: Database, run: Run, metric: str) -> Behind:
    named = {result.metric: result for result in results.of_run(db, run.id)}
    saved = tuple(a for a in artifacts.of_run(db, run.id) if a.kind != "sample")
    member = behind.member_of(db, run.id, metric) if run.state == "succeeded" else None
    return Behind(run, named.get(f"test/{metric}"), saved, member)


def read_run(lab: Lab, run_id: str, *, now: float | None = None) -> RunView:
    """Return what is known of a run; `now` is the clock's time where it is not given."""
    with registry(lab) as db:
        run = runs.get(db, run_id)
        config = cloning.configuration(run)
        names = points.metric_names(db, run_id)
        return RunView(
            run,
            runs.get(db, run.parent) if run.parent else None,
            tuple(name for name in names if not points.is_use(name)),
            points.last(db, run_id),
            tuple(results.of_run(db, run_id)),
            restricted.shown(lab, run.task, artifacts.of_run(db, run_id)),
            tuple(results.warnings(db, run_id)),
            tuple(results.attempts(db, run_id)),
            restricted.hidden(lab, run.task),
            advice.next_step(run, config) or use_words.idle(lab, db, run, config),
            tuple(entry.text for entry in notes.select(db, about=run.id)),
            tuple(name for name in names if points.is_use(name)),
            use.of_run(db, run_id, now=time.time() if now is None else now),
            gone=not Path(run.folder).is_dir(),
        )


def read_points(
    lab: Lab, run_id: str, asked: Sequence[tuple[str, int | None]], attempt: int
) -> list[NewPoints]:
    """Return for each (metric, after) what came after that step; all where it is None."""
    with registry(lab) as db:
        return [
            NewPoints(
                metric,
                attempt,
                after,
                tuple(points.curve(db, run_id, metric, after=after, most=MOST_POINTS)),
            )
            for metric, after in asked
        ]


def read_settings(folder: Path) -> dict[str, object]:
    """Return the resolved configuration of a run; empty while it has none."""
    return within.read_object(folder, "config.json")


def read_other(lab: Lab, run_id: str, metric: str) -> tuple[Run, NewPoints]:
    """Return a run with all points of one metric."""
    with registry(lab) as db:
        run = runs.get(db, run_id)
        curve = points.curve(db, run_id, metric, most=MOST_POINTS)
        return run, NewPoints(metric, run.attempt, None, tuple(curve))


def read_window(
    lab: Lab, asked: Sequence[tuple[str, str]], first: int, last: int
) -> dict[tuple[str, str], tuple[Point, ...]]:
    """Return for each (run, metric) its points from the first step to the last.

    A part of a curve has points enough of its own: it shows what the whole curve hides.
    """
    with registry(lab) as db:
        return {
            (run_id, metric): tuple(
                points.curve(db, run_id, metric, after=first - 1, until=last, most=2 * MOST_POINTS)
            )
            for run_id, metric in asked
        }


def read_alike(lab: Lab, run: Run, metric: str = "") -> list[Run]:
    """Return the other runs of the same method, those of the same task first, then newest first.

    With a metric only those that have points of it; without one only those of the same task.
    """
    with registry(lab) as db:
        same = runs.select(db, method=run.method, task=run.task, limit=MOST_ALIKE)
        if not metric:
            return [other for other in same if other.id != run.id]
        every = [*same, *runs.select(db, method=run.method, limit=MOST_ALIKE)]
        found = {other.id: other for other in every if other.id != run.id}
        return [each for each in found.values() if points.is_logged(db, each.id, metric)]


def read_differences(lab: Lab, run_id: str, other_id: str) -> Compared:
    """Return in what a run's settings differ from another's; from its paper's where none is named.

    The trainer is asked for the paper's, which takes some seconds.
    """
    with registry(lab) as db:
        run = runs.get(db, run_id)
        other = runs.get(db, other_id) if other_id else None
    after = cloning.configuration(run)
    if other is not None:
        before, why = cloning.configuration(other), ""
    else:
        before, why = _by_the_paper(lab, run)
    if not after or not before:
        told = why or f"there is no config.json of {run.id if not after else other_id}"
        return Compared(other_id or PAPER, (), told)
    return Compared(other_id or PAPER, tuple(cloning.differences(before, after)))


def _by_the_paper(lab: Lab, run: Run) -> tuple[dict[str, Any], str]:
    if run.task == PRETRAIN:
        question = presets.pretraining(run.method)
    else:
        question = presets.finetuning(run.method, run.task, run.ratio)
    asked = presets.Presets(lab)
    asked.ask([question])
    return asked.of(question), asked.refusal(question)
