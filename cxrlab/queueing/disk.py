"""Is there room on the disk for what a run will save, going by what others like it have saved?

A checkpoint is written beside the one it replaces, so the largest is counted twice. Where no run
like it has been, nothing is known but that a run folder needs `LEAST`.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from cxrlab import likeness, text
from cxrlab.likeness import Kind, kind_of
from store import runs, within
from store.db import Database

LEAST = 4 * 2**20
"""Bytes for configuration, log and events, without which no run is started."""

SHORT = "A run that finds no room waits for it; `cxrlab prune --dry-run` lists what could go"

LOOKED_AT = 20
"""So many of the newest finished runs of a method and task are looked at."""


class Coming(likeness.Coming, Protocol):
    """A run, or one that is to be."""

    @property
    def folder(self) -> str: ...  # noqa: D102


class Saved(NamedTuple):
    """What lies in a folder of checkpoints (bytes)."""

    total: int
    largest: int
    encoder: int = 0
    """The encoder that the run ended with."""
    on_the_way: int = 0
    """Those that it kept before (`keep_every`); part of the total."""


class Disk:
    """What finished runs have saved, each kind of run looked at once."""

    def __init__(
        self, db: Database, configs: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Look into a registry; `configs` are those of runs whose folders are not there yet."""
        self._db = db
        self._configs = configs or {}
        self._known: dict[Kind, Saved | None] = {}

    def expected(self, run: Coming) -> Saved | None:
        """Return what a run like this one saves; None where none has ended well.

        How many encoders it keeps on its way is told by its own configuration.
        """
        kind = kind_of(run)
        if kind not in self._known:
            self._known[kind] = self._look(kind)
        like = self._known[kind]
        if like is None or not like.encoder:
            return like
        ours = self._kept_by(run) * like.encoder
        return like._replace(total=like.total - like.on_the_way + ours, on_the_way=ours)

    def _kept_by(self, run: Coming) -> int:
        """Return how many encoders a run keeps on its way."""
        config = self._configs.get(run.folder)
        if config is None:
            config = within.read_object(Path(run.folder), "config.json")
        every, epochs = config.get("keep_every"), config.get("epochs")
        if not (isinstance(every, int) and isinstance(epochs, int) and every > 0):
            return 0
        return max(epochs - 1, 0) // every if not config.get("steps") else 0

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

    def _look(self, kind: Kind) -> Saved | None:
        ended = runs.select(
            self._db, states=("succeeded",), method=kind.method, task=kind.task, limit=LOOKED_AT
        )
        alike = [run for run in ended if run.recipe == kind.recipe]
        for run in (*alike, *(run for run in ended if run.preset == kind.preset)):
            saved = saved_in(Path(run.folder))
            if saved.total:
                return saved
        return None


def saved_in(folder: Path) -> Saved:
    """Return what the checkpoints of a run folder take; nothing where there are none."""
    sizes: dict[str, int] = {}
    try:
        for path in (folder / "checkpoints").iterdir():
            sizes[path.name] = path.stat().st_size
    except OSError:  # none yet, or one was replaced this very moment
        pass
    kept = sum(size for name, size in sizes.items() if fnmatchcase(name, "epoch_*.pt"))
    largest = max(sizes.values(), default=0)
    return Saved(sum(sizes.values()), largest, sizes.get("encoder.pt", 0), kept)


def free_at(folder: Path) -> int:
    """Return the free bytes where a folder lies or will lie."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
