"""How does what a run uses of its machine come into its folder, a line for each stretch of time?

    python -P -m cxrlab.use FOLDER ATTEMPT PID

`store.use` tells what a line says. Between two looks a value is taken to change evenly, so that a
mean times its time is the integral by the trapezoidal rule; of memory the most is kept. A stretch
lasts from one look to the next, and in a long run a thousandth of what has passed: 61 hours make
some 4,000 lines. Whoever is killed takes the stretch that is under way along, and nothing else.
The agent watches the runs of its own machine (`cxrlab.use_watch`). On a node of a cluster there is
none: a job starts this module as a program, which watches the processes below PID (0: none) and the
GPUs of its own environment until its standard input ends. Standard library only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import runner
from cxrlab.gpus import Gpu, read_gpus
from cxrlab.process_trees import Cost, Trees

FILE_NAME = "use.jsonl"
PERIOD_S = 10.0
"""How often a run is looked at."""

GAP_S = 60.0
"""Of more time between two looks nothing is known."""

PART = 1000
"""A stretch lasts at least so small a part of the run."""

_GIB = 2**30
_END_S = 2.0
"""How long a watcher may take to end before it is killed."""


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


def visible(environment: Mapping[str, str]) -> list[str]:
    """Return the GPUs that a process was told to use, as it numbers them."""
    names = environment.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return [name.strip() for name in names if name.strip()]


@contextlib.contextmanager
def watched(folder: Path, attempt: int, pid: int) -> Iterator[None]:
    """Have an attempt watched by a process of its own, which may hang and is not waited for."""
    command = [sys.executable, "-P", "-m", "cxrlab.use", str(folder), str(attempt), str(pid)]
    marks = (runner.FOLDER_MARK, runner.ATTEMPT_MARK)  # it is no process of the run
    try:
        watcher = subprocess.Popen(
            command,
            env={name: value for name, value in os.environ.items() if name not in marks},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        yield
        return
    try:
        yield
    finally:
        assert watcher.stdin is not None
        watcher.stdin.close()
        try:
            watcher.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            watcher.kill()


def main(argv: Sequence[str] | None = None) -> int:
    """Watch an attempt on this machine until standard input ends."""
    parser = argparse.ArgumentParser(prog="python -P -m cxrlab.use", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("attempt", type=int)
    parser.add_argument("pid", type=int)
    parser.add_argument("--period-s", type=float, default=PERIOD_S, help="how often to look")
    options = parser.parse_args(argv)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # of the whole job; its runner says when it is over
    trees, devices = Trees(), visible(os.environ)
    record = Record(options.folder, options.attempt, time.time())
    while True:
        gpus = read_gpus().gpus if devices else ()
        cost = trees.look([options.pid]).get(options.pid)
        record.add(look(time.time() - record.began, in_order(gpus, devices), cost))
        if select.select([sys.stdin], [], [], options.period_s)[0]:
            record.close()
            return 0


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


if __name__ == "__main__":
    sys.exit(main())
