"""Where the grid's values come from: the catalog, the registry, the papers' numbers, the settings.

Pre-training has no test set: its groups are made here, from what its results say.
"""

from __future__ import annotations

import statistics
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlite_utils import Database

from cxrlab import columns, grid
from cxrlab.lab import GridSettings
from store import cells, results, runs
from trainers.catalog import METHODS, PRETRAIN, PRETRAIN_ENTRY, MethodEntry


def read_grid(db: Database, settings: GridSettings) -> grid.Grid:
    """Return the grid of a lab, with the rows and columns that its settings name."""
    groups, coming = [*cells.groups(db), *pretraining_groups(db)], cells.open_runs(db)
    with_runs = {group.method for group in groups} | {run.method for run in coming}
    chosen = columns.chosen(settings.columns, settings.groups)
    named = columns.methods_of(settings.methods, settings.groups)
    made = grid.build(
        chosen_methods(tuple(named), with_runs),
        chosen.columns,
        groups,
        coming,
        published=grid.read_published(),
    )
    rows = tuple(replace(row, group=named.get(row.method, "")) for row in made.rows)
    return replace(made, rows=rows, fields=chosen.fields)


def chosen_methods(names: Sequence[str], with_runs: Collection[str]) -> dict[str, MethodEntry]:
    """Return the methods that the settings name, in their order.

    Where they name none: all, but variants of a method, and published encoders that a lab may not
    have, only `with_runs`.
    """
    shown = [n for n, e in METHODS.items() if not (e.base or e.weights) or n in with_runs]
    return {name: METHODS[name] for name in names or shown}


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
    settings: GridSettings, methods: Sequence[str] | None, words: Sequence[str] | None
) -> GridSettings:
    """Return `settings` with rows and columns as a command line gave them instead.

    Several words of one option may be joined by commas.

    Raises:
        NotFound: a method, task or group is not called so.
        Usage: a ratio or a metric that a task cannot have.
    """
    rows = [name for part in methods or () for name in part.split(",") if name]
    chosen = [word for part in words or () for word in part.split(",") if word]
    columns.methods_of(rows, settings.groups)
    columns.chosen(chosen, settings.groups)
    return replace(
        settings,
        methods=tuple(rows) or settings.methods,
        columns=tuple(chosen) or settings.columns,
    )
