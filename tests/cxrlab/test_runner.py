from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import run_attempt, runner

RUNNER = [sys.executable, "-P", "-S", run_attempt.__file__]
PRINT_MARKS = "import os; print(os.environ['CXRLAB_ATTEMPT'], os.getpgid(0) == os.getpid())"
DEAF = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "run with a blank"
    made.mkdir()
    return made


def start(folder: Path, *command: str, attempt: int = 1) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*RUNNER, str(folder), str(attempt), "--", *command],
        env={**os.environ, runner.FOLDER_MARK: str(folder)},
        start_new_session=True,
    )


def record(folder: Path, attempt: int = 1) -> dict[str, Any]:
    try:
        return json.loads(runner.record_path(folder, attempt).read_text())
    except FileNotFoundError:
        return {}


def log(folder: Path) -> str:
    path = folder / "log.txt"
    return path.read_text() if path.exists() else ""


def test_the_record_says_who_ran_and_how_it_ended(folder: Path) -> None:
    process = start(folder, sys.executable, "-c", "raise SystemExit(3)", attempt=2)
    assert process.wait(timeout=900) == 3
    written = record(folder, 2)
    assert (written["attempt"], written["exit_code"], written["signal"]) == (2, 3, None)
    assert written["boot_id"] == runner.boot_id()
    assert written["runner"]["pid"] == process.pid
    assert written["started"] <= written["ended"] <= time.time()


def test_both_outputs_go_to_the_log_and_the_marks_to_the_trainer(folder: Path) -> None:
    code = f"import sys; {PRINT_MARKS}; sys.stderr.write('to stderr')"
    start(folder, sys.executable, "-c", code, attempt=4).wait(timeout=900)
    assert log(folder) == "4 True\nto stderr" or log(folder) == "to stderr4 True\n"


def test_a_second_attempt_adds_to_the_log(folder: Path) -> None:
    for attempt in (1, 2):
        start(folder, "echo", str(attempt), attempt=attempt).wait(timeout=900)
    assert log(folder) == "1\n2\n"


def test_words_of_the_command_reach_the_trainer_as_they_are(folder: Path) -> None:
    start(folder, "echo", "$HOME; ls *", "a  b").wait(timeout=900)
    assert log(folder) == "$HOME; ls * a  b\n"


def test_a_command_that_cannot_be_started_is_recorded_as_127(folder: Path) -> None:
    assert start(folder, "/no/such/program").wait(timeout=900) == 127
    assert record(folder)["exit_code"] == 127
    assert "/no/such/program cannot be started" in log(folder)


def test_a_signal_that_ended_the_trainer_is_recorded(folder: Path) -> None:
    code = "import os; os.kill(os.getpid(), 11)"
    assert start(folder, sys.executable, "-c", code).wait(timeout=900) == 128 + 11
    assert (record(folder)["exit_code"], record(folder)["signal"]) == (None, signal.SIGSEGV)


def test_sigterm_reaches_the_trainer_and_not_its_children(
    folder: Path, wait_until: Callable[..., Any]
) -> None:
    code = (
        "import signal, subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "def stop(number, frame):\n"
        "    time.sleep(0.3); print('child', child.poll(), flush=True); sys.exit(143)\n"
        "signal.signal(15, stop); print('up', flush=True); time.sleep(600)\n"
    )
    process = start(folder, sys.executable, "-c", code)
    wait_until(lambda: "up" in log(folder))
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=900) == 143
    assert "child None" in log(folder)
    assert runner.processes_of(folder) == []


def test_what_the_trainer_leaves_behind_is_killed_also_in_sessions_of_its_own(
    folder: Path, wait_until: Callable[..., Any]
) -> None:
    code = (
        "import subprocess, sys\n"
        f"for away in (False, True):\n"
        f"    p = subprocess.Popen([sys.executable, '-uc', {DEAF!r}], stdout=subprocess.PIPE,\n"
        "                         start_new_session=away)\n"
        "    p.stdout.readline(); print(p.pid, flush=True)\n"
    )
    assert start(folder, sys.executable, "-c", code).wait(timeout=900) == 0
    pids = [int(line) for line in log(folder).split()]
    assert len(pids) == 2
    assert record(folder)["left"] == []
    assert wait_until(lambda: [runner.process_start(pid) for pid in pids] == [None, None])


def test_the_heart_beats_while_the_trainer_is_silent(
    folder: Path, wait_until: Callable[..., Any]
) -> None:
    process = start(folder, "sleep", "600")
    wait_until(lambda: record(folder).get("trainer"))
    first = runner.beat_path(folder, 1).stat().st_mtime
    wait_until(lambda: runner.beat_path(folder, 1).stat().st_mtime > first)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=900)


def test_killing_the_runner_leaves_the_trainer_alone(
    folder: Path, wait_until: Callable[..., Any]
) -> None:
    waits = f"until [ -e '{folder}/go on' ]; do sleep 0.05; done; echo done"
    process = start(folder, "sh", "-c", waits)
    wait_until(lambda: record(folder).get("trainer"))
    process.kill()
    process.wait(timeout=900)
    (folder / "go on").touch()
    assert wait_until(lambda: log(folder) == "done\n")
    assert record(folder)["ended"] is None


def test_the_runner_refuses_to_be_the_leader_of_somebody_elses_session(folder: Path) -> None:
    done = subprocess.run(
        [*RUNNER, str(folder), "1", "--", "true"],
        process_group=0,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 2
    assert "session of its own" in done.stderr


def test_the_runner_loads_nothing_beyond_the_standard_library() -> None:
    code = (
        "import sys; before = set(sys.modules); import cxrlab.runner\n"
        "new = {name.split('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(new - set(sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "['cxrlab']"


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen(["true"])
    deadline = time.monotonic() + 300
    while runner.process_start(child.pid) is not None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert Path(f"/proc/{child.pid}").exists()
    child.wait()


def test_the_start_time_of_a_process_with_an_odd_name_is_read(tmp_path: Path) -> None:
    odd = tmp_path / "a) R 1 (b"
    odd.symlink_to("/bin/sleep")
    child = subprocess.Popen([str(odd), "600"])
    try:
        start_ticks = runner.process_start(child.pid)
        own = runner.process_start(os.getpid())
        assert start_ticks is not None
        assert own is not None
        assert start_ticks >= own
    finally:
        child.kill()
        child.wait()


def test_how_a_run_ended_is_recorded_on_a_full_disk(
    small_disk: Path, fill: Callable[..., Path], wait_until: Callable[..., Any]
) -> None:
    folder = small_disk / "run"
    folder.mkdir()
    process = start(folder, "sleep", "600")
    trainer = wait_until(lambda: record(folder).get("trainer"))
    fill(small_disk)
    os.kill(trainer["pid"], signal.SIGKILL)
    assert process.wait(timeout=900) == 128 + signal.SIGKILL
    assert record(folder)["signal"] == signal.SIGKILL
    assert record(folder)["ended"] is not None


def test_silence_is_measured_by_a_clock_that_nobody_sets(
    folder: Path, wait_until: Callable[..., Any]
) -> None:
    process = start(folder, "sleep", "600")
    beat = runner.beat_path(folder, 1)
    silent = wait_until(lambda: beat.exists() and beat.stat().st_mtime - beat.stat().st_atime)
    assert silent > 0
    (folder / "events.jsonl").write_text("{}\n")
    wait_until(lambda: 0 <= beat.stat().st_mtime - beat.stat().st_atime < silent)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=900)
