"""How does the agent see what each running run uses of the machine?

It looks every ten seconds, at the GPUs by the reading that `cxrlab.gpus.watch` has anyway, so that
a driver that hangs leaves out GPUs and holds nothing up. An agent that dies loses the stretch of
time that is under way; the next one goes on.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import runner, use
from cxrlab.backends import local
from cxrlab.gpus import Reading
from cxrlab.gpus.whose import is_gpu
from cxrlab.lab import Lab
from cxrlab.process_trees import Trees
from store import claims, intake, runs
from store.db import Database
from store.runs import Run


class _Watched(NamedTuple):
    """One attempt that is under way."""

    record: use.Record
    trainer: int
    start: int | None
    """With the pid it names one process."""
    devices: tuple[str, ...]
    """Its GPUs by UUID, as it numbers them."""


class UseWatch:
    """What the running runs have used since they were last looked at."""

    def __init__(self, *, period_s: float = use.PERIOD_S) -> None:
        self.period_s = period_s
        self._looked = float("-inf")
        self._reading: Reading | None = None
        self._trees = Trees()
        self._watched: dict[tuple[str, int], _Watched] = {}

    def look(self, lab: Lab, db: Database, reading: Reading | None) -> None:
        """Look at every running run of this machine where that is due.

        Args:
            lab: the lab.
            db: its registry, open.
            reading: the newest of the GPUs; None where nobody has looked.
        """
        passed = time.monotonic() - self._looked
        if passed < self.period_s:
            return
        held = claims.every(db)
        fresh = reading is not None and reading is not self._reading and reading.known
        if not fresh and passed < 2 * self.period_s and any(is_gpu(c.device) for c in held):
            return  # the next reading is on its way
        self._looked, self._reading = time.monotonic(), reading
        gpus = reading.gpus if reading is not None and fresh else ()
        self._choose(db, held)
        shared = {c.device for c in held if not c.exclusive}
        alive = {
            key: each
            for key, each in self._watched.items()
            if runner.process_start(each.trainer) == each.start
        }
        costs, now = self._trees.look({each.trainer for each in alive.values()}), time.time()
        for each in alive.values():
            record = each.record
            own = str(record.folder) if shared & set(each.devices) else ""
            order = use.in_order(gpus, each.devices)
            cost = costs.get(each.trainer)
            record.add(use.look(now - record.began, order, cost, own=own))

    def close(self) -> None:
        """Write down what is under way."""
        for each in self._watched.values():
            each.record.close()
        self._watched.clear()

    def _choose(self, db: Database, held: Sequence[claims.Claim]) -> None:
        """Begin with attempts that are new, and be done with those that are over."""
        running = {
            (run.id, run.attempt): run
            for run in runs.select(db, states=("running",))
            if run.job is None
        }
        for key in self._watched.keys() - running.keys():
            over = self._watched.pop(key)
            over.record.close()
            try:
                intake.take_in(db, key[0], over.record.folder)
            except runs.NoSuchRun:  # removed meanwhile
                continue
        for key in running.keys() - self._watched.keys():
            devices = [c.device for c in held if c.run == key[0] and is_gpu(c.device)]
            if found := _begin(running[key], devices):
                self._watched[key] = found


def _begin(run: Run, devices: Sequence[str]) -> _Watched | None:
    """Begin to watch an attempt; None while it has no trainer on this machine."""
    seen = local.look(Path(run.folder), run.attempt)
    if not (seen.record and seen.trainer_alive and seen.same_host and seen.record.get("trainer")):
        return None
    trainer = seen.record["trainer"]
    began = seen.record.get("started") or run.started or time.time()
    record = use.Record(Path(run.folder), run.attempt, float(began))
    visible = use.visible(_environment(int(trainer["pid"])))
    named = [device for device in visible if device in devices]
    more = [device for device in devices if device not in named]
    return _Watched(record, int(trainer["pid"]), trainer.get("start"), (*named, *more))


def _environment(pid: int) -> dict[str, str]:
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(each.split("=", 1) for each in text.split("\0") if "=" in each)
