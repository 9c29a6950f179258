"""Does a lab survive what happens to its processes and files? Faults at random, then a reckoning.

    python -m benchmarks.faults --faults 200
    python -m benchmarks.faults --each
    python -m benchmarks.faults --faults 1000 --only trainer,runner,both,agent

Some runs train at a time. Each fault strikes one of them, or what stands around it, at a random
moment. Within `SOON_S` its state must be the right one; what was interrupted is resumed, and when
it has ended every step must stand in the registry once, the weights must be those of a run that
nothing befell, and no process may be left. Prints a table and exits with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks import each_fault
from benchmarks.fault_trainer import loss_at, weights_after
from cxrlab import agent, refresh, runner, steering
from cxrlab.backends import local
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab, make_lab
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

    # -- runs

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

    # -- what can be struck

    def pids(self, run: runs.Run) -> tuple[int, int]:
        """Return the pids of a run's runner and trainer."""
        record = local.read_record(Path(run.folder), run.attempt) or {}
        return int(record["runner"]["pid"]), int(record["trainer"]["pid"])


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


# -- the whole


@contextlib.contextmanager
def place(tmpfs: bool) -> Iterator[Path]:
    """Give a folder for the lab, on a small disk of its own where asked (needs root)."""
    folder = Path(tempfile.mkdtemp(prefix="faults-"))
    mounted = (
        tmpfs
        and not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=False
        ).returncode
    )
    try:
        yield folder
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def strike(campaign: Campaign, name: str) -> None:
    """Let one fault happen, and note what it was too much for."""
    try:
        FAULTS[name](campaign, name)
        campaign.counts[name] += 1
    except LookupError as error:
        campaign.counts[f"{name}: left out, {error}"] += 1
    except Exception as error:
        campaign.counts[name] += 1
        campaign.wrong.append(f"{name}: {type(error).__name__}: {error}")


def main() -> int:
    """Run the campaign and print what came of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", default="", help="some faults, with commas between")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tmpfs", action="store_true", help="a small disk, to fill (needs root)")
    parser.add_argument("--each", action="store_true", help="each fault once, and what is said")
    given = parser.parse_args()
    if given.each:
        return each_fault.main()
    names = given.only.split(",") if given.only else list(FAULTS)
    with place(given.tmpfs) as folder:
        campaign = Campaign(folder / "lab", given.seed)
        began = time.monotonic()
        for number in range(given.faults):
            strike(campaign, names[number % len(names)])
            if number % 20 == 19:
                print(f"{number + 1} faults, {len(campaign.wrong)} wrong", file=sys.stderr)
        settle(campaign)
        report(campaign, time.monotonic() - began)
        with contextlib.suppress(CxrlabError):
            agent.end(campaign.lab)
    return bool(campaign.wrong)


def settle(campaign: Campaign) -> None:
    """Let every run come to its end, and reckon with it."""
    deadline = time.monotonic() + END_S
    while runs.count(campaign.db) and time.monotonic() < deadline:
        for run in campaign.open_runs("succeeded"):
            campaign.reckon(run)
        for run in campaign.open_runs("lost", "stopped", "failed"):
            campaign.again(run)
        agent.ensure_agent(campaign.lab)
        time.sleep(0.2)
    for run in runs.select(campaign.db):
        campaign.wrong.append(f"{run.id} never came to its end: {run.state} ({run.reason})")


def report(campaign: Campaign, seconds: float) -> None:
    """Print the table."""
    print(f"{'fault':<44} {'times':>5}  slowest state")
    for name, count in sorted(campaign.counts.items()):
        slow = campaign.slowest.get(name)
        print(f"{name:<44} {count:>5}  " + ("" if slow is None else f"{slow:.2f} s"))
    print(
        f"{campaign.finished} runs came to their end, {campaign.resumed} times one went on, "
        f"in {seconds:.0f} s; {len(campaign.wrong)} things wrong"
    )
    for line in campaign.wrong:
        print(f"  {line}")


if __name__ == "__main__":
    sys.exit(main())
