"""Which run that has ended is put back by itself, when and how? Decides; touches nothing.

Lost runs start again after a while, a few times in a row, and so do programs of one's own that were
said to go on (`cxrlab run --restartable`). A run that a GPU had too little memory
for starts again with smaller micro-batches, where that was asked for; one that was ended because it
had stalled goes on. What was wrong in its settings or its data is never tried again.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from cxrlab.advice import NO_MEMORY
from cxrlab.backends import job
from cxrlab.settings import LaunchSettings
from cxrlab.states import FOLDER_GONE, OUT_OF_TIME, Verdict
from store.mending import Mending
from store.runs import Run
from trainers import catalog

BACK_OFF_S = (30.0, 120.0, 600.0)
"""How long a lost run waits, the first time it is put back, the second, and every later one."""

LIVED_S = 3600.0
"""An attempt that lived this long was no immediate failure: losses are counted anew."""

MOST_STALLS = 3
"""So many times a stalled run is ended and put back; then it is only shown."""

OPTION = "--micro_batch="

NOT_BY_ITSELF = "a program of your own, which was not said to be restartable"


class Mend(NamedTuple):
    """What becomes of a run that has ended: whether it is put back, and what is said of it."""

    reason: str
    known: Mending
    back: bool
    command: Sequence[str] | None = None
    """Its command from now on, where that changes."""


def after(
    run: Run,
    verdict: Verdict,
    known: Mending,
    *,
    config: Mapping[str, Any],
    settings: LaunchSettings,
    now: float,
) -> Mend | None:
    """Return what to do about a run that has ended with `verdict`; None leaves it as it is.

    Args:
        run: as it was while it ran.
        verdict: how it ended.
        known: how often it was put back.
        config: its resolved configuration; may be empty.
        settings: of the lab.
        now: seconds since the epoch.
    """
    if verdict.state == "stopped" and known.ending == run.attempt:
        return _stalled(run, known)
    if verdict.state == "lost" and settings.retry_lost and verdict.reason != FOLDER_GONE:
        if not job.starts_again(run.command):
            return Mend(f"{verdict.reason}; {NOT_BY_ITSELF}", known, back=False)
        return _lost(run, verdict, known, most=settings.retry_lost, now=now)
    halve = (known.on_oom or settings.on_oom) == "halve"
    if verdict.state == "failed" and NO_MEMORY in verdict.reason and halve:
        return _smaller(run, verdict, known, config, floor=settings.oom_floor)
    return None


def _stalled(run: Run, known: Mending) -> Mend:
    stalls = known.stalls + 1
    at = f" at step {run.step}" if run.step is not None else ""
    reason = f"ended because it had stalled{at}; goes on, {stalls} of {MOST_STALLS} times"
    return Mend(reason, known._replace(stalls=stalls, ending=None), back=True)


def _lost(run: Run, verdict: Verdict, known: Mending, *, most: int, now: float) -> Mend:
    lived = run.started is not None and now - run.started >= LIVED_S
    # one that could not save in all its time may get no further next time, however long that is
    lived = lived and verdict.reason != OUT_OF_TIME
    losses = 1 if lived else known.losses + 1
    if losses > most:
        reason = f"{verdict.reason}; lost {_times(losses)}, and not started again by itself"
        return Mend(reason, known._replace(losses=losses, not_before=None), back=False)
    wait_s = BACK_OFF_S[min(losses, len(BACK_OFF_S)) - 1]
    form = "%H:%M" if wait_s > 60 else "%H:%M:%S"
    at = time.strftime(form, time.localtime(now + wait_s))
    reason = f"lost {_times(losses)}, {verdict.reason}; starts again at {at}"
    return Mend(reason, known._replace(losses=losses, not_before=now + wait_s), back=True)


def _smaller(
    run: Run, verdict: Verdict, known: Mending, config: Mapping[str, Any], *, floor: int
) -> Mend | None:
    if "--" in run.command:  # a program of one's own
        return None
    batch, accumulated = config.get("batch_size"), config.get("accum_iter")
    if not isinstance(batch, int) or not isinstance(accumulated, int):
        return None
    if compares(run, config):
        why = "its loss compares the records of a micro-batch"
        return Mend(f"{verdict.reason}; not cut smaller, for {why}", known, back=False)
    held = int(config.get("micro_batch") or batch)
    parts = next((n for n in range(2, held + 1) if held % n == 0), 0)
    smaller = held // parts if parts else 0
    if smaller < max(floor, 1):
        said = f"micro-batches of {held} are the smallest allowed"
        return Mend(f"{verdict.reason}; {said}", known, back=False)
    times = accumulated * (batch // smaller)
    reason = (
        f"out of GPU memory with micro-batches of {held}; goes on with {smaller}, "
        f"accumulated {times} times"
    )
    command = [word for word in run.command if not word.startswith(OPTION)]
    return Mend(reason, known, back=True, command=[*command, f"{OPTION}{smaller}"])


def compares(run: Run, config: Mapping[str, Any]) -> bool:
    """Return whether a run's loss depends on how many records a micro-batch holds."""
    if run.task != catalog.PRETRAIN:
        return False
    entry = catalog.METHODS.get(run.method)
    return bool(entry and entry.compares) or config.get("contrast", "none") != "none"


def refusal(name: str) -> str:
    """Return why the micro-batches of a run or method are not made smaller."""
    return (
        f"`--on-oom halve` is not for {name}: its loss compares the records of a micro-batch, and "
        "would be another with fewer of them"
    )


def _times(number: int) -> str:
    return {1: "once", 2: "twice"}.get(number, f"{number} times")
