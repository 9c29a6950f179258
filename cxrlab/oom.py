"""Has the kernel killed a process because there was no memory left? Standard library only.

Three witnesses, the surest first: the kernel's own log, which names the pid; the count of such
kills in the process's control group; that of the whole machine. A count tells only that one
happened, so it is compared over the last two seconds of the process's life.
"""

from __future__ import annotations

import os
import re
import time
from collections import namedtuple  # `typing` would slow the start of every run
from pathlib import Path

PROC, CGROUPS, KERNEL_LOG = Path("/proc"), Path("/sys/fs/cgroup"), Path("/dev/kmsg")

_KILLED = re.compile(r"Killed process (\d+)\b")
_RECORD_BYTES = 8192
_UNLIMITED = 2**60
"""A limit above this is none: version 1 writes the largest number that it knows."""


class Group(namedtuple("Group", ("kills", "limit"))):
    """The files that tell of a control group's memory: what counts kills, and what limits it."""

    kills: Path
    limit: Path


class Witness(namedtuple("Witness", ("where", "limit"), defaults=[None])):
    """Who says that the kernel killed for want of memory, and under which limit (bytes).

    `where` is `process`, `cgroup` or `machine`.
    """

    where: str
    limit: int | None


def group_of(pid: int) -> Group | None:
    """Return the control group that holds the memory of a process, of version 1 or 2."""
    try:
        lines = (PROC / str(pid) / "cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(","):
            folder = CGROUPS / "memory" / path.lstrip("/")
            return Group(folder / "memory.oom_control", folder / "memory.limit_in_bytes")
    for line in lines:
        number, controllers, path = line.split(":", 2)
        if number == "0" and not controllers:
            folder = CGROUPS / path.lstrip("/")
            return Group(folder / "memory.events", folder / "memory.max")
    return None


def kills_told(path: Path) -> int | None:
    """Return the count behind `oom_kill` in a file of counts; None where it tells none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    for line in text.splitlines():
        name, _, number = line.partition(" ")
        if name == "oom_kill" and number.strip().isdigit():
            return int(number)
    return None


def limit_of(group: Group) -> int | None:
    """Return how much memory a control group may use (bytes); None for no limit."""
    try:
        text = group.limit.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < _UNLIMITED else None


def killed_by_kernel(since_s: float) -> set[int]:
    """Return the pids that the kernel's log says were killed; empty where it may not be read.

    Args:
        since_s: seconds of `time.monotonic`, as the log counts them; older records are left out.
    """
    found: set[int] = set()
    try:
        log = os.open(KERNEL_LOG, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return found
    try:
        while True:
            try:
                record = os.read(log, _RECORD_BYTES).decode("utf-8", errors="replace")
            except BrokenPipeError:  # overwritten while we read; the next one is there
                continue
            except OSError:
                return found
            if not record:
                return found
            head, _, said = record.partition(";")
            told = _KILLED.search(said)
            if told and int(head.split(",")[2]) / 1e6 >= since_s:
                found.add(int(told[1]))
    finally:
        os.close(log)


class Watch:
    """Looks at the counts once a second while a process lives, and says at its end what rose."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.began = time.monotonic()
        self.group = group_of(pid)
        self._earlier = self._latest = self._counts()

    def look(self) -> None:
        """Keep the counts of this second and the one before; the process may have moved."""
        self.group = group_of(self.pid) or self.group
        self._earlier, self._latest = self._latest, self._counts()

    def at_the_end(self) -> Witness | None:
        """Return who saw the process, or one beside it, killed for want of memory just now."""
        limit = limit_of(self.group) if self.group else None
        if self.pid in killed_by_kernel(self.began):
            return Witness("process", limit)
        before, now = self._earlier, self._counts()
        for place, one, other in zip(("cgroup", "machine"), before, now, strict=True):
            if one is not None and other is not None and other > one:
                return Witness(place, limit if place == "cgroup" else None)
        return None

    def _counts(self) -> tuple[int | None, int | None]:
        own = kills_told(self.group.kills) if self.group else None
        return own, kills_told(PROC / "vmstat")
