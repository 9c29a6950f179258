"""Is there room on the disk for what a run will save, going by what others like it have saved?

A checkpoint is written beside the one it replaces, so the largest is counted twice. Runs of the
same recipe tell most; else those of the same method, task and preset do; where none has been,
nothing is known but that a run folder needs `LEAST`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from sqlite_utils import Database

from cxrlab import text
from store import runs

LEAST = 4 * 2**20
"""Bytes for configuration, log and events, without which no run is started."""

SHORT = "A run that finds no room waits for it; `cxrlab prune --dry-run` lists what could go"

LOOKED_AT = 20
"""So many of the newest finished runs of a method and task are looked at."""


class Coming(Protocol):
    """A run, or one that is to be."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def preset(self) -> str: ...  # noqa: D102
    @property
    def recipe(self) -> str: ...  # noqa: D102
    @property
    def folder(self) -> str: ...  # noqa: D102


class Saved(NamedTuple):
    """What lies in a folder of checkpoints (bytes)."""

    total: int
    largest: int


class Disk:
    """What finished runs have saved, each kind of run looked at once."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._known: dict[tuple[str, str, str, str], Saved | None] = {}

    def expected(self, run: Coming) -> Saved | None:
        """Return what a run like this one saves; None where none has ended well."""
        key = (run.method, run.task, run.preset, run.recipe)
        if key not in self._known:
            self._known[key] = self._look(*key)
        return self._known[key]

    def why_not(self, run: Coming) -> str:
        """Return why the disk does not do for a run; empty where it does."""
        like = self.expected(run)
        there = saved_in(Path(run.folder)).total
        needed = LEAST
        if like is not None:
            needed += max(like.total - there, 0) + like.largest
        free = free_at(Path(run.folder))
        if free >= needed:
            return ""
        return f"needs {text.size(needed)} of disk; {text.size(free)} are free"

    def told(self, new: Sequence[Coming]) -> str:
        """Return in words what several new runs will take; empty where no earlier run tells.

        What waits or runs already takes its share first.
        """
        expected = [each for run in new if (each := self.expected(run)) is not None]
        if not expected:
            return ""
        total = sum(each.total for each in expected) + max(each.largest for each in expected)
        before, free = self.to_come(new), free_at(Path(new[0].folder))
        some = "" if len(expected) == len(new) else f", and {len(new) - len(expected)} unknown"
        said = f"will take about {text.size(total)} of disk{some}"
        if before:
            said += f", what waits or runs already {text.size(before)}"
        said += f"; {text.size(free)} are free"
        short = total + before - free
        return f"{said}: {text.size(short)} too little. {SHORT}" if short > 0 else said

    def to_come(self, besides: Sequence[Coming]) -> int:
        """Return what runs that wait or run will still save (bytes), as far as others tell."""
        folders = {run.folder for run in besides}
        found = 0
        for run in runs.select(self._db, states=("queued", "blocked", "running")):
            like = None if run.folder in folders else self.expected(run)
            if like is not None:
                there = saved_in(Path(run.folder)).total if run.attempt else 0
                found += max(like.total - there, 0)
        return found

    def _look(self, method: str, task: str, preset: str, recipe: str) -> Saved | None:
        ended = runs.select(
            self._db, states=("succeeded",), method=method, task=task, limit=LOOKED_AT
        )
        alike = [run for run in ended if run.recipe == recipe]
        for run in (*alike, *(run for run in ended if run.preset == preset)):
            saved = saved_in(Path(run.folder))
            if saved.total:
                return saved
        return None


def saved_in(folder: Path) -> Saved:
    """Return what the checkpoints of a run folder take; nothing where there are none."""
    sizes = []
    try:
        for path in (folder / "checkpoints").iterdir():
            sizes.append(path.stat().st_size)
    except OSError:  # none yet, or one was replaced this very moment
        pass
    return Saved(sum(sizes), max(sizes, default=0))


def free_at(folder: Path) -> int:
    """Return the free bytes where a folder lies or will lie."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
