"""A pre-training in a process of its own that is held after some steps, to be cut there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

HELD = """
import sys, time
from pathlib import Path
from trainers import pretrain
from trainers.events import EventLog

left, held, go_on = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
tell = EventLog.metrics

def metrics(self, step, values, **more):
    global left
    tell(self, step, values, **more)
    left -= "train/loss" in values
    if not left:
        held.touch()
        while not go_on.exists():
            time.sleep(0.02)

EventLog.metrics = metrics
sys.exit(pretrain.main(sys.argv[4:]))
"""


@pytest.fixture
def cut(tmp_path: Path) -> Callable[[Sequence[str], int, signal.Signals], int]:
    """Begin a pre-training, signal it once `after` losses are logged, and return its status."""

    def begin(words: Sequence[str], after: int, number: signal.Signals) -> int:
        held, go_on, said = tmp_path / "held", tmp_path / "go on", tmp_path / "said"
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-c", HELD, str(after), str(held), str(go_on), *words],
                env={**os.environ, "PYTHONSAFEPATH": "1"},
                stdout=file,
                stderr=file,
            )
        try:
            while not held.exists():
                with pytest.raises(subprocess.TimeoutExpired):  # it has not ended by itself
                    process.wait(0.05)
            process.send_signal(number)
            go_on.touch()
            return process.wait(600)
        finally:
            process.kill()
            process.wait()
            sys.stderr.write(said.read_text(errors="replace"))  # shown where a test fails

    return begin
