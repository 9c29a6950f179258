"""What is a run that another tracker has kept, and which cell of the lab does it belong to?

The readers of each tracker's files give `Found`; here names are changed, and the cell is settled,
from the command line, else from the settings that the run was logged with.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cxrlab.errors import NotFound, Usage, nearest, unknown_name
from cxrlab.grid import FOREIGN
from trainers import catalog

Curve = dict[int, tuple[float, float | None]]
"""By step: the value, and when it was logged (s since the epoch) where that is known."""

OWN_RUN = "cxrlab.run"
"""The setting in which this program's own exports name the run."""


@dataclass
class Found:
    """A run as another tracker kept it."""

    form: str
    """What kept it: `tensorboard`, `mlflow`, `wandb` or `csv`."""
    name: str
    """What it is called there."""
    origin: str
    """What makes it the same run at the next import: its id there, or its path."""
    curves: dict[str, Curve] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    unfinished: str = ""
    """How it stands there, such as `failed` or `still running`; empty where it ended well."""
    began: float | None = None
    ended: float | None = None
    notes: list[str] = field(default_factory=list)
    """What could not be read, a sentence each."""

    def add(self, name: str, step: int, value: float, t: float | None = None) -> None:
        """Put down one value; the last one of a step counts."""
        self.curves.setdefault(name, {})[step] = (value, t)

    @property
    def points(self) -> int:
        """How many values it has in all."""
        return sum(map(len, self.curves.values()))

    @property
    def sha256(self) -> str:
        """What tells its values from others; when they were logged has no say."""
        told = [
            [name, sorted((step, repr(value)) for step, (value, _) in curve.items())]
            for name, curve in sorted(self.curves.items())
        ]
        return hashlib.sha256(json.dumps([told, self.unfinished]).encode()).hexdigest()


class Cell(NamedTuple):
    """Where a run belongs."""

    method: str
    task: str
    ratio: int | None
    seed: int
    source: str
    """Where it comes from, in words; runs of one source are repeats of each other."""

    @property
    def recipe(self) -> str:
        """What tells this source from others and from the lab's own runs."""
        told = json.dumps([FOREIGN, "curves", self.method, self.task, self.ratio, self.source])
        return hashlib.sha256(told.encode()).hexdigest()


class Asked(NamedTuple):
    """What a command line says of the runs; None is left to the runs themselves."""

    method: str | None = None
    task: str | None = None
    ratio: int | None = None
    seed: int | None = None
    source: str = ""
    only: str = ""
    """A pattern that a run's name must match."""
    renames: Mapping[str, str] = {}


def placed(found: Iterable[Found], asked: Asked, *, where: str) -> list[tuple[Found, Cell]]:
    """Return the runs that are wanted, their curves renamed, each with its cell.

    Raises:
        NotFound: no run is left, or no method or task is called so.
        Usage: a run does not say where it belongs, or two of them would be one.
    """
    if asked.method is not None and asked.method not in catalog.METHODS:
        raise unknown_name("method", asked.method, catalog.METHODS)
    if asked.task is not None and asked.task not in _tasks():
        raise unknown_name("task", asked.task, _tasks())
    there = list(found)
    wanted = [run for run in there if not asked.only or fnmatch.fnmatch(run.name, asked.only)]
    if not wanted:
        names = ", ".join(run.name for run in there[:5])
        raise NotFound(f"no run with curves in {where}", f"its runs: {names}" if names else "")
    for run in wanted:
        run.name = printable(run.name)
    _rename(wanted, asked.renames)
    cells = [_cell(run, asked) for run in wanted]
    for at, cell in enumerate(cells):
        if cell in cells[:at]:
            first = wanted[cells.index(cell)].name
            raise Usage(
                f"`{first}` and `{wanted[at].name}` would both be seed {cell.seed} of one source",
                "import them one by one with `--only` and `--seed`, or leave out `--source`",
            )
    return list(zip(wanted, cells, strict=True))


def printable(name: str) -> str:
    """Return a name in one line without control characters, which a terminal would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in name).split())


def renames_of(pairs: Sequence[str] | None) -> dict[str, str]:
    """Return what `--rename OLD=NEW` says.

    Raises:
        Usage: one of them is not of that form.
    """
    found = {}
    for pair in pairs or ():
        old, equals, new = pair.rpartition("=")
        if not (old and equals and new):
            raise Usage(f"`--rename {pair}`: expected OLD=NEW", "such as `val_dice=val/Dice`")
        found[old] = new
    return found


def _tasks() -> list[str]:
    return [catalog.PRETRAIN, *catalog.TASKS]


def _rename(runs: Sequence[Found], renames: Mapping[str, str]) -> None:
    known = {name for run in runs for name in run.curves}
    for old, new in renames.items():
        if old not in known:
            close = nearest(old, known)
            raise NotFound(f"no curve is called `{old}`", f"did you mean `{close}`?" * bool(close))
        for run in runs:
            if new in run.curves and old in run.curves and new not in renames:
                raise Usage(f"`{run.name}` has a curve `{new}` beside `{old}`")
    for run in runs:
        run.curves = {renames.get(name, name): curve for name, curve in run.curves.items()}


def _cell(run: Found, asked: Asked) -> Cell:
    method = asked.method or _told(run, "method")
    task = asked.task or _told(run, "task")
    for name, value, known in (("method", method, catalog.METHODS), ("task", task, _tasks())):
        if value not in known:
            raise Usage(f"`{run.name}` does not say its {name}", f"give `--{name}`")
    ratio = asked.ratio or _whole(_told(run, "ratio"), 1, 100) or 100
    seed = asked.seed if asked.seed is not None else _whole(_told(run, "seed"), 0, 2**31 - 1)
    source = printable(asked.source) or f"{run.form} run {run.name}"
    return Cell(method, task, None if task == catalog.PRETRAIN else ratio, seed or 0, source)


def _told(run: Found, name: str) -> str:
    return str(run.settings.get(f"cxrlab.{name}", run.settings.get(name, "")))


def _whole(text: str, least: int, most: int) -> int | None:
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 11 else None
    return number if number is not None and least <= number <= most else None
