"""How a trainer tells what it is doing: one JSON line per event in `events.jsonl`.

Standard library only. Each line is written by itself, so that a killed process loses nothing it
has said. Nothing here waits for a reader. On a full disk lines are kept in memory, in order, and
written with a later one or by `flush`; no line is lost or torn by it.
"""

from __future__ import annotations

import errno
import json
import math
import os
import socket
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any, Literal

FILE_NAME = "events.jsonl"
Outcome = Literal["succeeded", "stopped", "failed"]

KEPT_BYTES = 16 * 2**20
"""What is kept in memory while the disk is full; beyond it, writing waits for room."""

STOPPED_WAIT_S = 5.0
"""How long a training that was asked to stop waits for room for its last words."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_LOOK_S = 0.5

_encode = json.JSONEncoder(allow_nan=False, ensure_ascii=False).encode
"""Made once: `json.dumps` makes one at each call that has options, for 5.9 µs an event, not 6.7."""


class EventLog:
    """Appends events to one run folder; does nothing on ranks other than 0.

    A file that a crash left without a final newline is closed with one first, so that the torn
    line stays alone and the next event is whole.
    """

    def __init__(self, folder: Path, *, enabled: bool = True) -> None:
        self._file: FileIO | None = None
        self._kept = bytearray()
        if enabled:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / FILE_NAME
            torn = path.exists() and path.stat().st_size > 0 and _last_byte(path) != b"\n"
            self._file = FileIO(path, "a")
            if torn:
                self._append(b"\n")

    def write(self, kind: str, **values: Any) -> None:
        """Append one event; numbers that are not finite are written as null."""
        if self._file is None:
            return
        event = {"t": time.time(), "kind": kind, **values}
        try:
            line = _encode(event)
        except ValueError:
            line = _encode(finite(event))
        self._append((line + "\n").encode("utf-8", "replace"))

    def flush(self, *, wait_s: float = 0.0) -> bool:
        """Write what a full disk has held up, and return whether nothing is left of it.

        Args:
            wait_s: how long to wait for room.
        """
        deadline = time.monotonic() + wait_s
        while self._kept and self._file is not None:
            del self._kept[: self._write(bytes(self._kept))]
            if self._kept and time.monotonic() >= deadline:
                return False
            if self._kept:
                time.sleep(_LOOK_S)
        return True

    def _append(self, line: bytes) -> None:
        if self._kept:
            self._kept += line
            self.flush(wait_s=math.inf if len(self._kept) > KEPT_BYTES else 0.0)
        else:
            self._kept += line[self._write(line) :]

    def _write(self, data: bytes) -> int:
        """Return how many bytes were written; fewer than all where the disk is full."""
        assert self._file is not None
        try:
            return self._file.write(data) or 0
        except OSError as error:
            if error.errno not in _FULL:
                raise
            return 0

    def start(self, step: int, *, total_steps: int) -> None:
        """Say that a process begins after `step` finished updates (0: from scratch)."""
        attempt = int(os.environ.get("CXRLAB_ATTEMPT", "1"))
        self.write(
            "start",
            step=step,
            attempt=attempt,
            pid=os.getpid(),
            host=socket.gethostname(),
            total_steps=total_steps,
        )

    def metrics(self, step: int, values: Mapping[str, float], *, epoch: float) -> None:
        """Give all values of one logged step in one line."""
        self.write("metrics", step=step, epoch=round(epoch, 4), values=dict(values))

    def progress(self, done: int, total: int, *, eta_s: float | None) -> None:
        """Say how many of `total` updates are done and how many seconds are left."""
        self.write("progress", done=done, total=total, eta_s=eta_s)

    def checkpoint(self, kind_of: str, path: str, *, step: int, sha256: str | None = None) -> None:
        """Name a checkpoint (`last`, `best`, `encoder`, `epoch`) by its path in the run folder."""
        self.write("checkpoint", kind_of=kind_of, path=path, step=step, sha256=sha256)

    def sample(self, path: str, caption: str) -> None:
        """Name a picture by its path within the run folder."""
        self.write("sample", path=path, caption=caption)

    def warning(self, message: str, **where: Any) -> None:
        """Report what was skipped or odd, with its path."""
        self.write("warning", message=message, **where)

    def result(self, **values: Any) -> None:
        """Give the content of `result.json`."""
        self.write("result", **values)

    def end(self, outcome: Outcome, reason: str = "") -> None:
        """Close the run; this outranks the exit status. Waits for room where the disk is full."""
        self.write("end", outcome=outcome, reason=reason)
        self.flush(wait_s=STOPPED_WAIT_S if outcome == "stopped" else math.inf)

    def close(self) -> None:
        """Write what is left, if there is room, and close."""
        if self._file is not None:
            self.flush()
            self._file.close()
            self._file = None


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def finite(value: Any) -> Any:
    """Return `value` with null for each number that is not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {k: finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [finite(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
