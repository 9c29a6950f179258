"""Which data sets does a lab keep to itself, and what of a run is therefore not shown?

A set is marked by `restricted = true` under `[data.NAME]` in `cxrlab.toml`. Of a run on it, nothing
that holds a report or an image is shown, exported, sent or bundled: samples with their captions,
and predictions. Numbers are. A command shows them where the set is named by `--include-restricted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cxrlab.errors import unknown_name
from cxrlab.lab import Lab
from trainers import catalog

if TYPE_CHECKING:
    from store.artifacts import Artifact

KEPT_BACK = ("sample",)
"""Kinds of files that show what a set holds."""


def including(lab: Lab, names: Iterable[str] | None) -> Lab:
    """Return the lab with the restricted sets that a command line asks for by name.

    Raises:
        NotFound: no data set is called so.
    """
    for name in names or ():
        if name not in catalog.DATASETS:
            raise unknown_name("data set", name, catalog.DATASETS)
    return replace(lab, included=frozenset(names or ()))


def hidden(lab: Lab, task: str) -> str:
    """Return the restricted set that runs of `task` show; empty where all may be shown."""
    entry = catalog.PRETRAIN_ENTRY if task == catalog.PRETRAIN else catalog.TASKS.get(task)
    name = entry.dataset if entry else ""
    known = lab.settings.data.get(name)
    return name if known and known.restricted and name not in lab.included else ""


def shown(lab: Lab, task: str, saved: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """Return those files of a run of `task` that may be shown."""
    kept_back = KEPT_BACK if hidden(lab, task) else ()
    return tuple(one for one in saved if one.kind not in kept_back)


def told(name: str) -> str:
    """Return in words that something of a restricted set is not shown."""
    return f"not shown: `{name}` is restricted; `--include-restricted {name}` shows them"
