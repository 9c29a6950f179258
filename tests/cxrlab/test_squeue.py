"""What is believed where Slurm answers, is silent, or is not there; its commands are made up."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from cxrlab import refresh
from cxrlab.backends import calls, squeue
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import starting, steering
from cxrlab.queueing.submitting import Desk
from store import jobs, queue, runs


@pytest.fixture(autouse=True)
def _time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no answer be late, and none become old, because the machine is slow."""
    for name in ("POLL_S", "AGAIN_S", "COMMAND_LIMIT_S"):
        monkeypatch.setattr(squeue, name, 600.0)


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a command of Slurm that runs some lines of shell."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def make(name: str, *lines: str) -> None:
        path = folder / name
        path.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
        path.chmod(0o755)

    for name in ("squeue", "sacct", "scancel", "sbatch", "scontrol"):
        make(name, "exit 1")
    return make


@pytest.fixture
def handed_in(new_run: Any, db: Any) -> runs.Run:
    """A run that Slurm knows as job 12."""
    run = new_run(backend="slurm")
    jobs.begin(db, [run.id], "cxrlab-token", time.time() - 100)
    jobs.note(db, run.id, "cxrlab-token", "12")
    return runs.get(db, run.id)


def reason(lab: Lab, db: Any, run: runs.Run) -> str:
    refresh.refresh(lab, db)
    return runs.get(db, run.id).reason


def test_one_question_is_asked_and_its_answer_kept(
    lab: Lab, db: Any, command: Any, handed_in: runs.Run, tmp_path: Path
) -> None:
    command("squeue", f"echo asked >>{tmp_path}/asked", "echo '12|PENDING|Priority||cxrlab-token'")
    for _ in range(5):
        assert "higher priority" in reason(lab, db, handed_in)
    assert (tmp_path / "asked").read_text() == "asked\n"


@pytest.mark.parametrize("lines", [["exec sleep 60"], ["echo 'squeue: error: no way' >&2; exit 1"]])
def test_a_silent_slurm_is_a_state_and_blocks_nobody(
    lab: Lab,
    db: Any,
    command: Any,
    handed_in: runs.Run,
    lines: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command("squeue", "echo '12|RUNNING|None|n1|cxrlab-token'")
    assert reason(lab, db, handed_in) == "starting on n1"
    command("squeue", *lines)
    if "sleep" in lines[0]:
        monkeypatch.setattr(squeue, "COMMAND_LIMIT_S", 0.5)
    path = lab.registry.with_name("squeue.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tried": 0.0}))
    told = reason(lab, db, handed_in)
    assert told.startswith("starting on n1; unknown since ")
    assert "squeue took longer than 0.5 s" in told or told.endswith("no way")
    assert runs.get(db, handed_in.id).state == "running"
    assert reason(lab, db, handed_in) == told  # which asks nobody again so soon
    monkeypatch.setattr(squeue, "COMMAND_LIMIT_S", 600.0)
    command("squeue", "echo '12|TIMEOUT|TimeLimit|n1|cxrlab-token'")
    path.write_text(json.dumps({**json.loads(path.read_text()), "tried": 0.0}))
    assert "time limit" in reason(lab, db, handed_in)


def test_while_somebody_asks_nobody_else_waits(lab: Lab, command: Any) -> None:
    command("squeue", "exec sleep 60")
    question = squeue.Question.put(lab, [], limit_s=60)
    assert question
    assert squeue.look(lab, []) == squeue.Known()
    question.drop()


def test_what_the_queue_has_forgotten_the_accounts_know(
    lab: Lab, db: Any, command: Any, handed_in: runs.Run
) -> None:
    command("squeue", "exit 0")
    command("sacct", "echo 'JobID|State|NodeList|JobName'", "echo '12|NODE_FAIL|n7|cxrlab-token'")
    assert reason(lab, db, handed_in) == "n7 failed"
    assert runs.get(db, handed_in.id).state == "lost"
    assert runs.get(db, handed_in.id).job is None


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("echo '12|NODE_FAIL|None|n7|cxrlab-token'", "n7 failed"),
        ("echo '12|PREEMPTED|None|n7|cxrlab-token'", "preempted by a job of higher priority"),
        ("exit 0", "job 12 is gone from Slurm, and never began"),
    ],
)
def test_a_run_that_slurm_has_lost_is_handed_in_again_after_a_while(
    lab: Lab, db: Any, command: Any, handed_in: runs.Run, wait_until: Any, said: str, words: str
) -> None:
    source = lab.settings_file.read_text()
    lab.settings_file.write_text(source.replace("retry_lost = 0", "retry_lost = 1"))
    lab, desk = find_lab(lab.root), Desk()
    command("squeue", said)
    command("sbatch", "echo 34")
    assert reason(lab, db, handed_in).startswith(f"lost once, {words}; starts again at ")
    back = runs.get(db, handed_in.id)
    assert (back.state, back.job) == ("queued", None)
    assert starting.trusted(lab, db, backend="slurm") == []  # not yet
    queue.release(db, [back.id])  # as its time does
    (again,) = starting.trusted(lab, db, backend="slurm")
    wait_until(lambda: desk.work(lab, db, [again], {}) or runs.get(db, back.id).job == "34")
    (lab.registry.parent / "squeue.json").unlink()
    command("squeue", "echo '34|NODE_FAIL|None|n7|cxrlab-other'")
    assert reason(lab, db, handed_in) == "n7 failed; lost twice, and not started again by itself"
    assert runs.get(db, handed_in.id).state == "lost"


def test_a_job_that_somebody_cancelled_or_that_broke_is_not_handed_in_again(
    lab: Lab, db: Any, command: Any, handed_in: runs.Run
) -> None:
    source = lab.settings_file.read_text()
    lab.settings_file.write_text(source.replace("retry_lost = 0", "retry_lost = 3"))
    command("squeue", "echo '12|CANCELLED|None|n7|cxrlab-token'")
    assert reason(find_lab(lab.root), db, handed_in) == "job 12 was cancelled in Slurm"
    assert runs.get(db, handed_in.id).state == "stopped"


def test_a_job_that_cannot_be_cancelled_leaves_the_run_as_it_is(
    lab: Lab, db: Any, command: Any, handed_in: runs.Run
) -> None:
    command("scancel", "echo 'scancel: error: cannot contact' >&2; exit 1")
    with pytest.raises(CxrlabError, match="cannot contact"):
        steering.stop(lab, db, handed_in)
    assert runs.get(db, handed_in.id).state == "queued"
    with pytest.raises(CxrlabError, match="has job 12 in Slurm"):
        steering.remove(lab, db, handed_in)


def test_what_is_handed_in_and_never_answered_is_found_by_its_name(
    lab: Lab, db: Any, command: Any, new_run: Any, wait_until: Any
) -> None:
    run = new_run(backend="slurm")
    command("sbatch", "exec sleep 60")
    desk = Desk()
    desk.work(lab, db, [run], {})
    assert runs.get(db, run.id).job == ""
    assert desk.handing
    desk.handing.call.end()
    token, desk = desk.handing.token, Desk()  # as after a kill of the agent
    command("squeue", f"echo '34|PENDING|Priority||{token}'")
    wait_until(lambda: desk.work(lab, db, [], {}) or runs.get(db, run.id).job == "34")
    assert json.loads((Path(run.folder) / "slurm.json").read_text())["job"] == "34"


def test_slurm_that_cannot_be_reached_is_tried_again_later(
    lab: Lab, db: Any, command: Any, new_run: Any, wait_until: Any
) -> None:
    run = new_run(backend="slurm")
    command("sbatch", "echo 'sbatch: error: Unable to contact slurm controller' >&2; exit 1")
    desk = Desk()
    wait_until(lambda: desk.work(lab, db, [run], {}) or desk.not_before)
    told = runs.get(db, run.id)
    assert (told.state, told.job) == ("queued", None)
    assert told.reason.startswith("could not be handed in to Slurm at ")
    desk.work(lab, db, [told], {})
    assert desk.handing is None


def test_limits_and_the_number_of_jobs_hold_runs_back(
    lab: Lab, db: Any, command: Any, new_run: Any, wait_until: Any
) -> None:
    first, second = (new_run(backend="slurm") for _ in range(2))
    command("sbatch", "echo 77")
    desk = Desk()
    room = {"pretrain": 1}
    wait_until(lambda: desk.work(lab, db, [first, second], room) or runs.get(db, first.id).job)
    assert runs.get(db, first.id).job == "77"
    assert "waits for another pretrain run to end" in runs.get(db, second.id).reason


def test_a_program_that_is_not_there_or_too_slow_is_an_answer() -> None:
    assert not calls.ask(["no-such-program-at-all"], limit_s=1).good
    late = calls.ask(["sleep", "60"], limit_s=0.2)
    assert (late.good, late.late) == (False, True)
