"""Does each fault have its state, its reason in words and a next step, within 5 s?

    python -m benchmarks.faults --each

One run after the other meets one fault; the time from the fact to the right word is measured. A
hang counts from the moment at which its silence is a stall. Exits with 1 where anything is wrong.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from cxrlab import advice, refresh, runner
from cxrlab.backends import local
from cxrlab.lab import Lab, make_lab
from cxrlab.queueing import steering
from store import runs
from store.db import Database, open_store

HERE = Path(__file__).parent
SOON_S, END_S = 5.0, 60.0
STALL_S = 3.0
CONFIG = {"method": "mrm", "task": "pretrain", "device": "cpu", "batch_size": 64, "accum_iter": 2,
          "num_workers": 4}  # fmt: skip
TORCHRUN = [sys.executable, "-P", "-m", "torch.distributed.run"]

Act = Callable[["Case"], float]
"""Lets the fault happen; returns when it did, by `time.monotonic`."""


class Row(NamedTuple):
    """A fault, what ends or befalls a run by it, and what must then be said."""

    fault: str
    options: tuple[str, ...]
    act: Act
    state: str
    word: str


class Case:
    """One run that meets a fault."""

    def __init__(self, lab: Lab, db: Database, options: tuple[str, ...]) -> None:
        self.lab, self.db = lab, db
        id = runs.new_id()
        self.folder = lab.runs_dir / f"{id}-mrm-pretrain-s0"
        (self.folder / "checkpoints").mkdir(parents=True)
        (self.folder / "config.json").write_text(json.dumps(CONFIG))
        first = options[0] if options else ""
        program = [sys.executable, "-P", str(HERE / "fault_trainer.py")]
        if first == "torchrun":
            program, options = (
                [*TORCHRUN, *options[1:-1], str(HERE / "fault_rank.py")],
                options[-1:],
            )
        command = [*program, "--output_dir", str(self.folder), *options]
        new = runs.NewRun(
            id, "mrm", "pretrain", None, 0, "quick", "r", str(self.folder), None, command, 0
        )
        runs.add(db, [new])
        runs.change_state(db, id, "running")
        self.id, attempt = id, runs.start_attempt(db, id, time.time())
        command = steering.attempt_command(runs.get(db, id))
        self.child = local.start(self.folder, attempt, command=command, gpus=[], cwd=lab.root)

    def at_work(self) -> None:
        """Wait until some steps are done."""
        events = self.folder / "events.jsonl"
        deadline = time.monotonic() + END_S
        while not (events.exists() and '"step": 8,' in events.read_text()):
            if time.monotonic() > deadline:
                raise TimeoutError("it does not train")
            time.sleep(0.02)

    def pid(self, who: str) -> int:
        """Return the pid of its runner or trainer."""
        record = local.read_record(self.folder, 1) or {}
        return int(record[who]["pid"])

    def change_record(self, **facts: object) -> None:
        """Write something else into the record of a dead runner."""
        path = runner.record_path(self.folder, 1)
        runner.write_record(path, {**json.loads(path.read_text()), **facts})

    def look(self) -> runs.Run:
        """Look, as any command does."""
        refresh.refresh(self.lab, self.db)
        return runs.get(self.db, self.id)


def by_itself(case: Case) -> float:
    """Wait until its trainer has ended."""
    case.child.wait(timeout=END_S)
    return time.monotonic()


def killed(*who: str, number: int = signal.SIGKILL) -> Act:
    """Return what sends a signal to a run's processes."""

    def act(case: Case) -> float:
        case.at_work()
        for pid in [case.pid(each) for each in who]:
            os.kill(pid, number)
        return time.monotonic()

    return act


def changed(**facts: object) -> Act:
    """Return what kills a run and changes its record."""

    def act(case: Case) -> float:
        killed("runner", "trainer")(case)
        case.child.wait(timeout=END_S)
        case.change_record(**facts)
        return time.monotonic()

    return act


def hung(case: Case) -> float:
    """Wait until its last step is so long ago that it counts as stalled."""
    case.at_work()
    events = case.folder / "events.jsonl"
    size, since = 0, time.monotonic()
    while time.monotonic() - since < STALL_S:
        if events.stat().st_size != size:
            size, since = events.stat().st_size, time.monotonic()
        time.sleep(0.02)
    return time.monotonic()


def disk_filled(case: Case) -> float:
    """Wait until its trainer finds no room; it looks for more than any disk has."""
    deadline = time.monotonic() + END_S
    while not (case.folder / "paused.json").exists() or not (
        (case.folder / "paused.json").read_text().strip()
    ):
        if time.monotonic() > deadline:
            raise TimeoutError("it does not pause")
        time.sleep(0.02)
    return time.monotonic()


def free_port() -> int:
    """Return a port that nobody listens on at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def table() -> list[Row]:
    """Return every fault with what must be said of it."""
    alone = ("torchrun", "--standalone", "--nproc-per-node=2")
    where = f"--rdzv-endpoint=localhost:{free_port()}"
    nodes = ("torchrun", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d")
    meeting = (*nodes, where, "--rdzv-conf=join_timeout=2")
    mine = {"pid": os.getpid(), "start": 1}  # this program's pid, at another time
    return [
        Row("exit code", ("--fault=status",), by_itself, "failed", "exit status 7"),
        Row("SIGTERM", (), killed("trainer", number=signal.SIGTERM), "stopped", "SIGTERM"),
        Row("SIGKILL", (), killed("trainer"), "lost", "SIGKILL"),
        Row("supervisor killed", (), killed("runner"), "running", "its runner is gone"),
        Row("both killed", (), killed("runner", "trainer"), "lost", "vanished"),
        Row("reboot", (), changed(boot_id="another"), "lost", "restarted"),
        Row("pid used again", (), changed(runner=mine, trainer=mine), "lost", "vanished"),
        Row("GPU out of memory", ("--fault=oom",), by_itself, "failed", "GPU out of memory"),
        Row("host out of memory", ("--fault=host_oom",), by_itself, "lost", "out of memory (host)"),
        Row("disk full", ("--fault=disk",), disk_filled, "running", "paused: the disk is full"),
        Row("NaN loss", ("--fault=nan",), by_itself, "failed", "not finite at step"),
        Row("hang", ("--fault=hang",), hung, "running", "stalled"),
        Row("one rank dead", (*alone, "--fault=kill"), by_itself, "lost", "rank 1"),
        Row("rendezvous time-out", (*meeting, "--fault=none"), by_itself, "failed", "timed out"),
    ]


def main() -> int:
    """Let each fault happen, and print the table."""
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="each-") as folder:
        made = make_lab(Path(folder) / "lab")
        made.settings_file.write_text(
            f"[launch]\ngpus = 0\nretry_lost = 0\nstall_factor = 3\nstall_least_s = {STALL_S}\n"
        )
        lab = make_lab(Path(folder) / "lab")
        db = open_store(lab.registry)
        for row in table():
            if row.fault == "host out of memory" and os.geteuid() != 0:
                print(f"{row.fault:<20} left out: needs root, for a control group")
                continue
            wrong += not met(row, lab, db)
        db.conn.close()
    print(f"{wrong} wrong")
    return bool(wrong)


def met(row: Row, lab: Lab, db: Database) -> bool:
    """Let one fault happen, and return whether the right was said of it soon enough."""
    case = Case(lab, db, row.options)
    began = row.act(case)
    while True:
        seen = case.look()
        spent = time.monotonic() - began
        right = seen.state == row.state and row.word in seen.reason
        if right or spent > SOON_S:
            break
        time.sleep(0.02)
    step = advice.next_step(seen, CONFIG)
    print(f"{row.fault:<20} {seen.state:<8} {spent:5.2f} s" + ("" if right else "  WRONG"))
    for name, said in (("reason", seen.reason), ("next", step)):
        text = f"{name}: {said or '-'}"
        print(textwrap.indent(textwrap.fill(text, 92), "    "), flush=True)
    local.kill(case.folder, 1, runner_too=True)
    case.child.wait(timeout=END_S)
    case.look()
    for group in Path("/sys/fs/cgroup").glob("**/cxrlab-fault-*"):
        with contextlib.suppress(OSError):
            group.rmdir()
    return right and bool(step)


if __name__ == "__main__":
    sys.exit(main())
