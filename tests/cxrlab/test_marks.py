"""Two labs on one machine never give the same GPU to two runs, whenever they look."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import pwd
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli, marks, refresh, runner
from cxrlab.backends import local
from cxrlab.gpus import watch as gpu_watch
from cxrlab.lab import make_lab
from store import claims, runs
from store.db import open_store

GIB = 1024


class Side:
    """A lab with its registry and its agent, who looks at the GPUs anew in each pass."""

    def __init__(self, root: Path, settings: str) -> None:
        make_lab(root).settings_file.write_text(settings)
        self.lab = make_lab(root)
        self.db = open_store(self.lab.registry)
        self.agent = agent.Agent(self.lab, idle_s=1.0)
        self.agent.watch.wait_s = 120.0

    def queue(self, *command: str, **facts: Any) -> runs.Run:
        """Queue a run of a GPU; without a command one that holds it until it is ended."""
        id = runs.new_id()
        folder = self.lab.runs_dir / f"{id}-mrm-pretrain-s0"
        folder.mkdir()
        words = list(command) or ["sleep", "600"]
        new = runs.NewRun(id, "mrm", "pretrain", None, 0, "quick", "r", str(folder), None, words, 1)
        runs.add(self.db, [new._replace(**facts)])
        return runs.get(self.db, id)

    def now(self, run: runs.Run) -> runs.Run:
        refresh.refresh(self.lab, self.db)
        return runs.get(self.db, run.id)

    def pids(self, run: runs.Run) -> tuple[int, int]:
        """Return the pids of runner and trainer; (0, 0) before both are there."""
        record = local.read_record(Path(run.folder), 1) or {}
        if not record.get("trainer"):
            return 0, 0
        return int(record["runner"]["pid"]), int(record["trainer"]["pid"])

    def kill(self, run: runs.Run) -> None:
        """Kill runner and trainer of a run that has both."""
        for pid in self.pids(run):
            os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        for run in runs.select(self.db, states=("running",)):
            runner.kill_all(runner.processes_of(Path(run.folder)))
        for child in self.agent.children:
            child.runner.wait()
        self.db.conn.close()


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let the machine have so many idle GPUs."""
    path = tmp_path / "gpus.json"
    monkeypatch.setenv(marks.FAKE_VARIABLE, str(path))
    monkeypatch.setattr(gpu_watch, "WANTED_S", 0.0)
    monkeypatch.setattr(gpu_watch, "HELD_S", 0.0)
    monkeypatch.setattr(gpu_watch, "FRESH_S", 600.0)  # however busy this machine is

    def have(number: int) -> None:
        blank = {"name": "H200", "used_mib": 3, "total_mib": 24 * GIB}
        seen = [{"index": i, "uuid": f"GPU-{i}", **blank} for i in range(number)]
        path.write_text(json.dumps(seen))

    have(1)
    return have


@pytest.fixture
def two(tmp_path: Path, gpus: Callable[[int], None]) -> Iterator[tuple[Side, Side]]:
    settings = '[launch]\ngpus = "all"\nretry_lost = 0\n[gpus]\nsettle_s = 0\n'
    sides = Side(tmp_path / "one", settings), Side(tmp_path / "two", settings)
    yield sides
    for side in sides:
        side.close()


def look_at_once(sides: tuple[Side, Side]) -> None:
    """Let both agents pass at the same moment."""
    start = threading.Barrier(2)

    def work(side: Side) -> None:
        start.wait()
        side.agent.one_pass()

    threads = [threading.Thread(target=work, args=(side,)) for side in sides]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def race(sides: tuple[Side, Side], rounds: int, wait_until: Any) -> list[int]:
    """Let two labs want one GPU at the same moment, again and again.

    Returns:
        How many of the two runs ran in each round.
    """
    ran = []
    for _ in range(rounds):
        queued = [side.queue() for side in sides]
        look_at_once(sides)
        states = [runs.get(side.db, run.id).state for side, run in zip(sides, queued, strict=True)]
        ran.append(states.count("running"))
        for side, run in zip(sides, queued, strict=True):
            runs.change_state(side.db, run.id, "stopped", expect=("queued",))
            if runs.get(side.db, run.id).state == "running":
                wait_until(lambda side=side, run=run: side.pids(run)[1])
                side.kill(run)
                wait_until(lambda side=side, run=run: side.now(run).state == "lost")
    return ran


def test_of_two_labs_that_look_at_the_same_moment_one_gets_the_gpu(
    two: tuple[Side, Side], wait_until: Any
) -> None:
    assert race(two, 10, wait_until) == [1] * 10


@pytest.mark.slow
def test_a_hundred_races_for_one_gpu_have_one_winner_each(
    two: tuple[Side, Side], wait_until: Any
) -> None:
    assert race(two, 100, wait_until) == [1] * 100


def contend(start: Any, answers: Any, devices: list[str]) -> None:
    """Put marks at each start, say whether all were to be had, and take them away when told."""
    while True:
        start.wait()
        put = marks.put(devices)
        answers.send(put is not None)
        start.wait()
        marks.take_away(put or {})


def test_of_labs_that_want_overlapping_gpus_one_gets_all_and_none_gets_some(
    gpus: Callable[[int], None],
) -> None:
    fork = multiprocessing.get_context("fork")
    start = fork.Barrier(4)
    wanted = (["a", "b"], ["b", "c"], ["c", "a"])
    ends, children = [], []
    for devices in wanted:
        mine, theirs = fork.Pipe()
        ends.append(mine)
        children.append(fork.Process(target=contend, args=(start, theirs, devices), daemon=True))
        children[-1].start()
    try:
        for _ in range(100):
            start.wait(60)
            got = [end.recv() for end in ends]
            assert got.count(True) == 1
            left = set("abc") - set(wanted[got.index(True)])
            assert set(marks.users("abc")) == set("abc") - left
            start.wait(60)
    finally:
        for child in children:
            child.kill()
            child.join()


def test_a_run_that_waits_says_that_the_gpu_is_another_labs(two: tuple[Side, Side]) -> None:
    first, second = two
    first.queue()
    first.agent.one_pass()
    waits = second.queue()
    second.agent.one_pass()
    told = runs.get(second.db, waits.id)
    assert (told.state, told.reason) == (
        "queued",
        "needs 1 GPU; GPU 0 is held by another program of yours",
    )
    shown = CliRunner().invoke(cli.app, ["--lab", str(second.lab.root), "gpus"])
    assert "another program of yours" in shown.stdout


def test_the_other_lab_takes_what_is_left(
    two: tuple[Side, Side], gpus: Callable[[int], None]
) -> None:
    gpus(3)
    first, second = two
    first.queue(gpus=2)
    first.agent.one_pass()
    small, large = second.queue(), second.queue(gpus=2)
    second.agent.one_pass()
    assert claims.held(second.db) == {"GPU-2": small.id}
    assert runs.get(second.db, large.id).state == "queued"


def test_a_gpu_is_free_for_the_other_lab_when_a_run_has_ended(two: tuple[Side, Side]) -> None:
    first, second = two
    run = first.queue("true")
    first.agent.one_pass()
    for child in first.agent.children:
        child.runner.wait()
    assert first.now(run).state == "succeeded"
    assert marks.users(["GPU-0"]) == {}
    taken = second.queue()
    second.agent.one_pass()
    assert runs.get(second.db, taken.id).state == "running"


def test_a_trainer_that_outlives_its_runner_keeps_its_gpu_and_nobody_keeps_it_for_the_dead(
    two: tuple[Side, Side], wait_until: Any
) -> None:
    first, second = two
    run, waits = first.queue(), second.queue()
    first.agent.one_pass()
    of_runner, of_trainer = wait_until(lambda: first.pids(run)[1] and first.pids(run))
    os.kill(of_runner, signal.SIGKILL)
    for child in first.agent.children:
        child.runner.wait()
    second.agent.one_pass()
    assert first.now(run).state == "running"
    assert runs.get(second.db, waits.id).state == "queued"
    os.kill(of_trainer, signal.SIGKILL)
    wait_until(lambda: first.now(run).state == "lost")
    second.agent.one_pass()
    assert runs.get(second.db, waits.id).state == "running"


def test_runs_that_share_a_gpu_keep_it_until_the_last_has_ended(
    two: tuple[Side, Side], wait_until: Any
) -> None:
    first, second = two
    shares = {"gpu_mib": 8 * GIB, "share": True}
    one, other = first.queue(**shares), first.queue(**shares)
    first.agent.one_pass()
    assert len(claims.every(first.db)) == 2
    waits = second.queue(**shares)  # two labs share nothing: neither knows what the other needs
    second.agent.one_pass()
    assert runs.get(second.db, waits.id).state == "queued"
    wait_until(lambda: first.pids(one)[1] and first.pids(other)[1])
    first.kill(one)
    wait_until(lambda: first.now(one).state == "lost")
    wait_until(lambda: marks.users(["GPU-0"]))
    second.agent.one_pass()
    assert runs.get(second.db, waits.id).state == "queued"


def test_where_there_are_no_such_sockets_runs_start_all_the_same(
    two: tuple[Side, Side], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(device: str) -> bytes:
        return b"\0" + b"too long " * 100

    monkeypatch.setattr(marks, "_name", refuse)
    run = two[0].queue()
    two[0].agent.one_pass()
    assert runs.get(two[0].db, run.id).state == "running"


def test_a_mark_that_is_asked_for_often_still_tells_that_it_is_there(
    gpus: Callable[[int], None],
) -> None:
    put = marks.put(["GPU-0"])
    assert put is not None
    asked = {tuple(marks.users(["GPU-0"]).items()) for _ in range(200)}
    assert asked == {(("GPU-0", marks.user_name(os.getuid())),), (("GPU-0", ""),)}
    marks.take_away(put)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_it_tells_which_user_has_a_gpu(gpus: Callable[[int], None]) -> None:
    nobody = pwd.getpwnam("nobody")
    asks, told = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            os.setuid(nobody.pw_uid)
            put = marks.put(["GPU-0"])
            os.write(told, b"y" if put else b"n")
            signal.pause()
        os._exit(1)
    try:
        assert os.read(asks, 1) == b"y"
        assert marks.users(["GPU-0", "GPU-1"]) == {"GPU-0": "nobody"}
        assert marks.put(["GPU-0"]) is None
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(asks)
        os.close(told)
