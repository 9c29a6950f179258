from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import refresh, runner
from cxrlab.backends import local
from cxrlab.lab import Lab, find_lab
from store import claims, points, runs

Make = Callable[..., runs.Run]
LONG = ("--fake_steps", "100000", "--fake_step_s", "0.05")


def pid_of(run: runs.Run, who: str) -> int:
    record = local.read_record(Path(run.folder), run.attempt)
    assert record is not None
    return int(record[who]["pid"])


def change_record(run: runs.Run, **facts: Any) -> None:
    path = runner.record_path(Path(run.folder), run.attempt)
    runner.write_record(path, {**json.loads(path.read_text()), **facts})


def look(lab: Lab, db: Any, run: runs.Run) -> runs.Run:
    refresh.refresh(lab, db)
    return runs.get(db, run.id)


@pytest.mark.parametrize(
    ("end", "state", "reason"),
    [
        ("succeed", "succeeded", ""),
        ("fail:loss is nan at step 3", "failed", "loss is nan at step 3"),
        ("status:1", "failed", "training from step 0"),
        ("status:0", "succeeded", ""),
        ("status:143", "stopped", ""),
        ("raise:no such file", "failed", "ValueError: no such file"),
        ("signal:15", "stopped", ""),
        ("signal:11", "failed", "ended by SIGSEGV"),
        ("signal:9", "lost", "killed from outside with SIGKILL (kill -9)"),
    ],
)
def test_the_state_is_true_however_the_trainer_ends(
    trainer: Make, begin: Make, wait_for_state: Make, end: str, state: str, reason: str
) -> None:
    run = begin(trainer("--fake_end", end))
    done = wait_for_state(run.id, *runs.ENDED)
    assert (done.state, done.reason) == (state, reason)
    assert done.ended is not None


def test_kill_9_of_the_trainer_is_seen_and_nothing_logged_is_missing(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make, wait_until: Make
) -> None:
    run = begin(trainer(*LONG))
    events = Path(run.folder) / "events.jsonl"
    wait_until(lambda: '"step": 5,' in events.read_text())
    os.kill(pid_of(run, "trainer"), signal.SIGKILL)
    lost = wait_for_state(run.id, *runs.ENDED)
    assert lost.state == "lost"
    logged = [json.loads(line) for line in events.read_text().splitlines()]
    steps = [event["step"] for event in logged if event["kind"] == "metrics"]
    assert [step for step, _ in points.curve(db, run.id, "train/loss")] == steps


def test_kill_9_of_the_runner_ends_nothing_and_the_end_event_still_counts(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make, wait_until: Make
) -> None:
    run = begin(trainer("--fake_hang", "1"))
    os.kill(pid_of(run, "runner"), signal.SIGKILL)
    wait_until(lambda: look(lab, db, run).reason == "its runner is gone")
    assert runs.get(db, run.id).state == "running"
    (Path(run.folder) / "go on").touch()
    assert wait_for_state(run.id, *runs.ENDED).state == "succeeded"


def test_kill_9_of_the_runner_then_of_the_trainer_is_lost(
    trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    run = begin(trainer(*LONG))
    os.kill(pid_of(run, "runner"), signal.SIGKILL)
    os.kill(pid_of(run, "trainer"), signal.SIGKILL)
    lost = wait_for_state(run.id, *runs.ENDED)
    assert (lost.state, lost.reason) == ("lost", "its processes vanished without a word")


def test_what_a_dead_runner_could_not_clear_up_is_killed_by_the_next_look(
    trainer: Make, begin: Make, wait_for_state: Make, wait_until: Callable[..., Any]
) -> None:
    run = begin(trainer(*LONG, "--fake_child"))
    folder = Path(run.folder)
    wait_until(lambda: len(local.processes(folder)) == 4)
    os.kill(pid_of(run, "runner"), signal.SIGKILL)
    os.kill(pid_of(run, "trainer"), signal.SIGKILL)
    wait_for_state(run.id, "lost")
    assert wait_until(lambda: not local.processes(folder))


def test_a_run_of_an_earlier_boot_is_lost(lab: Lab, db: Any, trainer: Make, begin: Make) -> None:
    run = begin(trainer(*LONG))
    change_record(run, boot_id="an earlier one")
    lost = look(lab, db, run)
    assert (lost.state, lost.reason) == ("lost", "the machine was restarted")


def test_a_pid_that_was_used_again_does_not_keep_a_run_alive(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer(*LONG))
    mine = {"pid": os.getpid(), "start": (runner.process_start(os.getpid()) or 0) - 1}
    change_record(run, trainer=mine, runner=mine)
    assert look(lab, db, run).state == "lost"


def test_a_silent_run_is_running_and_its_silence_is_said(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Make
) -> None:
    run = begin(trainer("--fake_step_s", "600"))
    guide = pid_of(run, "runner")
    os.kill(guide, signal.SIGKILL)  # its own clock would know better
    wait_until(lambda: runner.process_start(guide) is None)
    long_ago = time.time() - 14 * 60 - 5
    for name in ("log.txt", "events.jsonl"):
        os.utime(Path(run.folder) / name, (long_ago, long_ago))
    runs.change_state(db, run.id, "queued")
    runs.change_state(db, run.id, "running", at=long_ago)
    seen = look(lab, db, run)
    assert (seen.state, seen.reason) == ("running", "quiet for 14 min, its runner is gone")


def test_a_run_whose_runner_never_came_up_is_lost_after_a_while(
    lab: Lab, db: Any, new_run: Make
) -> None:
    run = new_run()
    runs.change_state(db, run.id, "running", at=time.time() - 5)
    runs.start_attempt(db, run.id, time.time())
    assert look(lab, db, run).state == "running"
    runs.change_state(db, run.id, "queued")
    runs.change_state(db, run.id, "running", at=time.time() - 60)
    assert look(lab, db, run).state == "lost"


def test_a_verdict_on_an_earlier_attempt_is_not_applied_to_the_next(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    first = begin(trainer("--fake_end", "signal:9"))
    wait_for_state(first.id, "lost")
    runs.change_state(db, first.id, "queued")
    second = begin(first._replace(command=[*first.command, *LONG, "--fake_end", "succeed"]))
    assert second.attempt == 2
    refresh.refresh_run(lab, db, first._replace(state="running"))
    assert runs.get(db, first.id).state == "running"


def test_claims_end_with_the_run(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    run = begin(trainer())
    assert claims.claim(db, run.id, ["cpu:0"])
    wait_for_state(run.id, "succeeded")
    assert claims.held(db) == {}


def test_a_claim_that_nobody_runs_under_is_freed(lab: Lab, db: Any, new_run: Make) -> None:
    claims.claim(db, new_run().id, ["cpu:0"])
    for run in (new_run(), new_run()):
        claims.claim(db, run.id, ["GPU-0"], mib=1)
    refresh.refresh(lab, db)
    assert claims.held(db) == {}


def test_a_blocked_run_is_queued_once_its_need_has_succeeded(
    db: Any, new_run: Make, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    first = trainer()
    second = new_run(task="siim", ratio=10, parent=first.id, needs=(first.id,))
    assert (second.state, second.reason) == (
        "blocked",
        f"waits for {first.id} (mrm pretrain), which is queued",
    )
    begin(first)
    assert wait_for_state(second.id, "queued").reason == "waits for its turn"


def test_a_blocked_run_says_that_its_need_has_failed(
    db: Any, new_run: Make, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    first = trainer("--fake_end", "fail")
    second = new_run(task="siim", ratio=10, parent=first.id, needs=(first.id,))
    begin(first)
    wait_for_state(first.id, "failed")
    waiting = runs.get(db, second.id)
    assert (waiting.state, waiting.reason) == (
        "blocked",
        f"waits for {first.id} (mrm pretrain), which is failed",
    )


def test_a_run_whose_folder_was_deleted_is_lost_and_the_others_are_still_seen(
    lab: Lab, db: Any, new_run: Make, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    gone, other = new_run(), begin(trainer())
    Path(gone.folder).rmdir()
    runs.change_state(db, gone.id, "running")
    runs.start_attempt(db, gone.id, time.time())
    assert wait_for_state(other.id, "succeeded")
    lost = runs.get(db, gone.id)
    assert (lost.state, lost.reason) == ("lost", "its folder is gone")


def test_a_run_that_overran_its_limit_to_stop_is_killed_by_whoever_looks(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    run = begin(trainer(*LONG, "--fake_deaf"))
    runs.request_stop(db, run.id, time.time() - lab.settings.launch.stop_grace_s - 1)
    stopped = wait_for_state(run.id, *runs.ENDED)
    assert stopped.state == "stopped"
    assert "killed" in stopped.reason


@pytest.mark.parametrize(
    ("log", "line"),
    [
        (b"a\nerror: b c\n\n", "b c"),
        (b"10%\r20%\r30%", "30%"),
        (b"\xff\n", "\ufffd"),
        (b"", ""),
    ],
)
def test_the_last_line_of_a_log_is_its_last_words(tmp_path: Path, log: bytes, line: str) -> None:
    path = tmp_path / "log.txt"
    path.write_bytes(log)
    assert refresh.last_line(path) == line


def test_the_last_line_of_no_log_is_empty(tmp_path: Path) -> None:
    assert refresh.last_line(tmp_path / "none") == ""


def stalled_after(lab: Lab, factor: float, least_s: float) -> Lab:
    text = lab.settings_file.read_text().replace(
        "[launch]", f"[launch]\nstall_factor = {factor}\nstall_least_s = {least_s}"
    )
    lab.settings_file.write_text(text)
    return find_lab(lab.root)


def test_a_hang_is_said_by_what_is_usual_for_the_run(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Callable[..., Any]
) -> None:
    run = begin(trainer("--fake_steps", "20", "--fake_hang", "12"))
    quick = stalled_after(lab, 3, 0.5)
    reason = wait_until(lambda: "stalled" in look(quick, db, run).reason and look(quick, db, run))
    assert reason.state == "running"
    assert re.search(r"usually every \d", reason.reason)


def test_a_trainer_that_a_signal_has_stopped_says_so(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Callable[..., Any]
) -> None:
    run = begin(trainer(*LONG))
    os.kill(pid_of(run, "trainer"), signal.SIGSTOP)
    wait_until(lambda: look(lab, db, run).reason == "frozen by a signal (SIGSTOP)")
    os.kill(pid_of(run, "trainer"), signal.SIGCONT)
    wait_until(lambda: look(lab, db, run).reason == "")


def test_a_clock_that_is_set_forward_makes_no_run_silent_or_lost(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_until: Callable[..., Any]
) -> None:
    run = begin(trainer("--fake_step_s", "600"))
    beat = runner.beat_path(Path(run.folder), 1)
    wait_until(lambda: beat.stat().st_mtime > (run.started or 0) + 1)
    long_ago = time.time() - 3600
    for name in ("log.txt", "events.jsonl"):
        os.utime(Path(run.folder) / name, (long_ago, long_ago))
    runs.change_state(db, run.id, "queued")
    runs.change_state(db, run.id, "running", at=long_ago)
    seen = look(lab, db, run)
    assert (seen.state, seen.reason) == ("running", "")


def test_a_clock_that_was_set_back_ends_no_run_before_it_began(
    lab: Lab, db: Any, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    run = begin(trainer(*LONG))
    change_record(run, started=time.time() + 7200)
    os.kill(pid_of(run, "runner"), signal.SIGKILL)
    change_record(run, ended=time.time(), exit_code=0)
    ended = wait_for_state(run.id, *runs.ENDED)
    assert ended.ended is not None
    assert ended.ended >= (ended.started or 0)


def test_a_trainer_that_waits_for_room_on_the_disk_says_so(
    lab: Lab, db: Any, trainer: Make, begin: Make
) -> None:
    run = begin(trainer(*LONG))
    path = Path(run.folder) / "paused.json"
    said = {"attempt": 1, "needed": 1288490188, "free": 3 * 2**20}
    path.write_text(json.dumps(said).ljust(512))
    paused = look(lab, db, run)
    assert paused.state == "running"
    assert paused.reason == "paused: the disk is full (needs 1.2 GiB, 3.0 MiB free)"
    path.write_text(json.dumps(said | {"attempt": 2}))
    assert look(lab, db, run).reason == ""
