"""Where the grid's values come from: the catalog, the registry, the papers' numbers, the settings.

Pre-training has no test set: its groups are made here, from what its results say.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from typing import NamedTuple

from sqlite_utils import Database

from cxrlab import grid
from cxrlab.errors import Usage, unknown_name
from cxrlab.lab import GridSettings
from store import cells, results, runs
from trainers.catalog import METHODS, PRETRAIN, PRETRAIN_ENTRY, TASKS, MethodEntry, TaskEntry


def read_grid(db: Database, settings: GridSettings) -> grid.Grid:
    """Return the grid of a lab, with the rows and columns that its settings name."""
    groups, coming = [*cells.groups(db), *pretraining_groups(db)], cells.open_runs(db)
    with_runs = {group.method for group in groups} | {run.method for run in coming}
    return grid.build(
        chosen_methods(settings.methods, with_runs),
        chosen_tasks(settings.columns),
        groups,
        coming,
        published=grid.read_published(),
    )


def chosen_methods(names: Sequence[str], with_runs: Collection[str]) -> dict[str, MethodEntry]:
    """Return the methods that the settings name, in their order.

    Where they name none: all, but variants of a method, and published encoders that a lab may not
    have, only `with_runs`.
    """
    shown = [n for n, e in METHODS.items() if not (e.base or e.weights) or n in with_runs]
    return {name: METHODS[name] for name in names or shown}


def chosen_tasks(columns: Sequence[str]) -> dict[str, TaskEntry]:
    """Return the tasks that the settings name as `siim` or `siim:10`; all where they name none."""
    chosen: dict[str, TaskEntry] = {}
    for column in columns or TASKS:
        name, _, ratio = column.partition(":")
        added = (int(ratio),) if ratio else TASKS[name].ratios
        before = chosen[name].ratios if name in chosen else ()
        chosen[name] = TASKS[name]._replace(ratios=tuple(dict.fromkeys((*before, *added))))
    return chosen


def pretraining_groups(db: Database) -> list[cells.Group]:
    """Return what finished pre-trainings reached (`loss`) and took (`time`), a group a recipe.

    Of a seed that was run more than once the newest counts. Recipes are chosen between by the
    held-out loss, for both metrics, so that time and loss in one row are of the same runs.
    """
    by_recipe: dict[tuple[str, str], dict[int, Pretraining]] = {}
    for run in runs.select(db, states=("succeeded",), task=PRETRAIN):
        document = results.document(db, run.id) or {}
        loss = document.get("values", {}).get("val/loss")
        if loss is not None:
            seeds = by_recipe.setdefault((run.method, run.recipe), {})
            seeds.setdefault(run.seed, Pretraining(run, loss, document.get("train_seconds")))
    return [group for seeds in by_recipe.values() for group in groups_of(list(seeds.values()))]


class Pretraining(NamedTuple):
    """A finished pre-training: its held-out loss (nats), and how long it trained (s)."""

    run: runs.Run
    loss: float
    seconds: float | None


def groups_of(repeats: Sequence[Pretraining]) -> list[cells.Group]:
    """Return the two groups that repeats of one recipe make."""
    losses = [repeat.loss for repeat in repeats]
    seconds = [repeat.seconds for repeat in repeats if repeat.seconds is not None]
    return [
        cells.Group(
            method=repeats[0].run.method,
            task=PRETRAIN,
            ratio=None,
            metric=metric,
            recipe=repeats[0].run.recipe,
            preset=repeats[0].run.preset,
            mean=statistics.fmean(values),
            sd=statistics.stdev(values) if len(values) > 1 else None,
            n=len(values),
            low=None,
            high=None,
            run_ids=tuple(repeat.run.id for repeat in repeats),
            selected_value=statistics.fmean(losses),
        )
        for metric, values in ((PRETRAIN_ENTRY.metric, losses), ("time", seconds))
        if values
    ]


def grid_settings(
    settings: GridSettings, methods: Sequence[str] | None, columns: Sequence[str] | None
) -> GridSettings:
    """Return `settings` with rows and columns as a command line gave them instead.

    Raises:
        NotFound: a method or task is not called so.
        Usage: a ratio is no whole number from 1 to 100.
    """
    for method in methods or ():
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
    for column in columns or ():
        task, colon, ratio = column.partition(":")
        if task not in TASKS:
            raise unknown_name("task", task, TASKS)
        if colon and not (ratio.isdigit() and 0 < int(ratio) <= 100):
            raise Usage(
                f"`{column}` is no column", "write a task, or a task and a ratio: `siim:10`"
            )
    return GridSettings(tuple(methods or settings.methods), tuple(columns or settings.columns))
