"""What does the home screen show, and how is a registry read? The same for all screens' reading.

Each function opens the registry for itself and is called on a thread, never by a handler. The list
of runs has `reading_runs`, a run and a cell have `reading_run`: they need more of the program, and
the home screen does not wait for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cxrlab import grid, ownership
from cxrlab.exports.notebook import settings_for as as_notebook
from cxrlab.grid import cells
from cxrlab.lab import Lab
from cxrlab.tui import remembered, words
from store import queue, runs
from store.db import Database
from store.runs import Run
from trainers.catalog import METHODS, datasets_in_use

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
    from cxrlab.assets import weights

    table = weights.read_table()
    names = [METHODS[method].weights for method in weights.lacking(lab, METHODS)]
    return tuple(name for name in names if table[name].url)
