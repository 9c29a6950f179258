"""How are the runs that wait started, held back, or told what they wait for?

The facts are gathered here and what `cxrlab.queueing.giving` decides is carried out here; each
start is one transaction, so that no device is given twice whoever else starts runs.
"""

from __future__ import annotations

import logging
import math
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import gpus, marks
from cxrlab.backends import local
from cxrlab.gpus.memory import Demands
from cxrlab.gpus.watch import Watch
from cxrlab.gpus.whose import is_gpu
from cxrlab.lab import Lab
from cxrlab.queueing import disk, giving, steering, submitting
from store import claims, queue, runs
from store.db import Database, writing

logger = logging.getLogger("cxrlab.agent")

AT_ONCE = 1000
"""So many of the runs that wait are looked at in a pass."""

_DIGITS = re.compile(r"\d+")


class Started(NamedTuple):
    """A run that has been given its place, and the process that looks after it."""

    run: str
    runner: subprocess.Popen[bytes]


def give(lab: Lab, db: Database, watch: Watch, *, limit: int = AT_ONCE) -> Iterator[Started]:
    """Start the queued runs there is room for, in their order; tell the others why not.

    Args:
        lab: the lab.
        db: its registry, open.
        watch: what keeps an eye on the GPUs.
        limit: how many of those that wait are looked at.

    Yields:
        Each that was started, at once.
    """
    queued = trusted(lab, db, backend="local", limit=limit)
    facts = gather(lab, db, watch, wanted=any(run.gpus for run in queued))
    decided = giving.decide(queued, facts)
    for decision in decided:
        if decision.devices and (child := start(lab, db, decision)):
            yield Started(decision.run.id, child)
    explain(db, [decision for decision in decided if not decision.devices])


def hand_in(lab: Lab, db: Database, desk: submitting.Desk) -> None:
    """Hand in the queued runs that a cluster starts, and look after those that are there."""
    desk.work(lab, db, trusted(lab, db, backend="slurm"), room(lab, db))


def trusted(lab: Lab, db: Database, *, backend: str, limit: int = AT_ONCE) -> list[runs.Run]:
    """Return the queued runs that may start, in their order.

    One is held, with all that wait for the same, where the last ones failed alike since it waits:
    the next thousand would fail as they did. Where some of them succeeded, or ended before it was
    queued, retried or released, it is a new trial.
    """
    times = lab.settings.launch.hold_after
    failed: dict[tuple[str, str], tuple[runs.Run, ...]] = {}
    held: set[str] = set()
    found = []
    for run in queue.next_queued(db, limit, backend=backend):
        kind = run.method, run.task
        if kind not in failed:
            failed[kind] = _failed_alike(db, *kind, times=times) if times else ()
        if run.id in held or run.job is not None:
            continue
        if failed[kind] and all((each.ended or 0.0) > (run.queued or 0.0) for each in failed[kind]):
            held |= _hold_alike(db, run, failed[kind])
        else:
            found.append(run)
    return found


def _failed_alike(db: Database, method: str, task: str, *, times: int) -> tuple[runs.Run, ...]:
    """Return the last `times` runs where all of them failed for one reason; numbers may differ."""
    found = queue.newest_ended(db, method, task, times)
    reasons = {_DIGITS.sub("0", each.reason) for each in found}
    alike = len(found) == times and len(reasons) == 1
    return found if alike and all(each.state == "failed" for each in found) else ()


def _hold_alike(db: Database, run: runs.Run, failed: Sequence[runs.Run]) -> set[str]:
    """Hold the runs that wait for the same as one; says so once, and returns their ids."""
    alike = [
        each.id
        for each in queue.waiting(db)
        if (each.method, each.task, each.held) == (run.method, run.task, None)
    ]
    named = ", ".join(each.id for each in failed)
    reason = f"held, for {named} failed alike: {failed[0].reason}"
    queue.hold(db, alike, reason=reason)
    logger.warning("%s %s: %d runs %s", run.method, run.task, len(alike), reason)
    return set(alike)


def gather(lab: Lab, db: Database, watch: Watch, *, wanted: bool) -> giving.Facts:
    """Return what there is to give now.

    Args:
        lab: the lab.
        db: its registry, open.
        watch: what keeps an eye on the GPUs.
        wanted: whether runs wait for a GPU.
    """
    settings, held = lab.settings, claims.every(db)
    return giving.Facts(
        sight=watch.look(lab, held, wanted=wanted),
        claims=held,
        cpu_slots=settings.launch.cpu_slots,
        most_gpus=settings.launch.most_gpus,
        room=room(lab, db),
        demand=Demands(db, share=settings.gpus.share).of,
        no_space=disk.Disk(db).why_not,
        gpus=settings.gpus,
        me=gpus.me(),
    )


def room(lab: Lab, db: Database) -> dict[str, int]:
    """Return how many more runs of each task that has a limit may run."""
    limits = lab.settings.launch.limits
    running = queue.running(db) if limits else {}
    return {task: limit - running.get(task, 0) for task, limit in limits.items()}


def explain(db: Database, decided: Sequence[giving.Decision]) -> None:
    """Say why runs have to wait, of those that were told otherwise before."""
    changed = [each for each in decided if each.run.reason != each.reason]
    if changed:
        with writing(db, math.inf):
            for each in changed:
                runs.change_state(db, each.run.id, "queued", reason=each.reason, expect=("queued",))


def start(lab: Lab, db: Database, decision: giving.Decision) -> subprocess.Popen[bytes] | None:
    """Make a run `running`, with its devices marked and claimed; then start its runner.

    Returns:
        The runner; None where somebody was first, or it cannot be started.
    """
    run, devices = decision.run, decision.devices
    shown = [device for device in devices if is_gpu(device)]
    marked = marks.put(shown, ours={each.device for each in claims.every(db)})
    if marked is None:  # a run of another lab; the next look shows it
        return None
    try:
        attempt = _begin(db, decision)
        if attempt is None:
            return None
        child = local.start(
            Path(run.folder),
            attempt,
            command=steering.attempt_command(run),
            gpus=shown,
            cwd=lab.root,
            marked=marked,
        )
    except OSError as error:
        logger.error("%s cannot be started: %s", run.id, error)
        with writing(db, math.inf):
            reason = f"cannot be started: {error}"
            runs.change_state(db, run.id, "failed", reason=reason, expect=("running",))
            claims.release(db, run.id)
        return None
    finally:
        marks.take_away(marked)  # its runner holds them by now
    logger.info("%s started on %s, attempt %d", run.id, ", ".join(devices), attempt)
    return child


def _begin(db: Database, decision: giving.Decision) -> int | None:
    """Claim a run's devices and make it `running`, in one transaction.

    Returns:
        Its attempt; None where it is not to be had any more.
    """
    run = decision.run
    with writing(db, math.inf):
        if not claims.claim(db, run.id, decision.devices, mib=decision.mib, room=decision.room):
            return None
        if not runs.change_state(db, run.id, "running", reason="starting", expect=("queued",)):
            claims.release(db, run.id)
            return None
        return runs.start_attempt(db, run.id, time.time())
