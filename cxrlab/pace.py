"""How often does a run usually say something, and what silence is therefore unusual?

Read from the end of its own events: what is usual for one run is an alarm in another. Times that
go back (a clock was set) are left out.
"""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from store import within

TAIL_BYTES = 65536
LEAST_GAPS = 5
"""So many gaps must be known before any is called usual."""

LONGEST_TIMES = 2.0
"""A silence must be longer by this than the longest so far, which may have been a validation."""


class Pace(NamedTuple):
    """What lies between two events of a run (seconds)."""

    usual: float
    """The median between two lines of metrics."""
    longest: float
    """The longest between any two events."""


def of_run(events: Path) -> Pace | None:
    """Return the pace of a run's present attempt; None while too little is known."""
    try:
        with within.open_file(events.parent, events.name) as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            tail = file.read()
    except OSError:
        return None
    heard: list[tuple[str, float]] = []
    for line in tail.split(b"\n"):
        try:
            event = json.loads(line)
            kind, t = str(event["kind"]), float(event["t"])
        except (ValueError, TypeError, KeyError):  # cut by the tail, torn, or of another kind
            continue
        if kind == "start":
            heard.clear()
        heard.append((kind, t))
    steps = _gaps(t for kind, t in heard if kind == "metrics")
    if len(steps) < LEAST_GAPS:
        return None
    return Pace(statistics.median(steps), max(_gaps(t for _, t in heard)))


def stall_after_s(pace: Pace | None, *, factor: float, least_s: float) -> float | None:
    """Return after what silence a run counts as stalled; None for never.

    Args:
        pace: its own.
        factor: how many times the usual gap; 0 for never.
        least_s: below this no silence counts.
    """
    if pace is None or not factor:
        return None
    return max(factor * pace.usual, LONGEST_TIMES * pace.longest, least_s)


def _gaps(times: Iterable[float]) -> list[float]:
    return [b - a for a, b in itertools.pairwise(times) if b >= a]
