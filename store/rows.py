"""What does a row of `runs` look like, and what is said when no single run is meant?"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from store.db import StoreError


class NewRun(NamedTuple):
    """What is known of a run at birth."""

    id: str
    method: str
    task: str
    ratio: int | None
    seed: int
    preset: str
    recipe: str
    folder: str
    parent: str | None
    """The run whose encoder it starts from."""
    command: list[str]
    gpus: int
    """0 for a run on the CPU."""
    needs: tuple[str, ...] = ()
    """The runs that must have succeeded before it may start."""
    priority: int = 0
    gpu_mib: int | None = None
    """How much memory of each GPU somebody said it needs; None where nobody did."""
    share: bool | None = None
    """Whether others may run on its GPUs beside it; None for as the lab says."""
    backend: str = "local"
    """Who starts it: this machine, or a cluster's `slurm`."""
    nodes: int = 1


class Run(NamedTuple):
    """One row: what was asked, where it stands, and what its trainer said last."""

    id: str
    method: str
    task: str
    ratio: int | None
    seed: int
    preset: str
    state: str
    reason: str
    recipe: str
    folder: str
    parent: str | None
    command: list[str]
    gpus: int
    priority: int
    created: float
    queued: float | None
    started: float | None
    """When the latest attempt began."""
    ended: float | None
    attempt: int
    step: int | None
    epoch: float | None
    done: int | None
    total: int | None
    eta_s: float | None
    last_event: float | None
    stop_requested: float | None
    end_outcome: str | None
    """What the `end` event of the present attempt said; None while it has not come."""
    end_reason: str
    warnings: int
    bad_lines: int
    held: float | None
    """Since when somebody keeps it from starting; None where nobody does."""
    gpu_mib: int | None
    share: bool | None
    backend: str
    nodes: int
    job: str | None
    """The cluster's number of the job that it has there; "" while it is handed in."""
    needs: tuple[str, ...]


class NoSuchRun(StoreError):
    """No run has that id or begins with that prefix."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no run is called `{name}`")
        self.name = name


class AmbiguousRun(StoreError):
    """More than one run begins with that prefix; `candidates` holds them, newest first."""

    def __init__(self, prefix: str, candidates: list[Run]) -> None:
        named = ", ".join(f"`{run.id}`" for run in candidates)
        super().__init__(f"`{prefix}` could be any of {named}")
        self.prefix = prefix
        self.candidates = candidates


COLUMNS = """
  id, method, task, ratio, seed, preset, state, reason, recipe, folder, parent, command, gpus,
  priority, created, queued, started, ended, attempt, step, epoch, done, total, eta_s, last_event,
  stop_requested,
  case when end_attempt = attempt then end_outcome end,
  case when end_attempt = attempt then end_reason else '' end,
  warnings, bad_lines, held, gpu_mib, share, backend, nodes,
  (select job from jobs where run = runs.seq and jobs.ended is null),
  (select json_group_array(n.id) from needs join runs n on n.seq = need where run = runs.seq)
"""
"""What to select from `runs` for `read_row`."""


def read_row(row: Sequence[Any]) -> Run:
    """Return a row selected with `COLUMNS` as a run."""
    run = Run._make(row)
    return run._replace(
        command=json.loads(row[11]),
        needs=tuple(json.loads(row[-1])),
        share=None if run.share is None else bool(run.share),
    )
