"""What a job does with a run; Slurm's signals and its `scontrol` are played."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrlab import runner

FAKE_TRAINER = Path(__file__).parents[1] / "fake_trainer.py"
JOB = "import sys; from cxrlab.backends import job; job.STILL_S = 2.0; sys.exit(job.main())"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "run"
    place.mkdir()
    return place


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Start]:
    """Start the run's job as its script would, for the first time or again."""
    programs = tmp_path / "bin"
    programs.mkdir()
    running = []

    def begin(
        *options: str, restarts: int = 0, scontrol: str = "exit 0", command: list[str] | None = None
    ) -> Any:
        (programs / "scontrol").write_text(f"#!/bin/sh\necho $* >>{tmp_path}/asked\n{scontrol}\n")
        (programs / "scontrol").chmod(0o755)
        trainer = [sys.executable, "-P", str(FAKE_TRAINER), "--output_dir", str(folder)]
        trainer += ["--fake_steps", "100000", "--fake_step_s", "0.02", *options]
        order = {"token": "t", "attempt": 1, "nodes": 1, "max_requeues": 3}
        order["command"] = command or trainer
        (folder / "slurm.json").write_text(json.dumps(order))
        around = {
            **os.environ,
            "PATH": f"{programs}:/usr/bin:/bin",
            "SLURM_JOB_ID": "12",
            "SLURM_RESTART_COUNT": str(restarts),
        }
        line = [sys.executable, "-P", "-c", JOB, str(folder), "t"]
        with (folder / "log.txt").open("ab") as log:
            running.append(subprocess.Popen(line, env=around, stdout=log, stderr=log))
        return running[-1]

    yield begin
    for job in running:
        job.kill()
        job.wait()
    runner.kill_all(runner.processes_of(folder))


def steps(folder: Path) -> list[list[int]]:
    """Return the steps that each attempt has logged, as they came."""
    path = folder / "events.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    found: list[list[int]] = []
    for event in map(json.loads, lines):
        if event["kind"] == "start":
            found.append([])
        elif event["kind"] == "metrics":
            found[-1].append(event["step"])
    return found


def at_work(folder: Path, attempt: int) -> bool:
    """Return whether an attempt has trained for some steps."""
    return len(logged := steps(folder)) == attempt and len(logged[-1]) >= 3


def record(folder: Path, attempt: int) -> dict[str, Any]:
    return json.loads((folder / f"attempts/{attempt}.json").read_text())


def saved(folder: Path) -> int:
    return json.loads((folder / "checkpoints/last.pt").read_text())["step"]


def cut(folder: Path, start: Start, wait_until: Any, **played: str) -> dict[str, Any]:
    """Return the record of a job that was told that its time is short while it trained."""
    job = start(**played)
    wait_until(lambda: at_work(folder, 1))
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 143
    return record(folder, 1)


def test_a_job_that_is_short_of_time_saves_and_asks_to_be_started_again(
    folder: Path, tmp_path: Path, start: Start, wait_until: Any
) -> None:
    told = cut(folder, start, wait_until)
    assert (told["short_of_time"], told["requeue"]) == (True, True)
    assert (tmp_path / "asked").read_text() == "requeue 12\n"
    start(restarts=1)
    wait_until(lambda: at_work(folder, 2))
    logged = [step for attempt in steps(folder) for step in attempt]
    assert logged == list(range(1, len(logged) + 1))  # none is lost at the cut, none twice


def test_slurms_own_sigterm_does_not_hide_that_it_starts_the_job_again(
    folder: Path, start: Start, wait_until: Any
) -> None:
    # Slurm ends every process of a job that it requeues, and scontrol is one of them
    told = cut(folder, start, wait_until, scontrol="kill -TERM $$; exit 0")
    assert (told["requeue"], told.get("requeue_refused")) == (True, None)


def test_a_scontrol_that_is_killed_has_refused_nothing(
    folder: Path, start: Start, wait_until: Any
) -> None:
    told = cut(folder, start, wait_until, scontrol="kill -KILL $$")
    assert (told["requeue"], told.get("requeue_refused")) == (True, None)


OWN = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
print("begun", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize("words", [["--restartable"], []])
def test_a_program_of_ones_own_is_started_again_only_where_it_was_said_to_go_on(
    folder: Path, start: Start, wait_until: Any, words: list[str]
) -> None:
    job = start(command=[sys.executable, "-c", OWN, *words, "--", "train.py", "--restartable"])
    wait_until(lambda: "begun" in (folder / "log.txt").read_text())
    job.send_signal(signal.SIGUSR1)
    assert job.wait(60) == 143
    assert record(folder, 1)["requeue"] is bool(words)


def test_what_slurm_refuses_is_written_down(folder: Path, start: Start, wait_until: Any) -> None:
    refusal = "echo 'Requested operation is presently disabled for job 12' >&2; exit 1"
    told = cut(folder, start, wait_until, scontrol=refusal)
    assert told["requeue"] is False
    assert "presently disabled" in told["requeue_refused"]


def test_an_attempt_on_a_node_that_slurm_gave_up_ends_before_the_next_one_begins(
    folder: Path, start: Start, wait_until: Any
) -> None:
    first = start()
    wait_until(lambda: at_work(folder, 1))
    start(restarts=1)  # on another node, while the first one lives on
    assert first.wait(60) == 137
    wait_until(lambda: at_work(folder, 2))
    before, after = steps(folder)
    assert after == list(range(after[0], after[0] + len(after)))  # nobody else writes
    assert after[0] in (before[-1], before[-1] + 1)  # killed before or after it had saved


def test_an_attempt_whose_node_died_without_a_word_is_not_waited_for_long(
    folder: Path, start: Start, wait_until: Any
) -> None:
    first = start()
    wait_until(lambda: at_work(folder, 1))
    trainer = record(folder, 1)["trainer"]["pid"]
    os.kill(first.pid, signal.SIGSTOP)  # both at once, as a node dies
    os.kill(trainer, signal.SIGKILL)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    step = saved(folder)
    start(restarts=1)
    wait_until(lambda: at_work(folder, 2))
    assert steps(folder)[1][0] == step + 1
