"""What does each screen show? One function a screen, from the registry and the run folders.

Each opens the registry for itself and is called on a thread, never by a handler.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import (
    advice,
    behind,
    cloning,
    grid,
    indexing,
    ownership,
    restricted,
    tagging,
    use_words,
)
from cxrlab.assets import weights
from cxrlab.behind import Member
from cxrlab.comparing import presets
from cxrlab.errors import NotFound
from cxrlab.exports.notebook import settings_for as as_notebook
from cxrlab.grid import cells
from cxrlab.lab import Lab
from cxrlab.tui import grouping, remembered, words
from cxrlab.tui.grouping import Group
from store import (
    artifacts,
    matching,
    notes,
    points,
    queue,
    results,
    runs,
    settings,
    tags,
    use,
    within,
)
from store.db import Database
from store.points import Point
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN, PRETRAIN_ENTRY, TASKS, datasets_in_use

MOST_POINTS = 1000
"""Points of one curve; a plot on a wide screen has some 400 columns of dots."""

MOST_ALIKE = 200
"""Runs that there are to choose from at most, newest first."""

PAPER = "the paper's preset"

NOTEBOOK = "grid_notebook"
"""Under this name it is remembered whether the grid is shown as the notebook has it."""

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
    notebook: bool = False
    """Whether these are the notebook's columns in place of the lab's own."""


class RunsAsked(NamedTuple):
    """What a person wants to see of the runs."""

    typed: str = ""
    offset: int = 0
    limit: int = 0
    order: str = "newest"
    by: str = ""
    """What they are gathered by; empty for one list."""
    closed: tuple[str, ...] = ()
    """The groups of which only the head is shown."""
    settings: tuple[str, ...] = ()
    """The settings that are shown of each."""
    marked: tuple[str, ...] = ()


class RunsView(NamedTuple):
    """A window of the runs that fit what was typed."""

    asked: RunsAsked
    total: int
    fitting: int
    """How many runs fit."""
    lines: int
    """How many lines that makes, heads of groups included."""
    rows: tuple[Run | Group, ...]
    marked: tuple[Run, ...] = ()
    """Those marked that are still there, as they are now."""
    tags: Mapping[str, tuple[str, ...]] = {}
    """By a run's id."""
    settings: Mapping[str, Mapping[str, str]] = {}
    """By a recipe."""
    scores: Mapping[str, results.Result] = {}
    """By a run's id, what its task is judged by."""
    used: Mapping[str, use.Use] = {}
    """By a run's id, what it used of its machine."""
    groups: tuple[Group, ...] = ()
    unread: int = 0
    """Recipes whose settings have to be read before the filter can be answered."""


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


@contextmanager
def registry(lab: Lab) -> Iterator[Database]:
    """Open the registry of `lab` for this thread, and close it."""
    db = ownership.open_registry(lab)
    try:
        yield db
    finally:
        db.close()


def read_grid(lab: Lab, notebook: bool | None = None) -> GridView:
    """Return the grid, and where data lies as long as nothing has run.

    Args:
        lab: whose grid.
        notebook: whether to show the notebook's columns; None for as it was the last time.
    """
    if notebook is None:
        notebook = remembered.recall(lab, NOTEBOOK, False)
    settings = as_notebook(lab.settings.grid) if notebook else lab.settings.grid
    with registry(lab) as db:
        total = runs.count(db)
        running = runs.select(db, states=("running",), limit=SHOWN)
        blocked = runs.select(db, states=("blocked",), limit=SHOWN)
        ended = runs.select(db, states=runs.ENDED, limit=SHOWN)
        return GridView(
            cells.read_grid(db, settings, words.spoken()),
            total,
            () if total else places(lab),
            () if total else lacking(lab),
            (*running, *queue.next_queued(db, SHOWN), *reversed(blocked)),
            tuple(sorted(ended, key=lambda run: run.ended or 0.0, reverse=True)),
            notebook,
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


def read_runs(lab: Lab, asked: RunsAsked, now: float) -> RunsView:
    """Return the lines that were asked for, of the runs that fit what was typed.

    Raises:
        NotFound: the filter names what is not there.
        Usage: the filter cannot be understood.
    """
    with registry(lab) as db:
        total = runs.count(db)
        found, unread = indexing.understood(db, asked.typed, limit_s=INDEX_S)
        if found is None:
            return RunsView(asked, total, 0, 0, (), unread=unread)
        terms = found.terms
        rows: list[Run | Group] = []
        groups: list[Group] = []
        if asked.by:
            counted = matching.groups(db, terms, asked.by, now=now)
            groups = [Group(key, n, key in asked.closed) for key, n in counted]
            fitting, lines = sum(group.runs for group in groups), grouping.count(groups)
            for piece in grouping.pieces(groups, asked.offset, asked.limit):
                of_it = (*terms, matching.Term("text", asked.by, "is", (piece.group.key,)))
                rows += [piece.group] * piece.head
                rows += _window(db, of_it, asked.order, piece.offset, piece.limit, now)
        else:
            fitting = lines = matching.count(db, terms, now=now) if terms else total
            rows += _window(db, terms, asked.order, asked.offset, asked.limit, now)
        shown = [row for row in rows if isinstance(row, Run)]
        return RunsView(
            asked,
            total,
            fitting,
            lines,
            tuple(rows),
            tuple(_present(db, asked.marked)),
            tags.of(db, [run.id for run in shown]),
            settings.of_recipes(db, {run.recipe for run in shown}, asked.settings)
            if asked.settings
            else {},
            _scores(db, shown),
            use.of_runs(db, [run.id for run in shown], now=now),
            tuple(groups),
            unread,
        )


INDEX_S = 0.5
"""How long a filter reads settings before it says how many are left."""


def _window(
    db: Database, terms: Sequence[matching.Term], order: str, offset: int, limit: int, now: float
) -> list[Run]:
    if not limit:
        return []
    if terms or order != "newest":
        ids = matching.ids(db, terms, limit=limit, offset=offset, order=order, now=now)
        return _present(db, ids)
    return runs.select(db, limit=limit, offset=offset)


def _scores(db: Database, shown: Sequence[Run]) -> dict[str, results.Result]:
    """Return the number that each finished run is judged by."""
    wanted = {}
    for run in shown:
        entry = PRETRAIN_ENTRY if run.task == PRETRAIN else TASKS.get(run.task)
        if entry is not None and run.state == "succeeded":
            wanted[run.id] = f"{'val' if run.task == PRETRAIN else 'test'}/{entry.metric}"
    return results.one_each(db, wanted)


def read_fitting(lab: Lab, typed: str, most: int, order: str, now: float) -> list[Run]:
    """Return the runs that fit what was typed, no more than `most`."""
    with registry(lab) as db:
        found, _ = indexing.understood(db, typed)
        terms = found.terms if found else ()
        return _present(db, matching.ids(db, terms, limit=most, order=order, now=now))


def read_of_group(lab: Lab, typed: str, by: str, key: str, most: int, now: float) -> list[Run]:
    """Return the runs of a group that fit what was typed, no more than `most`."""
    with registry(lab) as db:
        found, _ = indexing.understood(db, typed)
        terms = (*(found.terms if found else ()), matching.Term("text", by, "is", (key,)))
        return _present(db, matching.ids(db, terms, limit=most, now=now))


def give_tags(lab: Lab, ids: Sequence[str], change: tagging.Change) -> None:
    """Give tags to runs, and take others from them."""
    with registry(lab) as db:
        tags.change(db, ids, add=change.add, drop=change.drop)


def read_setting_names(lab: Lab) -> tuple[str, ...]:
    """Return the settings in which runs differ, in alphabetical order."""
    with registry(lab) as db:
        indexing.bring_up(db)
        return tuple(name for name, values in settings.names(db).items() if values > 1)


def read_named(lab: Lab, typed: str, most: int) -> list[Run]:
    """Return the runs that a name means: those whose id begins so first, then those that fit.

    A word that begins an id is answered by an index; others look at every run.
    """
    with registry(lab) as db:
        word = typed.strip().lower()
        ids = matching.beginning(db, word, limit=most) if word.isalnum() else []
        if not ids:
            words = [matching.Term("word", "", ":", (each,)) for each in typed.split()]
            ids = matching.ids(db, words, limit=most)
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
