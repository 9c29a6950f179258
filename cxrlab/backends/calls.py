"""How is another program asked without waiting for it?"""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
import time
from collections.abc import Sequence
from typing import IO, NamedTuple


class Answer(NamedTuple):
    """What came of it."""

    good: bool
    out: str
    error: str
    """What it complained of; also that it is not there, or took too long."""
    late: bool = False
    """Whether it took too long, so that it may have done what it was told all the same."""


class Call:
    """One call of a program, which is killed when it takes too long."""

    def __init__(self, command: Sequence[str], *, limit_s: float) -> None:
        self.name, self.limit_s = command[0], limit_s
        self.deadline = time.monotonic() + limit_s
        self.problem = ""
        # files, not pipes: an answer of any length needs no reader
        self.out, self.err = _file(), _file()
        self.child: subprocess.Popen[bytes] | None = None
        try:
            self.child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self.out,
                stderr=self.err,
                start_new_session=True,
            )
        except FileNotFoundError:
            self.problem = f"there is no `{self.name}` here"
        except OSError as error:
            self.problem = f"{self.name}: {error}"

    def answer(self, *, wait_s: float = 0.0) -> Answer | None:
        """Return what came of it; None while it goes on."""
        if self.child is None:
            return Answer(False, "", self.problem)
        try:
            status = self.child.wait(timeout=wait_s)
        except subprocess.TimeoutExpired:
            if time.monotonic() < self.deadline:
                return None
            self.end()
            return Answer(False, "", f"{self.name} took longer than {self.limit_s:g} s", late=True)
        return Answer(status == 0, _read(self.out), _read(self.err))

    def end(self) -> None:
        """Kill it where it goes on."""
        if self.child is not None and self.child.poll() is None:
            self.child.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # it hangs in the kernel
                self.child.wait(timeout=1.0)


def ask(command: Sequence[str], *, limit_s: float) -> Answer:
    """Call a program and wait for it, `limit_s` at most."""
    call = Call(command, limit_s=limit_s)
    while (answer := call.answer(wait_s=0.1)) is None:
        pass
    return answer


def _file() -> IO[bytes]:
    return tempfile.TemporaryFile()  # closed when it has been read


def _read(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode("utf-8", errors="replace")
