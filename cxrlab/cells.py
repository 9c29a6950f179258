"""Where do the grid's values come from? Catalog, registry, papers, notebooks and settings."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlite_utils import Database

from cxrlab import columns, grid
from cxrlab.lab import GridSettings
from store import cells, notebook
from trainers.catalog import METHODS, MethodEntry


def read_grid(db: Database, settings: GridSettings) -> grid.Grid:
    """Return the grid of a lab, with the rows and columns that its settings name."""
    chosen = columns.chosen(settings.columns, settings.groups)
    named = columns.methods_of(settings.methods, settings.groups)
    shown = {(column.task, column.metric) for column in chosen.columns}
    floors = {(task, f"{metric}_nothing") for task, metric in shown}
    groups = cells.groups(db, shown | floors)
    with_runs = () if named else cells.methods(db)
    made = grid.build(
        chosen_methods(tuple(named), with_runs),
        chosen.columns,
        groups,
        cells.waiting(db),
        published=grid.read_published(),
        notebook=notebook.numbers(db),
        encoders=cells.encoders(db, {s.run_id for g in groups for s in g.starts if s.run_id}),
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
