"""Which runs fit what was typed, and what is told of each in a list?

Each function opens the registry for itself and is called on a thread, never by a handler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from cxrlab import indexing, tagging
from cxrlab.lab import Lab
from cxrlab.tui import grouping
from cxrlab.tui.grouping import Group
from cxrlab.tui.reading import registry
from store import matching, results, runs, settings, tags, use
from store.db import Database
from store.runs import Run
from trainers.catalog import PRETRAIN, PRETRAIN_ENTRY, TASKS


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
