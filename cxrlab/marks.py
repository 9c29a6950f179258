"""How do the labs of one machine see that a GPU is taken, before anything computes on it?

By a mark: a Unix socket in the kernel's abstract namespace, named after the GPU, which only one can
have. Runner and trainer hold it together, and the kernel takes it back with the last of them: no
file, nothing left over, and the same for every user. Whoever finds a mark asks the kernel whose it
is. Runs of one lab that share a GPU stand behind one mark. Standard library only.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import pwd
import socket
import struct
import zlib
from collections.abc import Collection, Iterable, Mapping

FAKE_VARIABLE = "CXRLAB_FAKE_GPUS"
"""Names a JSON file to read instead of asking the driver; for trying things out without GPUs."""

HANDED_ON = "CXRLAB_GPU_MARKS"
"""In a runner's environment: its GPUs, each with the file descriptor of its mark, or null."""

Marks = Mapping[str, socket.socket | None]
"""GPUs by UUID, each with its mark; None where another run of the lab has it, or there is none."""

_WAITING = 64
"""How many may ask whose a mark is before the runner takes notice of them, once a second."""

_CREDENTIALS = struct.Struct("3i")


def put(devices: Collection[str], *, ours: Collection[str] = ()) -> Marks | None:
    """Mark all these GPUs, or none where somebody else has marked one.

    In one order everywhere: of two labs that want some of the same, one gets all that it wants.

    Args:
        devices: their UUIDs.
        ours: those that runs of this lab, which share them, hold already.
    """
    marks: dict[str, socket.socket | None] = {}
    for device in sorted(devices):
        try:
            marks[device] = None if device in ours else _bound(device)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                take_away(marks)
                return None
            marks[device] = None  # a machine without such sockets: the readings have to do
    return marks


def take_away(marks: Marks) -> None:
    """Let go of what `put` gave; whoever else holds a mark keeps it."""
    for mark in marks.values():
        if mark is not None:
            mark.close()


def users(devices: Iterable[str]) -> dict[str, str]:
    """Return the GPUs that are marked, each with the user whose mark it is; empty for unknown."""
    found = {}
    for device in devices:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.setblocking(False)
            try:
                asking.connect(_name(device))
                size = _CREDENTIALS.size
                told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
                found[device] = user_name(_CREDENTIALS.unpack(told)[1])
            except BlockingIOError:  # too many have asked
                found[device] = ""
            except OSError:  # nobody has it
                continue
    return found


def handed_on(marks: Marks) -> tuple[str, list[int]]:
    """Return what a runner's environment says of its marks, and the file descriptors it needs."""
    numbers = {device: None if mark is None else mark.fileno() for device, mark in marks.items()}
    return json.dumps(numbers), [number for number in numbers.values() if number is not None]


class Held:
    """The marks of one run, in its runner."""

    def __init__(self, marks: Mapping[str, socket.socket | None]) -> None:
        self._marks = dict(marks)
        self.look_after()

    @classmethod
    def taken_over(cls) -> Held:
        """Return those that whoever started this process has put; they are this process's now."""
        said = json.loads(os.environ.pop(HANDED_ON, "{}"))
        marks: dict[str, socket.socket | None] = {}
        for device, number in said.items():
            marks[device] = None
            if number is not None:
                marks[device] = mark = socket.socket(fileno=number)
                mark.set_inheritable(False)
                mark.setblocking(False)
                mark.listen(_WAITING)  # again: from now on it is this process that it names
        return cls(marks)

    @property
    def numbers(self) -> list[int]:
        """The file descriptors, for a trainer to hold them too: it may outlive its runner."""
        return [mark.fileno() for mark in self._marks.values() if mark is not None]

    def look_after(self) -> None:
        """Take over marks that other runs of this lab have left, and dismiss those who asked."""
        for device, mark in self._marks.items():
            if mark is None:
                with contextlib.suppress(OSError):
                    self._marks[device] = _bound(device)
                continue
            with contextlib.suppress(OSError):  # nobody asks any more
                while True:
                    mark.accept()[0].close()

    def take_away(self) -> None:
        """Let go of all of them."""
        take_away(self._marks)
        self._marks = {}


def _bound(device: str) -> socket.socket:
    mark = socket.socket(socket.AF_UNIX)
    try:
        mark.setblocking(False)
        mark.bind(_name(device))
        mark.listen(_WAITING)
    except OSError:
        mark.close()
        raise
    return mark


def _name(device: str) -> bytes:
    """Return the name of a GPU's mark; pretended GPUs are those of one file."""
    if fake := os.environ.get(FAKE_VARIABLE):
        file = zlib.crc32(os.path.realpath(fake).encode())
        device = f"pretended/{file:08x}/{device}"
    return f"\0cxrlab/gpu/{device}".encode()


def user_name(number: int) -> str:
    """Return a user's name; the number where there is none, as in a container."""
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
