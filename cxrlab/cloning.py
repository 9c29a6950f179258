"""What run comes of another one with some of its settings changed?

What a run was told beyond its cell is read from its command; where its encoder came from, from its
row. A clone is planned and queued like any other run, so one that the lab has is not queued.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import launch
from cxrlab import plan as plans
from cxrlab.errors import Usage
from cxrlab.naming import LAST_OF_THE_LAB, told_by_hand
from cxrlab.programs import PLACES
from store import runs, within
from store.db import Database
from trainers import catalog

_NOT_TOLD = (*PLACES, "recipe", "encoder_recipe", "pretrained", "threads")


class Difference(NamedTuple):
    """A setting in which two configurations differ; None where one does not have it."""

    name: str
    before: Any
    after: Any


def step_of(
    db: Database, run: runs.Run, *, changes: plans.Overrides = (), seed: int | None = None
) -> plans.Step:
    """Return what to queue for a clone of `run`.

    Raises:
        NotFound: no task is called as one in front of a setting.
        Usage: a setting has an option of its own, or the run was not launched here.
    """
    changed = dict(plans.settings_of(run.task, changes))
    if LAST_OF_THE_LAB not in run.command or run.task not in (catalog.PRETRAIN, *catalog.TASKS):
        raise Usage(f"{run.id} was not launched here, so there is nothing to launch again")
    settings = dict(told_by_hand(run.command)) | changed
    parent = runs.get(db, run.parent) if run.parent else None
    start = _given(run.command, "--pretrained")
    return plans.Step(
        method=run.method,
        task=run.task,
        ratio=run.ratio,
        seed=run.seed if seed is None else seed,
        preset=run.preset,
        overrides=tuple(settings.items()),
        weights="" if parent else start,
        encoder=launch.pretraining_of(parent, start) if parent else None,
        why=f"a clone of {run.id}",
    )


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """Return the settings in which two configurations differ, places and seed aside."""
    names = [name for name in {**before, **after} if name not in _NOT_TOLD]
    return [
        Difference(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]


def configuration(run: runs.Run) -> dict[str, Any]:
    """Return what a run was resolved to; empty where its folder does not tell."""
    return read_json(Path(run.folder) / "config.json")


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a file; empty where there is none."""
    return within.read_object(path.parent, path.name)


def _given(command: Sequence[str], option: str) -> str:
    return command[command.index(option) + 1] if option in command else ""
