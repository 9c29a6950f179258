"""Which lines does a list of runs have that is gathered in groups? Heads, and runs under them.

Only the groups are held, of which there are few; which runs stand on the lines in view is read when
they come into view.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Group(NamedTuple):
    """Runs that share a method, a task or a state."""

    key: str
    runs: int
    closed: bool = False

    @property
    def lines(self) -> int:
        """Its head, and its runs unless it is closed."""
        return 1 if self.closed else 1 + self.runs


class Piece(NamedTuple):
    """Consecutive lines of one group: its head or not, and some of its runs."""

    group: Group
    head: bool
    offset: int
    """Of the first run among those of the group."""
    limit: int


def count(groups: Sequence[Group]) -> int:
    """Return how many lines there are."""
    return sum(group.lines for group in groups)


def head_of(groups: Sequence[Group], key: str) -> int:
    """Return the line of a group's head; the first where there is no such group."""
    top = 0
    for group in groups:
        if group.key == key:
            return top
        top += group.lines
    return 0


def pieces(groups: Sequence[Group], offset: int, limit: int) -> list[Piece]:
    """Return what stands on `limit` lines from `offset` on."""
    found = []
    top = 0
    for group in groups:
        first, last = max(offset, top), min(offset + limit, top + group.lines)
        if first < last:
            head = first == top
            skipped = 0 if head else first - top - 1
            found.append(Piece(group, head, skipped, last - first - head))
        top += group.lines
    return found
