"""Which of the runs that wait start now, on what, and what do the others wait for? Touches nothing.

Values in, values out: `cxrlab.starting` gathers the facts and carries out what is decided here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from cxrlab import gpus
from store.runs import Run

LIMITS = "`[launch.limits]`"


class Decision(NamedTuple):
    """What becomes of a run that waits: devices to start on, or else the reason why not."""

    run: Run
    devices: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Facts:
    """What there is to give, at one moment."""

    reading: gpus.Reading
    held: Mapping[str, str]
    """Devices that runs of this lab hold, each with its run's id."""
    cpu_slots: int
    allowed_gpus: int | None
    """How many GPUs this lab may hold at once; None for all."""
    room: Mapping[str, int]
    """How many more runs of a task may run; tasks without a limit are not in it."""
    no_space: Callable[[Run], str]
    """Why the disk does not do for a run, empty where it does; asked of runs that could start."""


def decide(queued: Sequence[Run], facts: Facts) -> list[Decision]:
    """Return what becomes of each run that waits, in their order.

    A run that wants many GPUs is not overtaken by later ones that want few.
    """
    room = dict(facts.room)
    held = set(facts.held)
    places = [place for i in range(facts.cpu_slots) if (place := f"cpu:{i}") not in held]
    free = gpus.free_gpus(facts.reading.gpus, held, allowed=facts.allowed_gpus)
    overtaking = False
    decided = []
    for run in queued:
        if room.get(run.task, 1) < 1:
            reason = f"waits for another {run.task} run to end: {LIMITS}"
            decided.append(Decision(run, reason=reason))
            continue
        wants_cpu = run.gpus == 0
        if (places if wants_cpu else free) and (full := facts.no_space(run)):
            decided.append(Decision(run, reason=full))
            continue
        taken: tuple[str, ...] = ()
        if wants_cpu:
            taken = tuple(places[:1])
            places = places[1:]
        elif not overtaking and len(free) >= run.gpus:
            taken = tuple(gpu.uuid for gpu in free[: run.gpus])
            free = free[run.gpus :]
            held.update(taken)
        else:
            overtaking = True
        if taken:
            if run.task in room:
                room[run.task] -= 1
            decided.append(Decision(run, taken))
        elif wants_cpu:
            decided.append(Decision(run, reason="waits for a free CPU slot"))
        else:
            decided.append(Decision(run, reason=_no_gpu(run, facts, held)))
    return decided


def _no_gpu(run: Run, facts: Facts, held: set[str]) -> str:
    reason = gpus.why_not(facts.reading.gpus, held, wanted=run.gpus, allowed=facts.allowed_gpus)
    return f"{reason}: {facts.reading.error}" if facts.reading.error else reason
