"""The dashboard in a real terminal: tmux at 256 colours, driven by keys alone."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrlab import refresh
from cxrlab.lab import Lab
from store import runs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed"),
]

LIMIT_S = 300.0
OVER = "; printf 'it is %s\\n' over"
"""Makes the shell say so when the dashboard has ended, in words that are not on the line itself."""


class Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, socket: Path, *, width: int, height: int) -> None:
        self._tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
        environment = {**os.environ, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "ENV": ""}
        for name in ("COLUMNS", "LINES"):  # of whoever runs the tests: Textual would believe them
            environment.pop(name, None)
        size = ["-x", str(width), "-y", str(height)]
        self.tmux("new-session", "-d", *size, "/bin/sh", env=environment)

    def tmux(self, *words: str, env: dict[str, str] | None = None) -> str:
        line = [*self._tmux, *words]
        return subprocess.run(
            line, check=True, capture_output=True, text=True, env=env, timeout=LIMIT_S
        ).stdout

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def shown(self) -> str:
        return self.tmux("capture-pane", "-p")

    def wait_for(self, *patterns: str) -> str:
        """Wait until every pattern is on the screen, and return what is there."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            text = self.shown()
            if all(re.search(pattern, text) for pattern in patterns):
                return text
            assert time.monotonic() < deadline, f"no {patterns} in\n{text}"
            time.sleep(0.1)

    def press_until(self, key: str, *patterns: str) -> str:
        """Press a key, and wait for what it brings."""
        self.press(key)
        return self.wait_for(*patterns)

    def flags(self) -> str:
        return self.tmux("display-message", "-p", "#{alternate_on} #{mouse_any_flag}").strip()

    def close(self) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=LIMIT_S)


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Terminal]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    opened = Terminal(tmp_path / "tmux", width=140, height=48)
    yield opened
    opened.close()


def line(lab: Lab) -> str:
    return shlex.join([sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "tui"])


def only_run(lab: Lab, db: Any, state: str) -> Callable[[], runs.Run | None]:
    def look() -> runs.Run | None:
        refresh.refresh(lab, db)
        found = [run for run in runs.select(db, states=(state,)) if run.task == "pretrain"]
        return found[0] if found else None

    return look


def lengthen(lab: Lab, *, steps: int) -> None:
    """Let pre-training take so many steps that it can be stopped on the way."""
    text = lab.settings_file.read_text()
    slow = lab.root / "slow.py"
    fake = re.findall(r'pretrain_program = "(.*)"', text)[0]
    slow.write_text(
        "import runpy, sys\n"
        f"sys.argv[1:1] = ['--fake_steps={steps}', '--fake_step_s=0.02']\n"
        f"sys.path.insert(0, {str(Path(fake).parent)!r})\n"
        f"runpy.run_path({fake!r}, run_name='__main__')\n"
    )
    lab.settings_file.write_text(text.replace(fake, str(slow), 1))


def test_launch_watch_stop_resume_and_export_by_keys_alone(
    lab: Lab, db: Any, terminal: Terminal, wait_until: Callable[..., Any]
) -> None:
    lengthen(lab, steps=500)
    terminal.type(line(lab) + OVER)
    terminal.press("Enter")
    text = terminal.wait_for("1 Grid", r"(?m)^ method", r"(?m)^ mrm ")
    lines = text[text.index("\n method") :].split("\n")[2:]
    below = next(n for n, line in enumerate(lines) if line.startswith(" mrm "))
    terminal.press(*["Down"] * below)
    terminal.wait_for("Masked record modelling")
    terminal.press_until("l", "Launch mrm pretrain", r"1 +mrm pretrain")
    terminal.press("Enter")
    run = wait_until(only_run(lab, db, "running"))
    terminal.press_until("2", "running", run.id)
    terminal.press_until("Enter", "train/loss", r"step \d+")
    terminal.press_until("s", f"Stop {run.id}")
    terminal.press("y")
    wait_until(only_run(lab, db, "stopped"))
    terminal.wait_for("stopped")
    terminal.press("r")
    wait_until(only_run(lab, db, "succeeded"))
    terminal.wait_for("succeeded")
    terminal.press_until("Escape", r"/ Filter")  # a key at once after it would be Alt and that key
    terminal.press_until("1", "method")
    terminal.press_until("e", "(?i)export")
    terminal.press("Enter")
    written = wait_until(lambda: [*lab.root.glob("*.md")])
    assert wait_until(written[0].read_text).startswith("|")
    terminal.press("q")
    terminal.wait_for("it is over")
    assert terminal.flags() == "0 0"


def test_a_killed_dashboard_stops_nothing_and_the_next_one_sets_the_terminal_right(
    lab: Lab,
    db: Any,
    terminal: Terminal,
    trainer: Callable[..., runs.Run],
    begin: Callable[..., runs.Run],
    wait_for_state: Callable[..., runs.Run],
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.05"))
    terminal.type(line(lab))
    terminal.press("Enter")
    terminal.wait_for("1 Grid", "1 running")
    pid = int(terminal.tmux("display-message", "-p", "#{pane_pid}"))
    child = int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[-1])
    os.kill(child, signal.SIGKILL)
    deadline = time.monotonic() + LIMIT_S
    while Path(f"/proc/{child}").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert terminal.flags() != "0 0", "nothing was left to be set right"
    terminal.type("clear; printf 'all is %s\\n' gone")
    terminal.press("C-j")
    terminal.wait_for("all is gone")
    terminal.type(line(lab) + OVER)
    terminal.press("C-j")  # a raw terminal sends no line at Enter
    terminal.wait_for("1 Grid", "1 running")
    terminal.press("q")
    terminal.wait_for("it is over")
    assert terminal.flags() == "0 0"
    terminal.type("stty -a")
    terminal.press("Enter")
    terminal.wait_for(r"[^-]icanon", r"[^-]isig", r" echo ")
    assert wait_for_state(run.id, "running").state == "running"
