"""How much GPU memory does a run need, going by what others like it have taken?

A trainer logs the most that its tensors took (`perf/peak_gib`); the context of CUDA, and what lies
unused between the tensors, come on top.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

from cxrlab import likeness
from cxrlab.likeness import Kind, kind_of
from store import peaks
from store.db import Database

CONTEXT_MIB = 512
BESIDE_OTHERS = 1.1
"""What a run that shares is given of what was measured: a neighbour must not starve it."""


class Coming(likeness.Coming, Protocol):
    """A run, or one that is to be."""

    @property
    def gpus(self) -> int: ...  # noqa: D102
    @property
    def gpu_mib(self) -> int | None: ...  # noqa: D102
    @property
    def share(self) -> bool | None: ...  # noqa: D102


class Demand(NamedTuple):
    """What a run asks of GPUs."""

    gpus: int
    mib: int | None = None
    """Of each; None where nothing is known, and it takes whole ones."""
    told: bool = False
    """Whether a person said so; else it was learnt, and the roomiest GPU does in any case."""
    share: bool = False
    """Whether others may run beside it."""


class Demands:
    """What runs ask for, each kind of run looked up once."""

    def __init__(self, db: Database, *, share: bool) -> None:
        self._db = db
        self._share = share
        self._known: dict[Kind, float | None] = {}

    def of(self, run: Coming) -> Demand:
        """Return what a run asks for; only one whose memory is known shares."""
        share = self._share if run.share is None else run.share
        if run.gpu_mib is not None:
            return Demand(run.gpus, run.gpu_mib, told=True, share=share)
        peak = self._peak_gib(run)
        if peak is None or not run.gpus:
            return Demand(run.gpus)
        factor = BESIDE_OTHERS if share else 1.0
        return Demand(run.gpus, math.ceil(peak * 1024 * factor) + CONTEXT_MIB, share=share)

    def _peak_gib(self, run: Coming) -> float | None:
        kind = kind_of(run)
        if kind not in self._known:
            self._known[kind] = peaks.peak(self._db, "perf/peak_gib", **kind._asdict())
        return self._known[kind]
