"""What can befall a run or what stands around it: one function a fault, with what must follow."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.fault_campaign import SOON_S, Campaign
from cxrlab import agent, runner
from cxrlab.backends import local
from store import runs
from store.db import open_store

Fault = Callable[[Campaign, str], None]
FAULTS: dict[str, Fault] = {}


def fault(act: Fault) -> Fault:
    """Put a fault into the table, under the name of its function."""
    FAULTS[act.__name__] = act
    return act


def kill(pid: int, number: int = signal.SIGKILL) -> None:
    """Send a signal; a process that is gone is no error."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


@fault
def trainer(of: Campaign, name: str) -> None:
    """Kill a trainer with SIGKILL."""
    run = of.running()
    kill(of.pids(run)[1])
    of.expect(name, run, {"lost", "succeeded"})


@fault
def trainer_asked(of: Campaign, name: str) -> None:
    """Send a trainer SIGTERM, as a shutdown does."""
    run = of.running()
    kill(of.pids(run)[1], signal.SIGTERM)
    of.expect(name, run, {"stopped", "succeeded"})


@fault
def runner_alone(of: Campaign, name: str) -> None:
    """Kill a runner; its trainer goes on."""
    run = of.running()
    kill(of.pids(run)[0])
    of.expect(name, run, {"running", "succeeded"})


@fault
def both(of: Campaign, name: str) -> None:
    """Kill runner and trainer at once."""
    run = of.running()
    for pid in of.pids(run):
        kill(pid)
    of.expect(name, run, {"lost", "succeeded"})


@fault
def the_agent(of: Campaign, name: str) -> None:
    """Kill the agent; runs go on, and the next command starts another."""
    run = of.running()
    status = agent.status(of.lab)
    if status.pid:
        kill(status.pid)
    of.expect(name, run, {"running", "succeeded"})


@fault
def two_agents(of: Campaign, name: str) -> None:
    """Start a second agent; it must leave the work to the first."""
    run = of.running()
    line = [sys.executable, "-P", "-m", "cxrlab.agent", str(of.lab.root), "--idle-s", "1"]
    others = [subprocess.Popen(line, stderr=subprocess.DEVNULL) for _ in range(2)]
    if agent.status(of.lab).alive and all(each.wait(60) != 0 for each in others):
        of.wrong.append(f"{name}: the others did not leave")
    for each in others:
        each.wait(60)
    of.expect(name, run, {"running", "succeeded"})


@fault
def stopped_and_continued(of: Campaign, name: str) -> None:
    """Freeze a trainer for a while."""
    run = of.running()
    pid = of.pids(run)[1]
    kill(pid, signal.SIGSTOP)
    time.sleep(of.random.random())
    of.expect(name, run, {"running"})
    kill(pid, signal.SIGCONT)


@fault
def command_line(of: Campaign, name: str) -> None:
    """Kill a command at a random moment."""
    run = of.running()
    words = of.random.choice([["runs"], ["stop", run.id], ["show", run.id], ["grid"], ["rebuild"]])
    line = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(of.lab.root), *words]
    typed = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(of.random.random() * 1.5)
    typed.kill()
    typed.wait()
    of.expect(name, run, {"running", "stopped", "succeeded"})


@fault
def dashboard(of: Campaign, name: str) -> None:
    """Kill the dashboard; no run notices."""
    run = of.running()
    here, there = pty.openpty()
    line = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(of.lab.root), "tui"]
    screen = subprocess.Popen(line, stdin=there, stdout=there, stderr=there)
    os.close(there)
    drain = threading.Thread(target=drained, args=(here,), daemon=True)
    drain.start()
    time.sleep(of.random.random() * 3)
    screen.kill()
    screen.wait()
    of.expect(name, run, {"running", "succeeded"})


def drained(fd: int) -> None:
    """Read what a screen draws until it is gone."""
    with contextlib.suppress(OSError):
        while os.read(fd, 65536):
            pass
    os.close(fd)


@fault
def torn_line(of: Campaign, name: str) -> None:
    """Kill a trainer in the middle of writing an event."""
    run = of.running()
    kill(of.pids(run)[1])
    with (Path(run.folder) / "events.jsonl").open("a") as file:
        file.write('{"t": 1, "kind": "metrics", "step": 999, "val')
    of.expect(name, run, {"lost", "succeeded"})


@fault
def folder_deleted(of: Campaign, name: str) -> None:
    """Delete the folder of a run while it trains; it is lost, and cannot be had back."""
    run = of.running()
    shutil.rmtree(run.folder, ignore_errors=True)
    of.expect(name, run, {"lost", "failed"})
    shutil.rmtree(run.folder, ignore_errors=True)  # a checkpoint came late
    left = local.processes(Path(run.folder))
    deadline = time.monotonic() + SOON_S
    while left and time.monotonic() < deadline:
        time.sleep(0.1)
        left = local.processes(Path(run.folder))
    if left:
        of.wrong.append(f"{name}: processes of {run.id} are left: {left}")
        runner.kill_all(left)
    of.patiently(lambda: runs.remove(of.db, run.id))


@fault
def registry_locked(of: Campaign, name: str) -> None:
    """Let another program hold the registry's write lock."""
    run = of.running()
    held_s = of.random.uniform(1, 30)
    other = open_store(of.lab.registry)
    other.conn.execute("begin immediate")
    time.sleep(held_s)
    other.conn.execute("rollback")
    other.conn.close()
    of.expect(name, run, {"running", "succeeded"})


@fault
def rebooted(of: Campaign, name: str) -> None:
    """Let a run's record be from before the machine's last start, and its processes gone."""
    run = of.running()
    pids = of.pids(run)
    for pid in pids:
        kill(pid)
    path = runner.record_path(Path(run.folder), run.attempt)
    record = json.loads(path.read_text())
    if record.get("ended") is None:
        runner.write_record(path, {**record, "boot_id": "another"})
    of.expect(name, run, {"lost", "succeeded"})


@fault
def pid_used_again(of: Campaign, name: str) -> None:
    """Let the pids of a dead run belong to other programs by now."""
    run = of.running()
    for pid in of.pids(run):
        kill(pid)
    path = runner.record_path(Path(run.folder), run.attempt)
    record = json.loads(path.read_text())
    if record.get("ended") is None:
        other = {"pid": os.getpid(), "start": 1}  # this program's pid, at another time
        runner.write_record(path, {**record, "runner": other, "trainer": other})
    of.expect(name, run, {"lost", "succeeded"})


@fault
def clock_set(of: Campaign, name: str) -> None:
    """Let the times of a run's files be those of a clock that was set an hour forth or back."""
    run = of.running()
    at = time.time() + of.random.choice((-3600, 3600))
    beat = runner.beat_path(Path(run.folder), run.attempt)
    for path in (beat, Path(run.folder) / runner.LOG_NAME, Path(run.folder) / "events.jsonl"):
        with contextlib.suppress(FileNotFoundError):
            os.utime(path, (at, at))
    of.expect(name, run, {"running", "succeeded"})
    if any(word in of.now(run).reason for word in ("quiet", "stalled")):
        of.wrong.append(f"{name}: {run.id} is called silent: {of.now(run).reason}")


@fault
def disk_full(of: Campaign, name: str) -> None:
    """Fill the disk for a while, where it is a small one of the lab's own."""
    if os.statvfs(of.lab.root).f_blocks * os.statvfs(of.lab.root).f_frsize > 2**30:
        raise LookupError("needs `--tmpfs`")
    run = of.running()
    filler = of.lab.root / "filler"
    with contextlib.suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(65536))
            file.flush()
    time.sleep(of.random.random() * 2)
    filler.unlink()
    of.expect(name, run, {"running", "succeeded"})
