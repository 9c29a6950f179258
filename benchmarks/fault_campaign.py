"""A lab in which faults strike: its runs, what is expected of them, and what was found wrong."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.fault_trainer import loss_at, weights_after
from cxrlab import agent, refresh
from cxrlab.backends import local
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab, make_lab
from cxrlab.queueing import steering
from store import points, runs
from store.db import StoreError, open_store

TRAINER = Path(__file__).with_name("fault_trainer.py")
SOON_S = 5.0
"""In what time a state must be true."""

STEPS, STEP_S, AT_ONCE = 60, 0.05, 4
END_S = 300.0


class Campaign:
    """A lab, its runs, and what has been found wrong."""

    def __init__(self, root: Path, seed: int) -> None:
        self.random = random.Random(seed)
        made = make_lab(root)
        made.settings_file.write_text(
            f"[launch]\ngpus = 0\ncpu_slots = {AT_ONCE}\nthreads = 1\nstop_grace_s = 20\n"
            "retry_lost = 0\n"
        )
        self.lab: Lab = make_lab(root)
        self.db = open_store(self.lab.registry)
        self.wrong: list[str] = []
        self.counts: Counter[str] = Counter()
        self.slowest: dict[str, float] = {}
        self.finished = self.resumed = self.seed = 0

    def add(self) -> runs.Run:
        """Queue one more run, and see that an agent lives."""
        self.seed += 1
        id = runs.new_id()
        folder = self.lab.runs_dir / f"{id}-mrm-pretrain-s{self.seed}"
        (folder / "checkpoints").mkdir(parents=True)
        command = [sys.executable, "-P", str(TRAINER), "--output_dir", str(folder)]
        command += ["--seed", str(self.seed), "--steps", str(STEPS), "--step_s", str(STEP_S)]
        config = {"method": "mrm", "task": "pretrain", "seed": self.seed, "device": "cpu"}
        (folder / "config.json").write_text(json.dumps(config))
        new = runs.NewRun(
            id, "mrm", "pretrain", None, self.seed, "quick", "r", str(folder), None, command, 0
        )
        self.patiently(lambda: runs.add(self.db, [new]))
        agent.ensure_agent(self.lab)
        return runs.get(self.db, id)

    def patiently(self, act: Callable[[], Any]) -> Any:
        """Do what a person would do again where the registry was busy or the disk full."""
        deadline = time.monotonic() + END_S
        while True:
            try:
                return act()
            except (StoreError, OSError) as error:
                if time.monotonic() > deadline:
                    raise
                self.counts[f"told to a person: {str(error)[:40]}"] += 1
                time.sleep(0.2)

    def now(self, run: runs.Run) -> runs.Run:
        """Look, as any command does, and return the run as it is."""
        with contextlib.suppress(StoreError):
            refresh.refresh(self.lab, self.db)
        return runs.get(self.db, run.id)

    def running(self) -> runs.Run:
        """Return a run whose trainer is at work, at a random moment of its training."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            self.sweep()
            time.sleep(self.random.random() * 0.3)
            at_work = [run for run in self.open_runs("running") if self.trains(run)]
            if at_work:
                return self.random.choice(at_work)
        raise TimeoutError("nothing trains")

    def trains(self, run: runs.Run) -> bool:
        """Return whether the trainer of a run's present attempt is there, and far from its end."""
        record = local.read_record(Path(run.folder), run.attempt) or {}
        return bool(record.get("trainer")) and run.step is not None and run.step < STEPS - 15

    def open_runs(self, *wanted: str) -> list[runs.Run]:
        """Return the runs in some states, freshly looked at."""
        with contextlib.suppress(StoreError):
            refresh.refresh(self.lab, self.db)
        return runs.select(self.db, states=wanted)

    def sweep(self) -> None:
        """Take the finished runs off, go on with the interrupted ones, and keep enough going."""
        for run in self.open_runs("succeeded"):
            self.reckon(run)
        for run in self.open_runs("lost", "stopped", "failed"):
            self.again(run)
        while runs.count(self.db, states=("queued", "running")) < AT_ONCE:
            self.add()
        agent.ensure_agent(self.lab)

    def again(self, run: runs.Run) -> None:
        """Resume or retry an interrupted run."""
        try:
            self.patiently(lambda: steering.retry(self.lab, self.db, run))
            self.resumed += 1
        except CxrlabError as error:
            self.wrong.append(f"{run.id} ({run.state}) cannot go on: {error}")
            self.patiently(lambda: runs.remove(self.db, run.id))

    def reckon(self, run: runs.Run) -> None:
        """Hold a finished run against one that nothing befell, and remove it."""
        folder = Path(run.folder)
        kept = json.loads((folder / "checkpoints" / "last.pt").read_text())
        if kept != {"step": STEPS, "weights": weights_after(run.seed, STEPS)}:
            self.wrong.append(f"{run.id}: its weights are not those of an undisturbed run")
        told = points.curve(self.db, run.id, "train/loss", most=10_000)
        expected = [(step, loss_at(run.seed, step)) for step in range(1, STEPS + 1)]
        if [tuple(point) for point in told] != expected:
            self.wrong.append(f"{run.id}: {len(told)} steps are in the registry, not {STEPS}")
        deadline = time.monotonic() + SOON_S
        while (left := local.processes(folder)) and time.monotonic() < deadline:
            time.sleep(0.05)  # the runner writes its record, then ends
        if left:
            self.wrong.append(f"{run.id}: processes are left: {left}")
        self.finished += 1
        self.patiently(lambda: steering.remove(self.lab, self.db, run))

    def expect(self, fault: str, run: runs.Run, right: set[str], word: str = "") -> None:
        """Note a state that is not among those expected, or not in time."""
        began = time.monotonic()
        while True:
            seen = self.now(run)
            spent = time.monotonic() - began
            if seen.state in right and word in seen.reason:
                break
            if spent > SOON_S:
                said = f"{seen.state} ({seen.reason})"
                self.wrong.append(f"{fault}: {run.id} is {said}, not {' or '.join(right)} {word}")
                break
            time.sleep(0.05)
        self.slowest[fault] = max(self.slowest.get(fault, 0.0), spent)

    def pids(self, run: runs.Run) -> tuple[int, int]:
        """Return the pids of a run's runner and trainer."""
        record = local.read_record(Path(run.folder), run.attempt) or {}
        return int(record["runner"]["pid"]), int(record["trainer"]["pid"])
