from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import runner
from cxrlab.backends import local


@pytest.fixture
def started(tmp_path: Path, wait_until: Callable[..., Any]) -> Any:
    """A sleeping trainer under its runner, seen alive."""
    folder = tmp_path / "run"
    folder.mkdir()
    command = [sys.executable, "-c", "import os, time; print(os.getcwd()); time.sleep(600)"]
    child = local.start(folder, 1, command=command, gpus=["GPU-a", "GPU-b"], cwd=tmp_path)
    wait_until(lambda: local.look(folder, 1).trainer_alive)
    yield folder
    local.kill(folder, 1, runner_too=True)
    child.wait(timeout=900)


def rewrite(folder: Path, **facts: Any) -> None:
    path = runner.record_path(folder, 1)
    runner.write_record(path, {**json.loads(path.read_text()), **facts})


def environment(folder: Path) -> dict[str, str]:
    pid = local.look(folder, 1).record["trainer"]["pid"]  # type: ignore[index]
    words = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return dict(word.split("=", 1) for word in words if "=" in word)


def test_runner_and_trainer_are_seen_alive(started: Path) -> None:
    seen = local.look(started, 1)
    assert (seen.runner_alive, seen.trainer_alive, seen.same_host, seen.same_boot) == (True,) * 4
    assert seen.beat_age_s is not None
    assert seen.beat_age_s < 120


def test_the_trainer_sees_its_gpus_and_its_attempt(started: Path) -> None:
    seen = environment(started)
    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
    assert seen["CXRLAB_ATTEMPT"] == "1"


def test_the_working_directory_is_the_one_given(
    started: Path, wait_until: Callable[..., Any]
) -> None:
    log = started / "log.txt"
    assert wait_until(log.read_text).strip() == str(started.parent)


def test_it_runs_in_a_session_without_the_callers_terminal(started: Path) -> None:
    own = local.look(started, 1).record["runner"]["pid"]  # type: ignore[index]
    assert os.getsid(own) == own != os.getsid(0)


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_the_trainer(
    started: Path,
) -> None:
    rewrite(started, trainer={"pid": os.getpid(), "start": 1}, runner={"pid": 1, "start": 2})
    seen = local.look(started, 1)
    assert (seen.runner_alive, seen.trainer_alive) == (False, False)


def test_nothing_of_another_boot_is_taken_for_alive(started: Path) -> None:
    rewrite(started, boot_id="another")
    seen = local.look(started, 1)
    assert (seen.runner_alive, seen.trainer_alive, seen.same_boot) == (False, False, False)


def test_nobody_is_asked_to_stop_whose_start_time_differs(started: Path) -> None:
    rewrite(started, trainer={"pid": os.getpid(), "start": 1}, runner=None)
    assert local.ask_to_stop(started, 1) == "nobody"


def test_the_trainer_of_a_dead_runner_is_asked_itself(
    started: Path, wait_until: Callable[..., Any]
) -> None:
    os.kill(local.look(started, 1).record["runner"]["pid"], 9)  # type: ignore[index]
    wait_until(lambda: not local.look(started, 1).runner_alive)
    assert local.ask_to_stop(started, 1) == "trainer"
    assert wait_until(lambda: not local.look(started, 1).trainer_alive)


def test_killing_spares_the_runner_so_that_it_records_the_end(
    started: Path, wait_until: Callable[..., Any]
) -> None:
    local.kill(started, 1)
    record = wait_until(lambda: (r := local.read_record(started, 1)) and r["ended"] and r)
    assert record["signal"] == 9


def test_before_there_is_a_record_the_runner_is_known_by_its_mark(
    tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    assert local.look(tmp_path, 1) == local.Look(None, False, False, True, True, None)
    marked = {**os.environ, runner.FOLDER_MARK: str(tmp_path)}
    child = subprocess.Popen(["sleep", "600"], env=marked)
    try:
        # the kernel lets Popen return a moment before the child's environment can be read
        wait_until(lambda: local.look(tmp_path, 1).runner_alive)
    finally:
        child.kill()
        child.wait()
    assert local.look(tmp_path, 1).runner_alive is False


def test_a_trainer_whose_runner_died_before_noting_it_is_known_by_its_mark(
    started: Path, wait_until: Callable[..., Any]
) -> None:
    os.kill(local.look(started, 1).record["runner"]["pid"], 9)  # type: ignore[index]
    wait_until(lambda: not local.look(started, 1).runner_alive)
    rewrite(started, trainer=None)
    assert local.look(started, 1).trainer_alive is True
    local.kill(started, 1, runner_too=True)
    assert wait_until(lambda: not local.look(started, 1).trainer_alive)
