"""What becomes of a terminal whose dashboard was killed? The next one sets it right.

A dashboard puts the terminal on a second screen, without echo, and asks for the mouse. It takes all
of that back when it ends, but kill -9 leaves it no time. So it notes, for as long as it lives, how
the terminal was; who finds a note of a process that is dead brings that back.
"""

from __future__ import annotations

import contextlib
import json
import os
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrlab.runner import process_start

RESET = (
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l"  # the mouse
    "\x1b[?1004l\x1b[?2004l\x1b[?2048l"  # focus, bracketed paste, sizes in band
    "\x1b[<u"  # the keys' own protocol
    "\x1b[?25h\x1b[0m"  # a cursor, and no colour
    "\x1b[?1049l"  # the first screen
)


@contextlib.contextmanager
def guarded(notes: Path, terminal: int = 0) -> Iterator[None]:
    """Bring back what a killed dashboard left, and let the next one do so after this one.

    Args:
        notes: a folder of the person's own.
        terminal: file descriptor; where it is none, nothing is done.
    """
    if not os.isatty(terminal):
        yield
        return
    note = notes / os.ttyname(terminal).strip("/").replace("/", "-")
    restore(note, terminal)
    with contextlib.suppress(OSError):
        notes.mkdir(parents=True, exist_ok=True, mode=0o700)
        note.write_text(json.dumps(_now(terminal)), encoding="utf-8")
    yield
    with contextlib.suppress(OSError):
        note.unlink()


def restore(note: Path, terminal: int) -> bool:
    """Set a terminal as a note says that a dead process found it; returns whether there was one."""
    try:
        found = json.loads(note.read_text(encoding="utf-8"))
        if process_start(int(found["pid"])) == found["start"]:
            return False  # it lives: stopped with Ctrl+Z, or in the background
        attributes = _attributes(found["attributes"])
        termios.tcsetattr(terminal, termios.TCSADRAIN, attributes)
        os.write(terminal, RESET.encode())
    except (OSError, ValueError, LookupError, TypeError, termios.error):
        return False
    return True


def _now(terminal: int) -> dict[str, Any]:
    *flags, keys = termios.tcgetattr(terminal)
    codes = [key if isinstance(key, int) else key[0] for key in keys]
    pid = os.getpid()
    return {"pid": pid, "start": process_start(pid), "attributes": [*flags, codes]}


def _attributes(noted: list[Any]) -> list[Any]:
    """Return attributes as `termios` takes them, where a key's code is a byte and not a number."""
    *flags, codes = noted
    return [*(int(flag) for flag in flags), [bytes([code]) for code in codes]]
