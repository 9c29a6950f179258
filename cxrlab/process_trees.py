"""How much CPU time and memory do processes take together with all their descendants?

Read from `/proc`. For its parent a process is looked at once, when it is first seen; after that
only those of the trees are read. Standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Cost(NamedTuple):
    """What a tree of processes takes."""

    cpu_s: float
    """Of all its processes since each began, and of those that have ended and were waited for."""
    memory: int
    """Bytes of RAM; what processes share (files they map, tensors in /dev/shm) is counted once."""


class Trees:
    """The trees that grow from some processes, followed over time.

    A process stays in its tree when its parent ends.
    """

    def __init__(self) -> None:
        self._roots: frozenset[int] = frozenset()
        self._root_of: dict[int, int] = {}
        """The root of every process of the machine; 0 for one of no tree."""

    def look(self, roots: Collection[int]) -> dict[int, Cost]:
        """Return what each tree takes now; one whose root has ended is left out."""
        if frozenset(roots) != self._roots:
            self._roots, self._root_of = frozenset(roots), {}
        there = {int(name) for name in os.listdir("/proc") if name.isdigit()}  # noqa: PTH208
        known = {pid: root for pid, root in self._root_of.items() if pid in there}
        parents = {pid: _parent(pid) for pid in there - known.keys()}
        for pid in parents:
            line = [pid]
            while (end := line[-1]) in parents and end not in known and end not in self._roots:
                if parents[end] in line:  # a number that was used again meanwhile
                    break
                line.append(parents[end])
            root = end if end in self._roots else known.get(end, 0)
            known |= dict.fromkeys((each for each in line if each in parents), root)
        self._root_of = known
        costs = {}
        for root in self._roots & there:
            members = [_cost(pid) for pid, its in known.items() if its == root]
            found = [each for each in members if each is not None]
            costs[root] = Cost(
                sum(cpu for cpu, _, _ in found) / _TICKS,
                _PAGE
                * (
                    sum(resident - shared for _, resident, shared in found)
                    + max((shared for _, _, shared in found), default=0)
                ),
            )
        return costs


def _parent(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[1]) if stat else 0


def _cost(pid: int) -> tuple[int, int, int] | None:
    """Return ticks of CPU time, and pages that are resident and of those shared."""
    stat, pages = _stat(pid), _read(f"/proc/{pid}/statm").split()
    if not stat or len(pages) < 3:
        return None
    return sum(map(int, stat[11:15])), int(pages[1]), int(pages[2])


def _stat(pid: int) -> list[bytes]:
    """Return `/proc/PID/stat` from its third field on; the second may hold blanks and brackets."""
    return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()


def _read(path: str) -> bytes:
    """Return a short file; nothing of one that is gone. Half the time that `Path` takes."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(handle, 4096)
    except OSError:  # the process has ended meanwhile
        return b""
    finally:
        os.close(handle)
