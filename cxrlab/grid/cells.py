"""Where do the grid's values come from? Catalog, registry, papers, notebooks and settings."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from cxrlab import columns, grid
from cxrlab.grid import status
from cxrlab.grid.published import read_published
from cxrlab.settings import GridSettings
from store import cells, notebook, results, runs
from store.db import Database
from trainers.catalog import METHODS, PRETRAIN, MethodEntry


def read_grid(db: Database, settings: GridSettings, lang: str = "en") -> grid.Grid:
    """Return the grid of a lab, with the rows and columns that its settings name.

    Args:
        db: the registry.
        settings: rows, columns and groups.
        lang: of the status column, `en` or `zh`.
    """
    chosen = columns.chosen(settings.columns, settings.groups)
    named = columns.methods_of(settings.methods, settings.groups)
    shown = {(column.task, column.metric) for column in chosen.columns}
    floors = {(task, f"{metric}_nothing") for task, metric in shown}
    groups = cells.groups(db, shown | floors)
    told = {row.method: row for row in notebook.rows(db)} if chosen.fields else {}
    methods = chosen_methods(tuple(named), () if named else cells.methods(db), tuple(told))
    made = grid.build(
        methods,
        chosen.columns,
        groups,
        cells.waiting(db),
        published=read_published(),
        notebook=notebook.numbers(db),
        encoders=cells.encoders(db, {s.run_id for g in groups for s in g.starts if s.run_id}),
    )
    rows = [
        replace(row, group=named.get(row.method, ""), cells=beside_papers(db, row.cells))
        for row in made.rows
    ]
    if chosen.fields:
        logs = logs_of(db, rows) if "log" in chosen.fields else {}
        rows = rows_told(rows, told, logs, lang)
    return replace(made, rows=tuple(rows), fields=chosen.fields)


def beside_papers(db: Database, shown: Sequence[grid.Cell]) -> tuple[grid.Cell, ...]:
    """Return the cells, those told apart whose runs are on another division than their paper's."""
    found = []
    for cell in shown:
        own = ""
        if cell.paper_split and cell.run_ids and cell.value is not None:
            own = results.division(db, cell.run_ids[0])
        found.append(replace(cell, own_split=own) if own not in ("", cell.paper_split) else cell)
    return tuple(found)


def chosen_methods(
    names: Sequence[str], with_runs: Collection[str], told: Sequence[str] = ()
) -> dict[str, MethodEntry]:
    """Return the methods that the settings name, in their order.

    Where they name none: those of a notebook's rows that were `told`, in its order, with those that
    have runs behind them; without a notebook all, but variants of a method, and published encoders
    that a lab may not have, only `with_runs`.
    """
    if told:
        shown = [*(n for n in told if n in METHODS), *(n for n in METHODS if n in with_runs)]
    else:
        shown = [n for n, e in METHODS.items() if not (e.base or e.weights) or n in with_runs]
    return {name: METHODS[name] for name in names or shown}


def logs_of(db: Database, rows: Sequence[grid.Row]) -> dict[str, str]:
    """Return where the log of the pre-training lies whose number a row shows, by method."""
    found = {}
    for row in rows:
        ids = next((c.run_ids for c in row.cells if c.task == PRETRAIN and c.run_ids), ())
        if ids:
            found[row.method] = str(Path(runs.get(db, ids[0]).folder) / "log.txt")
    return found


def rows_told(
    rows: Sequence[grid.Row],
    told: Mapping[str, notebook.Row],
    logs: Mapping[str, str],
    lang: str,
) -> list[grid.Row]:
    """Return rows with their texts: a notebook's, as far as this lab has none of its own.

    A notebook's status stands as long as the method has no run here; after that it writes itself.
    """
    free = itertools.count(1)
    taken = {told[row.method].number for row in rows if row.method in told}
    found = []
    for row in rows:
        known = told.get(row.method)
        own = any(cell.run_ids for cell in row.cells)
        says = known is not None and not own
        found.append(
            replace(
                row,
                name=known.name if known else "",
                number=(known.number if known else "")
                or next(said for n in free if (said := f"({n})") not in taken),
                description=known.description if known else "",
                log=logs.get(row.method, known.log if known else ""),
                status=known.status if known and says else status.status(row.cells, lang),
                imported=known is not None,
            )
        )
    return found


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
