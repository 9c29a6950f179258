"""When does each run start and end on the places that a lab has? The agent's rules, played ahead.

Functions from values to values.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from cxrlab.filling.forecast import Job


class Span(NamedTuple):
    """From when to when a job runs, in seconds from now."""

    start: float
    end: float


@dataclass
class _Places:
    """What is free at a moment, and what waits for it; lists of places in the order."""

    gpus: int
    slots: int
    room: dict[str, int]
    gpu_jobs: list[int] = field(default_factory=list)
    cpu_jobs: list[int] = field(default_factory=list)
    held: dict[str, list[int]] = field(default_factory=dict)
    """Jobs of a task that is at its limit."""


def spans(
    jobs: Sequence[Job],
    order: Sequence[int],
    *,
    gpus: int,
    cpu_slots: int,
    limits: Mapping[str, int] | None = None,
) -> dict[int, Span]:
    """Return when each job runs, by its index; left out is what can never start or has no end.

    Jobs start in `order` as places fall free. One that waits for GPUs is not overtaken by later
    ones; one on the CPU overtakes it. What runs already holds its place.

    Args:
        jobs: what is to be done, each with the time left, or None.
        order: indexes of jobs, in the order in which they are queued.
        gpus: how many the lab may use.
        cpu_slots: how many runs on the CPU there may be at once.
        limits: how many runs of a task may run at once.
    """
    places = _Places(gpus, cpu_slots, dict(limits or {}))
    rank = {index: number for number, index in enumerate(order)}
    after: dict[int, list[int]] = {}
    found: dict[int, Span] = {}
    ends: list[tuple[float, int]] = []

    def start(index: int, now: float) -> None:
        job = jobs[index]
        places.gpus -= job.gpus
        places.slots -= not job.gpus
        if job.task in places.room:
            places.room[job.task] -= 1
        found[index] = Span(now, now + (job.seconds or 0.0))
        heapq.heappush(ends, (found[index].end, index))

    def ready(index: int) -> None:
        waiting = places.gpu_jobs if jobs[index].gpus else places.cpu_jobs
        heapq.heappush(waiting, rank[index])

    for index in order:
        job = jobs[index]
        if job.stuck or job.seconds is None or (job.gpus > gpus and job.state != "running"):
            continue
        if job.state == "running":
            start(index, 0.0)
        elif job.after is None:
            ready(index)
        else:
            after.setdefault(job.after, []).append(index)
    _fill(jobs, order, places, 0.0, start)
    while ends:
        now, index = heapq.heappop(ends)
        ended = [index]
        while ends and ends[0][0] <= now:
            ended.append(heapq.heappop(ends)[1])
        for index in ended:
            job = jobs[index]
            places.gpus += job.gpus
            places.slots += not job.gpus
            if job.task in places.room:
                places.room[job.task] += 1
                for held in places.held.pop(job.task, []):
                    ready(held)
            for later in after.pop(index, []):
                ready(later)
        _fill(jobs, order, places, now, start)
    return found


def _fill(
    jobs: Sequence[Job],
    order: Sequence[int],
    places: _Places,
    now: float,
    start: Callable[[int, float], None],
) -> None:
    """Start what there is room for, in order."""
    for waiting, of_gpus in ((places.gpu_jobs, True), (places.cpu_jobs, False)):
        while waiting:
            index = order[waiting[0]]
            job = jobs[index]
            if places.room.get(job.task, 1) < 1:
                places.held.setdefault(job.task, []).append(index)
                heapq.heappop(waiting)
            elif (places.gpus >= job.gpus) if of_gpus else places.slots > 0:
                heapq.heappop(waiting)
                start(index, now)
            else:
                break
