"""How do runs that are waited for look on a terminal: a bar for each, and one for all?

Apart from `waiting`, so that rich is imported where bars are drawn and nowhere else.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from cxrlab import text
from cxrlab.naming import what
from store.runs import ENDED, Run

SPARE_LINES = 4
"""Lines of the terminal that the bars leave free."""


class Bars:
    """Draws on stderr. Where the terminal is too low for all runs, those that run are shown."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[id]:<6}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
            refresh_per_second=4,
            expand=True,
        )
        self._all = self._progress.add_task(
            text.plural(len(ids), "run"), total=max(1, len(ids)), id="", said=""
        )
        self._one = {
            id: self._progress.add_task("", total=1.0, id=id, said="", visible=False) for id in ids
        }

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *problem: object) -> None:
        self._progress.stop()

    def show(self, found: Sequence[Run]) -> None:
        """Draw the runs as they are now."""
        fits = len(found) + 1 <= shutil.get_terminal_size().lines - SPARE_LINES
        for run in found:
            share = run.done / run.total if run.done is not None and run.total else 0.0
            self._progress.update(
                self._one[run.id],
                description=short(run),
                completed=1.0 if run.state == "succeeded" else share,
                said=said(run),
                visible=fits or run.state == "running",
            )
        ended = sum(run.state in ENDED for run in found)
        running = sum(run.state == "running" for run in found)
        self._progress.update(self._all, completed=ended, said=f"{ended} done, {running} running")


def short(run: Run) -> str:
    """Return what a run is; the seed only where it is not the usual one."""
    words = what(run)
    return words.removesuffix(" seed 0")


def said(run: Run) -> str:
    """Return a run's state, and how long it still takes."""
    if run.state == "running" and run.eta_s is not None:
        return f"{text.duration(run.eta_s)} left"
    return text.state(run.state)
