"""Which checkpoints does nobody need, so that a lab keeps within its budget? Touches nothing.

What a cell cites, what a run starts from, and the best and the last of every run stay; so does
everything of a run that is under way. Only where a newer repeat of the very same cell, recipe and
seed has succeeded are best and last of the older one no longer the best and the last of anything.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple

Kind = Literal["best", "last", "encoder", "other", "leftover"]

_NAMED = re.compile(r"(?:^|[^a-z])(best|last|latest|final|encoder)(?:[^a-z]|$)")
_LEFT = (".tmp", ".new", ".part")

WHY: dict[Kind, str] = {
    "leftover": "left by a writer that was killed",
    "other": "neither best nor last",
}
SUPERSEDED = "a newer run repeats its run"


class Owner(NamedTuple):
    """What is known of a run that has checkpoints."""

    id: str
    ended: float
    under_way: bool
    """It waits or runs."""
    cited: bool
    """Its number counts in a cell, be that cell's recipe shown or not."""
    started_from: bool
    """Another run starts from its encoder, or will."""
    superseded: bool
    """A newer run of the same cell, recipe and seed has succeeded."""


class File(NamedTuple):
    """One checkpoint as it lies on the disk."""

    run: str
    path: str
    kind: Kind
    bytes: int
    saved: float


class Spare(NamedTuple):
    """A checkpoint that can go, and why."""

    file: File
    why: str


def kinds(saved: Mapping[str, float]) -> dict[str, Kind]:
    """Return what each file of a run's checkpoints is, by its name.

    Args:
        saved: when each was saved, by name. Where none is called the last, the newest is.
    """
    found = {name: _kind(name) for name in saved}
    others = [name for name, kind in found.items() if kind == "other"]
    if others and "last" not in found.values():
        found[max(others, key=lambda name: (saved[name], name))] = "last"
    return found


def _kind(name: str) -> Kind:
    base = name.rpartition("/")[2].lower()
    if base.startswith(".") or base.endswith(_LEFT):
        return "leftover"
    named = _NAMED.search(base)
    if named is None:
        return "other"
    if named[1] == "encoder":
        return "encoder"
    return "best" if named[1] == "best" else "last"


def needed(file: File, owner: Owner, *, named: Collection[str] = ()) -> str:
    """Return why a checkpoint must stay; empty where nobody needs it.

    Args:
        file: the checkpoint.
        owner: its run.
        named: paths that a cell's run or the command of any run names.
    """
    if owner.under_way:
        return "its run is under way"
    if file.kind == "leftover":
        return ""
    if file.path in named:
        return "it is named by a run"
    if file.kind == "other":
        return ""
    if owner.started_from:
        return "a run starts from its run"
    if owner.cited:
        return "a cell cites its run"
    return "" if owner.superseded else f"it is the {file.kind} of its run"


def spare(
    files: Sequence[File],
    owners: Mapping[str, Owner],
    *,
    budget: int,
    named: Collection[str] = (),
) -> list[Spare]:
    """Return what is to go so that all files together take no more than `budget` (bytes).

    Leftovers go first, then what is neither best nor last, then what is superseded; of these the
    oldest first. Nothing goes where the budget holds; where it cannot hold, all that nobody needs.
    """
    over = sum(file.bytes for file in files) - budget
    free = [file for file in files if not needed(file, owners[file.run], named=named)]
    free.sort(key=lambda file: (_rank(file.kind), owners[file.run].ended, file.saved, file.path))
    chosen: list[Spare] = []
    for file in free:
        if over <= 0:
            break
        over -= file.bytes
        chosen.append(Spare(file, WHY.get(file.kind, SUPERSEDED)))
    return chosen


def _rank(kind: Kind) -> int:
    return {"leftover": 0, "other": 1}.get(kind, 2)
