from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from cxrlab import agent, launch, plan, refresh, runner
from cxrlab import states as states_words
from cxrlab.backends import local
from cxrlab.lab import Lab
from cxrlab.queueing import steering
from store import claims, runs

Make = Callable[..., runs.Run]
LONG = ("--fake_steps", "100000", "--fake_step_s", "0.05")


@pytest.fixture
def working(lab: Lab) -> agent.Agent:
    """An agent of this process, whose passes the test makes itself."""
    made = agent.Agent(lab, idle_s=1.0)
    made.watch.wait_s = 60.0  # a pass decides by a reading of its own
    return made


@pytest.fixture
def some_gpus(tmp_path: Path, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend to have GPUs, each with so many MiB in use; lets the lab use `allowed` of them."""

    def pretend(*used: int, allowed: int | str = "all") -> None:
        items = [
            {"index": i, "uuid": f"GPU-{i}", "name": "H200", "used_mib": mib, "total_mib": 9999}
            for i, mib in enumerate(used)
        ]
        (tmp_path / "gpus.json").write_text(json.dumps(items))
        monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(tmp_path / "gpus.json"))
        text = lab.settings_file.read_text().replace("gpus = 0", f"gpus = {json.dumps(allowed)}")
        lab.settings_file.write_text(text + "[gpus]\nsettle_s = 0\n")

    return pretend


def launch_siim(lab: Lab, db: Any) -> list[launch.Launched]:
    wants = plan.wanted(["deep_mrm"], ["siim"], ratios=[10], preset="quick")
    return launch.carry_out(lab, db, plan.plan(wants, launch.pretrainings(db)))


def agents_of(lab: Lab) -> list[int]:
    """Return the living agent processes of a lab, by what their command line says."""
    words = [b"cxrlab.agent", str(lab.root).encode()]
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and runner.process_start(int(entry.name)) is not None:
            try:
                line = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if all(word in line for word in words):
                found.append(int(entry.name))
    return found


def go_on(run: runs.Run) -> None:
    """Let a trainer go on that was begun with `--fake_hang`."""
    (Path(run.folder) / "go on").touch()


def states(db: Any) -> dict[str, str]:
    return {run.id: run.state for run in runs.select(db)}


def test_a_launched_cell_runs_through_by_itself_pre_training_first(
    lab: Lab, db: Any, wait_for_state: Make
) -> None:
    first, second = launch_siim(lab, db)
    agent.ensure_agent(lab)
    tuned = wait_for_state(second.id, *runs.ENDED)
    before = runs.get(db, first.id)
    assert (before.state, tuned.state) == ("succeeded", "succeeded")
    assert before.ended is not None
    assert tuned.started is not None
    assert before.ended <= tuned.started
    assert claims.held(db) == {}


@pytest.mark.slow
def test_several_starts_at_once_give_one_agent(
    lab: Lab, trainer: Make, wait_until: Callable[..., Any]
) -> None:
    trainer(*LONG)
    code = (
        "import sys; from cxrlab import agent; from cxrlab.lab import find_lab\n"
        "agent.ensure_agent(find_lab(), idle_s=60)"
    )
    racers = [subprocess.Popen([sys.executable, "-P", "-c", code], cwd=lab.root) for _ in range(5)]
    assert [racer.wait(timeout=900) for racer in racers] == [0] * 5
    wait_until(lambda: agent.status(lab).pid is not None)
    wait_until(lambda: agents_of(lab) == [agent.status(lab).pid])  # the others find it and end


def test_the_agent_ends_when_nothing_is_left_to_do(
    lab: Lab, db: Any, trainer: Make, wait_for_state: Make, wait_until: Callable[..., Any]
) -> None:
    run = trainer("--fake_step_s", "0.5")
    agent.ensure_agent(lab, idle_s=0.5)
    wait_until(lambda: agent.status(lab).alive)
    assert wait_for_state(run.id, *runs.ENDED).state == "succeeded"
    wait_until(lambda: not agent.status(lab).alive)
    assert wait_until(lambda: agents_of(lab) == [])


def test_an_agent_without_a_registry_to_look_after_ends(
    lab: Lab, db: Any, wait_until: Callable[..., Any]
) -> None:
    agent.ensure_agent(lab, idle_s=600)
    wait_until(lambda: agent.status(lab).pid is not None)
    lab.registry.unlink()
    assert wait_until(lambda: agents_of(lab) == [])


def test_kill_9_of_the_agent_ends_no_run_and_the_next_look_knows_how_it_ended(
    lab: Lab, db: Any, trainer: Make, wait_for_state: Make, wait_until: Callable[..., Any]
) -> None:
    run = trainer("--fake_hang", "1")
    agent.ensure_agent(lab)
    wait_for_state(run.id, "running")
    wait_until(lambda: (Path(run.folder) / "events.jsonl").exists())
    (pid,) = agents_of(lab)
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: agents_of(lab) == [])
    assert local.look(Path(run.folder), 1).trainer_alive
    go_on(run)
    assert wait_for_state(run.id, *runs.ENDED).state == "succeeded"


def test_the_next_agent_carries_on_with_what_waits(
    lab: Lab, db: Any, wait_for_state: Make, wait_until: Callable[..., Any]
) -> None:
    _, second = launch_siim(lab, db)
    agent.ensure_agent(lab)
    wait_until(lambda: agents_of(lab))
    for pid in agents_of(lab):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: agents_of(lab) == [])
    agent.carry_on(lab, db)
    assert wait_for_state(second.id, *runs.ENDED).state == "succeeded"


def test_looking_starts_no_agent_where_nothing_waits(lab: Lab, db: Any) -> None:
    agent.carry_on(lab, db)
    assert agent.status(lab) == agent.Status(False)
    assert agents_of(lab) == []


def test_ending_the_agent_ends_no_run(
    lab: Lab, db: Any, trainer: Make, wait_for_state: Make, wait_until: Callable[..., Any]
) -> None:
    run = trainer(*LONG)
    agent.ensure_agent(lab)
    wait_until(lambda: agent.status(lab).pid)
    wait_until(lambda: local.look(Path(run.folder), 1).trainer_alive)
    assert agent.end(lab) is True
    assert agent.status(lab).alive is False
    assert agent.end(lab) is False
    time.sleep(0.3)
    assert local.look(Path(run.folder), 1).trainer_alive


HOLDS_THE_LOCK = """
import fcntl, json, os, sys, time
with open(sys.argv[1], "a+") as file:
    print("up", flush=True)
    fcntl.flock(file, fcntl.LOCK_EX)
    file.truncate(0)
    file.write(json.dumps({"pid": os.getpid(), "since": 0.0}))
    file.flush()
    time.sleep(600)
"""


def test_ending_ends_also_an_agent_that_waits_for_the_lock_of_the_first(
    lab: Lab, wait_until: Callable[..., Any]
) -> None:
    def begun() -> subprocess.Popen[bytes]:
        words = [sys.executable, "-c", HOLDS_THE_LOCK, str(lab.agent_lock)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        stat = Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")")[-1].split()[0] == "S")
        return process

    both = [begun()]
    wait_until(lambda: agent.status(lab).pid == both[0].pid)
    both.append(begun())  # sleeps, because the first has what it waits for
    assert agent.end(lab) is True
    assert [process.wait(300) for process in both] == [-signal.SIGTERM, -signal.SIGTERM]
    assert agent.status(lab) == agent.Status(False)


def test_runs_beyond_the_places_wait_and_say_for_what(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent
) -> None:
    made = [trainer(*LONG) for _ in range(3)]
    working.one_pass()
    assert [runs.get(db, run.id).state for run in made] == ["running", "running", "queued"]
    assert runs.get(db, made[2].id).reason == "waits for a free CPU slot"
    assert claims.held(db) == {"cpu:0": made[0].id, "cpu:1": made[1].id}


def test_a_place_that_becomes_free_is_given_to_the_longest_waiting(
    db: Any, trainer: Make, working: agent.Agent, wait_until: Callable[..., Any]
) -> None:
    made = [trainer(), *(trainer(*LONG) for _ in range(3))]

    def step() -> bool:
        working.one_pass()
        return runs.get(db, made[2].id).state == "running"

    wait_until(step)
    assert [runs.get(db, run.id).state for run in made] == [
        "succeeded",
        "running",
        "running",
        "queued",
    ]


def test_free_gpus_are_given_by_uuid(
    db: Any, trainer: Make, working: agent.Agent, some_gpus: Callable[..., None]
) -> None:
    some_gpus(9000, 3, 2)
    one, two = trainer(*LONG, gpus=1), trainer(*LONG, gpus=1)
    third = trainer(*LONG, gpus=1)
    working.one_pass()
    assert claims.held(db) == {"GPU-2": one.id, "GPU-1": two.id}
    waiting = runs.get(db, third.id)
    assert (waiting.state, waiting.reason) == (
        "queued",
        "needs 1 GPU; GPU 0 is held by another user (9 GiB); GPUs 1, 2 are held by this lab's runs",
    )


def test_the_labs_limit_on_gpus_holds(
    db: Any, trainer: Make, working: agent.Agent, some_gpus: Callable[..., None]
) -> None:
    some_gpus(3, 3, 3, allowed=1)
    made = [trainer(*LONG, gpus=1) for _ in range(2)]
    working.one_pass()
    assert [runs.get(db, run.id).state for run in made] == ["running", "queued"]


def test_a_run_that_wants_many_gpus_is_not_overtaken_but_the_cpu_is_used(
    db: Any, trainer: Make, working: agent.Agent, some_gpus: Callable[..., None]
) -> None:
    some_gpus(3, 9000)
    many, few, none = trainer(gpus=2), trainer(gpus=1), trainer(*LONG)
    working.one_pass()
    assert [runs.get(db, run.id).state for run in (many, few, none)] == [
        "queued",
        "queued",
        "running",
    ]


def test_gpus_that_cannot_be_read_are_named_as_the_reason(
    db: Any, trainer: Make, working: agent.Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRLAB_FAKE_GPUS", "/no/such/file")
    run = trainer(gpus=1)
    working.one_pass()
    waiting = runs.get(db, run.id)
    assert waiting.state == "queued"
    assert "/no/such/file" in waiting.reason


def test_settings_that_are_being_edited_hold_nothing_up(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent
) -> None:
    lab.settings_file.write_text("[launch\n")
    run = trainer(*LONG)
    working.one_pass()
    assert runs.get(db, run.id).state == "running"


def test_a_resumed_run_is_given_its_checkpoint_by_the_agent(
    lab: Lab,
    db: Any,
    trainer: Make,
    working: agent.Agent,
    wait_for_state: Make,
    wait_until: Callable[..., Any],
) -> None:
    run = trainer("--fake_steps", "4", "--fake_hang", "2")
    working.one_pass()
    folder = Path(run.folder)
    saved = folder / "checkpoints" / "last.pt"
    wait_until(lambda: saved.exists() and json.loads(saved.read_text()) == {"step": 2})
    record = local.read_record(folder, 1)
    assert record is not None
    os.kill(record["trainer"]["pid"], signal.SIGKILL)
    steering.resume(lab, db, wait_for_state(run.id, "lost"))
    working.one_pass()
    done = wait_for_state(run.id, *runs.ENDED)
    assert (done.state, done.attempt) == ("succeeded", 2)
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    starts = [event["step"] for event in events if event["kind"] == "start"]
    assert starts == [0, 2]


def test_a_run_that_is_stopped_before_the_agent_comes_never_starts(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent
) -> None:
    run = trainer()
    steering.stop(lab, db, run)
    working.one_pass()
    assert runs.get(db, run.id).state == "stopped"
    assert not (Path(run.folder) / "attempts").exists()


def test_a_run_that_can_not_be_started_is_failed_and_holds_nothing(
    db: Any, new_run: Make, working: agent.Agent
) -> None:
    run = new_run()
    Path(run.folder).rmdir()
    working.one_pass()
    failed = runs.get(db, run.id)
    assert failed.state == "failed"
    assert failed.reason.startswith("cannot be started")
    assert claims.held(db) == {}


def test_the_agent_does_not_inherit_the_mark_of_a_run(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., Any]
) -> None:
    monkeypatch.setenv(runner.FOLDER_MARK, str(lab.runs_dir / "some"))
    agent.ensure_agent(lab, idle_s=60)
    pid = wait_until(lambda: agent.status(lab).pid)
    assert pid not in runner.processes_of(lab.runs_dir / "some")


def test_a_pass_does_not_fail_when_the_registry_does(lab: Lab, working: agent.Agent) -> None:
    lab.registry.unlink(missing_ok=True)
    lab.registry.write_text("no database, and long enough to be refused as one" * 10)
    assert working.one_pass() is True
    assert working.complaint


def test_while_the_registry_fails_a_runner_that_has_ended_does_not_keep_the_agent_awake(
    lab: Lab, trainer: Make, working: agent.Agent
) -> None:
    trainer()
    working.one_pass()
    (child,) = working.children
    os.waitid(os.P_PID, child.runner.pid, os.WEXITED | os.WNOWAIT)
    lab.registry.unlink()
    assert working.one_pass() is True
    assert working.complaint
    assert working.children == []


def test_a_place_that_falls_free_is_given_before_the_next_pass(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent, wait_for_state: Make
) -> None:
    text = lab.settings_file.read_text().replace("cpu_slots = 2", "cpu_slots = 1")
    lab.settings_file.write_text(text)
    first, second = trainer("--fake_hang", "1"), trainer("--fake_hang", "1")
    with ThreadPoolExecutor(1) as pool:
        passing = pool.submit(working.one_pass, nap_s=2000.0)  # no other pass comes
        wait_for_state(first.id, "running")
        assert runs.get(db, second.id).state == "queued"
        go_on(first)
        wait_for_state(second.id, "running")
        working.asked_to_end = True
        go_on(second)
        assert passing.result() is True
    wait_for_state(second.id, "succeeded")


def test_a_runner_that_ends_before_it_could_note_anything_is_known_at_once(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent
) -> None:
    run = trainer()
    (Path(run.folder) / "attempts").write_text("in the way of a folder")
    working.one_pass()
    (child,) = working.children
    assert child.runner.wait(timeout=900) != 0
    working.one_pass()
    told = "\n".join(each.reason for each in runs.select(db))
    assert "its runner left no record" in told


def test_what_a_trainer_writes_into_its_deleted_folder_does_not_keep_the_run_alive(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent, wait_until: Callable[..., Any]
) -> None:
    run = trainer(*LONG)
    folder = Path(run.folder)

    def speaks() -> bool:
        working.one_pass()
        return runs.get(db, run.id).last_event is not None

    wait_until(speaks)
    shutil.rmtree(folder)
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.pt").write_text("came late")
    refresh.refresh(lab, db)
    assert (runs.get(db, run.id).state, runs.get(db, run.id).reason) == (
        "lost",
        states_words.FOLDER_GONE,
    )
    assert wait_until(lambda: runner.processes_of(folder) == [])


def test_refreshing_and_giving_leave_no_zombie(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent, wait_for_state: Make
) -> None:
    run = trainer()
    working.one_pass()
    wait_for_state(run.id, "succeeded")
    (child,) = working.children
    child.runner.wait(timeout=900)
    working.one_pass()
    assert working.children == []
    refresh.refresh(lab, db)
