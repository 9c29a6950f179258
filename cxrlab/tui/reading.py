"""What does each screen show? One function a screen, from the registry and the run folders.

Each opens the registry for itself and is called on a thread, never by a handler.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from sqlite_utils import Database

from cxrlab import advice, behind, cells, cloning, grid, ownership, presets, restricted, weights
from cxrlab.behind import Member
from cxrlab.errors import NotFound
from cxrlab.lab import Lab
from store import artifacts, matching, notes, points, queue, results, runs, within
from store.points import Point
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN, datasets_in_use

MOST_POINTS = 1000
"""Points of one curve; a plot on a wide screen has some 400 columns of dots."""

MOST_ALIKE = 200
"""Runs that there are to choose from at most, newest first."""

PAPER = "the paper's preset"

SHOWN = 40
"""Runs that the home screen lists at most."""


class Place(NamedTuple):
    """A data set, where `cxrlab.toml` says it lies, and whether it is there."""

    name: str
    where: str
    found: bool


class GridView(NamedTuple):
    """The home screen."""

    grid: grid.Grid
    runs: int
    places: tuple[Place, ...]
    """Filled only for a lab without runs."""
    lacking: tuple[str, ...] = ()
    """Published weights that can be fetched and are not there; only for a lab without runs."""
    under_way: tuple[Run, ...] = ()
    """Running, then waiting, in the order of the queue; no more than a screen shows."""
    ended: tuple[Run, ...] = ()
    """The newest of those that have ended."""


class RunsView(NamedTuple):
    """A window of the runs that fit what was typed."""

    typed: str
    total: int
    fitting: int
    """How many fit."""
    offset: int
    runs: tuple[Run, ...]
    order: str = "newest"
    marked: tuple[Run, ...] = ()
    """Those marked that are still there, as they are now."""


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


@contextmanager
def registry(lab: Lab) -> Iterator[Database]:
    """Open the registry of `lab` for this thread, and close it."""
    db = ownership.open_registry(lab)
    try:
        yield db
    finally:
        db.close()


def read_grid(lab: Lab) -> GridView:
    """Return the grid, and where data lies as long as nothing has run."""
    with registry(lab) as db:
        total = runs.count(db)
        running = runs.select(db, states=("running",), limit=SHOWN)
        blocked = runs.select(db, states=("blocked",), limit=SHOWN)
        ended = runs.select(db, states=runs.ENDED, limit=SHOWN)
        return GridView(
            cells.read_grid(db, lab.settings.grid),
            total,
            () if total else places(lab),
            () if total else lacking(lab),
            (*running, *queue.next_queued(db, SHOWN), *reversed(blocked)),
            tuple(sorted(ended, key=lambda run: run.ended or 0.0, reverse=True)),
        )


def places(lab: Lab) -> tuple[Place, ...]:
    """Return where the data sets lie that methods and tasks read."""
    found = []
    for name in datasets_in_use():
        root = lab.settings.data[name].root if name in lab.settings.data else None
        found.append(Place(name, str(root or ""), root is not None and root.is_dir()))
    return tuple(found)


def lacking(lab: Lab) -> tuple[str, ...]:
    """Return the published weights of baselines that are not there and that a program can get."""
    table = weights.read_table()
    names = [METHODS[method].weights for method in weights.lacking(lab, METHODS)]
    return tuple(name for name in names if table[name].url)


def read_runs(
    lab: Lab,
    typed: str,
    offset: int,
    limit: int,
    order: str = "newest",
    marked: Sequence[str] = (),
) -> RunsView:
    """Return `limit` of the runs that fit what was typed, from `offset` on, and those marked."""
    terms = matching.words(typed)
    with registry(lab) as db:
        total = runs.count(db)
        count = matching.count(db, terms) if terms else total
        if terms or order != "newest":
            ids = matching.ids(db, terms, limit=limit, offset=offset, order=order)
            window = _present(db, ids)
        else:
            window = runs.select(db, limit=limit, offset=offset)
        chosen = tuple(_present(db, marked))
        return RunsView(typed, total, count, offset, tuple(window), order, chosen)


def read_fitting(lab: Lab, typed: str, most: int, order: str) -> list[Run]:
    """Return the runs that fit what was typed, no more than `most`."""
    with registry(lab) as db:
        return _present(db, matching.ids(db, matching.words(typed), limit=most, order=order))


def read_named(lab: Lab, typed: str, most: int) -> list[Run]:
    """Return the runs that a name means: those whose id begins so first, then those that fit.

    A word that begins an id is answered by an index; others look at every run.
    """
    with registry(lab) as db:
        word = typed.strip().lower()
        ids = matching.beginning(db, word, limit=most) if word.isalnum() else []
        if not ids:
            ids = matching.ids(db, matching.words(typed), limit=most)
        return _present(db, ids)


def _present(db: Database, ids: Sequence[str]) -> list[Run]:
    """Return the runs of these ids that have not been removed meanwhile."""
    found = []
    for id in ids:
        with suppress(runs.NoSuchRun):
            found.append(runs.get(db, id))
    return found


def read_cell(lab: Lab, place: tuple[str, str, int | None, str]) -> CellView:
    """Return the runs of a cell, newest first, with their numbers and checkpoints."""
    method, task, ratio, metric = place
    with registry(lab) as db:
        shown = cells.read_grid(db, lab.settings.grid)
        cell = next(
            (c for c in shown.cells() if (c.method, c.task, c.ratio, c.metric) == place), None
        )
        if cell is None:
            raise NotFound(f"the grid has no cell `{method} {task} {ratio} {metric}`")
        found = runs.select(db, method=method, task=task)
        members = tuple(_behind(db, run, metric) for run in found if run.ratio == ratio)
    return CellView(cell, members)


def find_cell(lab: Lab, named: str) -> grid.Cell:
    """Return the first cell of the grid that notes call `METHOD:TASK` or `METHOD:TASK:RATIO`.

    Raises:
        NotFound: the grid does not show it.
    """
    with registry(lab) as db:
        shown = cells.read_grid(db, lab.settings.grid)
    for cell in shown.cells():
        ratio = [] if cell.ratio is None else [str(cell.ratio)]
        if named == ":".join([cell.method, cell.task, *ratio]):
            return cell
    raise NotFound(f"the grid has no cell `{named}`", "`[grid]` in cxrlab.toml says what it has")


def _behind(db: Database, run: Run, metric: str) -> Behind:
    named = {result.metric: result for result in results.of_run(db, run.id)}
    saved = tuple(a for a in artifacts.of_run(db, run.id) if a.kind != "sample")
    member = behind.member_of(db, run.id, metric) if run.state == "succeeded" else None
    return Behind(run, named.get(f"test/{metric}"), saved, member)


def read_run(lab: Lab, run_id: str) -> RunView:
    """Return what is known of a run."""
    with registry(lab) as db:
        run = runs.get(db, run_id)
        return RunView(
            run,
            runs.get(db, run.parent) if run.parent else None,
            tuple(points.metric_names(db, run_id)),
            points.last(db, run_id),
            tuple(results.of_run(db, run_id)),
            restricted.shown(lab, run.task, artifacts.of_run(db, run_id)),
            tuple(results.warnings(db, run_id)),
            tuple(results.attempts(db, run_id)),
            restricted.hidden(lab, run.task),
            advice.next_step(run, cloning.configuration(run)),
            tuple(entry.text for entry in notes.select(db, about=run.id)),
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
    try:
        found = json.loads(within.read_text(folder, "config.json"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def read_other(lab: Lab, run_id: str, metric: str) -> tuple[Run, NewPoints]:
    """Return a run with all points of one metric."""
    with registry(lab) as db:
        run = runs.get(db, run_id)
        curve = points.curve(db, run_id, metric, most=MOST_POINTS)
        return run, NewPoints(metric, run.attempt, None, tuple(curve))


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
