"""What does the dashboard let `cxrlab` do beside it? A command as a child, its words in a file.

The child has a session of its own and writes to a file, not to a pipe: it goes on, and loses no
word, when the dashboard ends.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from cxrlab.lab import Lab
from cxrlab.tui import tail
from cxrlab.tui.words import tr

FOLDER = Path(".cxrlab/errands")
"""Where in the lab each command's words are kept, until it is called again."""

Command = Callable[[Lab, "Errand"], list[str]]


@dataclass(frozen=True)
class Errand:
    """A command of `cxrlab`, and what a person is asked before it starts."""

    name: str
    """Of the file that its words go to."""
    title: str
    argv: tuple[str, ...]
    """What stands after `cxrlab`."""
    asks: str


@dataclass
class ErrandEnded(Message):
    """A command has ended."""

    errand: Errand
    code: int


@dataclass
class Running:
    """A command that was started from this dashboard."""

    errand: Errand
    file: Path
    process: subprocess.Popen[bytes]
    stopped: bool = False

    @property
    def code(self) -> int | None:
        """Its exit status; None while it runs."""
        return self.process.returncode

    def stop(self) -> None:
        """End it and what it started in its session; runs that it queued go on."""
        self.stopped = True
        if self.code is None:
            os.killpg(self.process.pid, signal.SIGTERM)


@dataclass
class ErrandBegan(Message):
    """A command has been started."""

    running: Running


def command(lab: Lab, errand: Errand) -> list[str]:
    """Return what is executed: this very `cxrlab`, for this lab."""
    return [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), *errand.argv]


def start(
    lab: Lab,
    errand: Errand,
    *,
    ended: Callable[[Message], object],
    command: Command = command,
) -> Running:
    """Start a command; `ended` is told once it is over, from a thread.

    Raises:
        OSError: its words cannot be kept, or there is no such program.
    """
    file = lab.root / FOLDER / f"{errand.name}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "COLUMNS": "100"}
    with file.open("wb") as words:
        process = subprocess.Popen(
            command(lab, errand),
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
            cwd=lab.root,
            env=environment,
            start_new_session=True,
        )

    def wait() -> None:
        ended(ErrandEnded(errand, process.wait()))

    threading.Thread(target=wait, daemon=True).start()
    return Running(errand, file, process)


def words_of(file: Path) -> list[str]:
    """Return the last lines of a command's words, the newest last; each harmless."""
    return [line.text for line in tail.last_piece(file).shown]


def make_data(lab: Lab) -> Errand:
    """Return the errand that generates data sets into this lab."""
    return Errand(
        "data",
        tr("Make radiographs"),
        ("data", "generate", "--use"),
        tr("Draws small data sets into {place} and names them in cxrlab.toml.").format(
            place=lab.root / "data"
        )
        + "\n"
        + tr("It takes about a minute. `Esc` leaves it running."),
    )


def demo(lab: Lab) -> Errand:
    """Return the errand that runs the whole story in this lab."""
    return Errand(
        "demo",
        tr("Run the demo here"),
        ("demo", "--dir", str(lab.root)),
        tr(
            "Draws radiographs, pre-trains every method and fine-tunes it on three tasks, tiny, "
            "for real. On two cores it takes some ten minutes; the grid fills meanwhile."
        )
        + "\n"
        + tr("For a lab in which nothing has been set or run. `Esc` leaves it running."),
    )


def fetch(lab: Lab, name: str) -> Errand:
    """Return the errand that brings published weights into this lab."""
    return Errand(
        "weights",
        tr("Fetch the weights `{name}`").format(name=name),
        ("weights", "fetch", name),
        tr("Loads some hundred megabytes into {place}.").format(place=lab.pretrained_dir)
        + "\n"
        + tr("`Esc` leaves it running; what was interrupted goes on where it was."),
    )
