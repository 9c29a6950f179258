"""How does what a run uses of its machine come into its folder, a line for each stretch of time?

`store.use` tells what a line says. Between two looks a value is taken to change evenly, so that a
mean times its time is the integral by the trapezoidal rule; of memory the most is kept. A stretch
lasts from one look to the next, and in a long run a thousandth of what has passed: 61 hours make
some 4,000 lines. Whoever is killed takes the stretch that is under way along, and nothing else.
Standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab.gpus import Gpu
from cxrlab.process_trees import Cost

FILE_NAME = "use.jsonl"
PERIOD_S = 10.0
"""How often a run is looked at."""

GAP_S = 60.0
"""Of more time between two looks nothing is known."""

PART = 1000
"""A stretch lasts at least so small a part of the run."""

_GIB = 2**30


class Look(NamedTuple):
    """What was seen at one moment."""

    at: float
    """How long the attempt had been running (s)."""
    values: Mapping[str, float]
    cpu_s: float | None
    """CPU time taken so far."""


def look(at: float, gpus: Sequence[Gpu | None], cost: Cost | None, *, own: str = "") -> Look:
    """Return what is seen now of a run.

    Args:
        at: how long the attempt has been running (s).
        gpus: those that the run holds, in its own order; None for one that could not be read.
        cost: what its processes take; None where that is not known.
        own: the run folder, where its GPUs are shared: of their memory only its part counts then.
    """
    values: dict[str, float] = {}
    for number, gpu in enumerate(gpus):
        if gpu is None:
            continue
        told = {
            "utilization": gpu.utilization,
            "memory": _memory_mib(gpu, own) / 1024,
            "power": gpu.power_w,
            "temperature": gpu.temperature,
        }
        values |= {f"gpu/{number}/{n}": float(v) for n, v in told.items() if v is not None}
    if cost is not None:
        values["host/memory"] = cost.memory / _GIB
    return Look(at, values, cost.cpu_s if cost else None)


def in_order(gpus: Collection[Gpu], devices: Sequence[str]) -> list[Gpu | None]:
    """Return the GPUs that `devices` name, by UUID or index, in their order."""
    named = {name: gpu for gpu in gpus for name in (gpu.uuid, str(gpu.index))}
    return [named.get(device) for device in devices]


def _memory_mib(gpu: Gpu, own: str) -> int:
    known = [each.mib for each in gpu.processes if own and each.folder == own]
    return sum(mib or 0 for mib in known) if any(known) else gpu.used_mib


class Record:
    """What is seen of one attempt, on its way into the run folder."""

    def __init__(self, folder: Path, attempt: int, began: float) -> None:
        self.folder, self.attempt = folder, attempt
        self.began = began
        """When the attempt did (s since the epoch)."""
        self._before: Look | None = None
        self._begin()

    def _begin(self) -> None:
        self._lasted = 0.0
        self._areas: dict[str, tuple[float, float]] = {}
        """The integral over the stretch so far, and over how much of it."""
        self._most: dict[str, float] = {}

    def add(self, now: Look) -> None:
        """Take in what was seen, and write the stretch down where it has lasted long enough."""
        before, self._before = self._before, now
        span = now.at - before.at if before else 0.0
        if before is None or not 0 < span <= GAP_S:  # the clock was set, or nobody looked
            if before is not None:
                self._write(before.at)
            return
        self._lasted += span
        for name in before.values.keys() & now.values.keys():
            one, two = before.values[name], now.values[name]
            if name.endswith("/memory"):
                self._most[name] = max(self._most.get(name, 0.0), one, two)
            else:
                self._add(name, (one + two) / 2 * span, span)
        if before.cpu_s is not None and now.cpu_s is not None:
            self._add("host/cpu", 100 * max(0.0, now.cpu_s - before.cpu_s), span)
        if self._lasted >= now.at / PART:
            self._write(now.at)

    def close(self) -> None:
        """Write down what there is of the stretch under way."""
        if self._before is not None:
            self._write(self._before.at)

    def _add(self, name: str, area: float, span: float) -> None:
        areas, spans = self._areas.get(name, (0.0, 0.0))
        self._areas[name] = (areas + area, spans + span)

    def _write(self, at: float) -> None:
        means = {name: area / span for name, (area, span) in self._areas.items()}
        values = {name: round(value, 3) for name, value in sorted({**means, **self._most}.items())}
        line = {
            "t": round(self.began + at, 3),
            "attempt": self.attempt,
            "at": round(at, 3),
            "s": round(self._lasted, 3),
            "values": values,
        }
        self._begin()
        if values:
            with contextlib.suppress(OSError):  # a full disk, a folder that is gone: one line less
                append(self.folder / FILE_NAME, json.dumps(line))


def append(path: Path, line: str) -> None:
    """Append a line by one call; one that was torn before it is closed first.

    Raises:
        OSError: it cannot be written, or the path is no plain file.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, 0o666)
    try:
        size = os.fstat(handle).st_size
        torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
        os.write(handle, (b"\n" if torn else b"") + line.encode() + b"\n")
    finally:
        os.close(handle)
