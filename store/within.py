"""How is a file of a run folder opened, so that it is nothing else?

A run folder may be another user's, or a program's that is not ours. A name in it can be a pipe,
which would be waited for without end, a device, which never ends, or a link to somewhere else.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO


class Elsewhere(OSError):
    """A name in a run folder is no file of that folder."""


def open_file(folder: Path, name: str) -> BinaryIO:
    """Open `folder/name` for reading; it is a plain file, and lies in that folder.

    The folder itself may be a link: people keep runs on other disks.

    Raises:
        Elsewhere: it is a pipe, a device or a folder, or leads out of the folder.
        OSError: it is not there, or may not be read.
    """
    path = folder / name
    root = os.path.realpath(folder)
    if not os.path.realpath(path).startswith(root + os.sep):
        raise Elsewhere(errno.ELOOP, "leads out of its run folder", str(path))
    # a pipe without a writer is opened at once, and refused below
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise Elsewhere(errno.EINVAL, "is no plain file", str(path))
    return os.fdopen(handle, "rb")


def read_text(folder: Path, name: str) -> str:
    """Return what a text of a run folder says; what is no UTF-8 in it is replaced.

    Raises:
        OSError: see `open_file`.
    """
    with open_file(folder, name) as file:
        return file.read().decode("utf-8", errors="replace")


def read_object(folder: Path, name: str) -> dict[str, Any]:
    """Return the JSON object in a file of a run folder; an empty one where there is none.

    Also where it cannot be read, or is nested deeper than any program of ours writes.
    """
    try:
        found = json.loads(read_text(folder, name))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def whole_lines(file: BinaryIO, most: int) -> bytes:
    """Return about `most` bytes from where `file` stands, up to the end of a line."""
    chunk = file.read(most)
    end = chunk.rfind(b"\n") + 1
    if end or len(chunk) < most:
        return chunk[:end]
    # one line longer than that: given whole once it is complete
    rest = file.readline()
    return chunk + rest if rest.endswith(b"\n") else b""
