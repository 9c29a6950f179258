"""A terminal rings when a run has ended, says which in its title, and gets its title back."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab import bell
from cxrlab.lab import Lab, find_lab
from store import runs

ROOT = Path(__file__).resolve().parents[2]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("TERM", "xterm-256color")
    return Terminal()


def watched(stream: Any, *looks: dict[str, str], wanted: bool = True) -> None:
    with bell.bell(wanted=wanted, ended=runs.ENDED, stream=stream) as ring:
        for states in looks:
            ring.look(states, {id: f"mrm {id}" for id in states})


def test_it_rings_once_for_a_run_that_has_ended_and_names_it(terminal: Terminal) -> None:
    watched(terminal, {"a": "running"}, {"a": "failed"}, {"a": "failed"})
    assert terminal.getvalue() == (
        "\x1b[22;2t\x1b]2;cxrlab: 1 run under way\x1b\\\a\x1b]2;failed: mrm a\x1b\\\x1b[23;2t"
    )


def test_a_run_that_had_ended_before_is_no_news(terminal: Terminal) -> None:
    watched(terminal, {"a": "succeeded"})
    assert "\a" not in terminal.getvalue()


def test_the_title_comes_back_after_a_failure_too(terminal: Terminal) -> None:
    with pytest.raises(KeyboardInterrupt), bell.bell(wanted=True, ended=(), stream=terminal):
        raise KeyboardInterrupt
    assert terminal.getvalue() == bell.KEEP_TITLE + bell.TITLE_BACK


@pytest.mark.parametrize("case", ["pipe", "dumb", "switched off"])
def test_nothing_is_written_where_no_terminal_wants_it(
    terminal: Terminal, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.StringIO() if case == "pipe" else terminal
    if case == "dumb":
        monkeypatch.setenv("TERM", "dumb")
    watched(stream, {"a": "running"}, {"a": "failed"}, wanted=case != "switched off")
    assert stream.getvalue() == ""


def test_a_name_cannot_leave_the_title() -> None:
    said = bell.titled("a\x1b\\\x07\x9c\x1b]0;b")
    assert said.count("\x1b") == 2
    assert "\x07" not in said


def test_it_is_switched_off_in_the_settings(lab: Lab) -> None:
    assert lab.settings.notify.bell
    lab.settings_file.write_text("[notify]\nbell = false\n")
    assert not find_lab(lab.root).settings.notify.bell


def test_following_a_log_on_a_terminal_rings_at_the_end(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run]
) -> None:
    run = new_run(id="aaaaaa")
    (Path(run.folder) / "log.txt").write_text("said\n")
    command = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "logs", "-f", "aaaaaa"]
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment)
    os.close(theirs)
    said = b""

    def hear(*, until: bytes) -> None:
        nonlocal said
        deadline = time.monotonic() + 300
        while until not in said:
            assert time.monotonic() < deadline, said
            if select.select([ours], [], [], 1.0)[0]:
                said += os.read(ours, 4096)

    try:
        hear(until=b"1 run under way")
        runs.change_state(db, run.id, "stopped")
        hear(until=bell.TITLE_BACK.encode())
    finally:
        process.kill() if process.poll() is None and bell.TITLE_BACK.encode() not in said else None
        process.communicate(timeout=900)
        os.close(ours)
    assert b"\a\x1b]2;stopped: mrm pretrain" in said


def test_in_a_pipe_waiting_writes_no_control_characters(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run]
) -> None:
    run = new_run(id="aaaaaa")
    (Path(run.folder) / "log.txt").write_text("said\n")
    runs.change_state(db, run.id, "stopped")
    command = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "logs", "-f", "aaaaaa"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    done = subprocess.run(command, capture_output=True, env=environment, timeout=900)
    assert done.returncode == 0
    assert json.dumps(done.stderr.decode()).count("\\u00") == 0
