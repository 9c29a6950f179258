"""How are the runs that wait started, held back, or told what they wait for?

The facts are gathered here and what `cxrlab.giving` decides is carried out here; each start is one
transaction, so that no device is given twice whoever else starts runs.
"""

from __future__ import annotations

import logging
import math
import re
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from sqlite_utils import Database

from cxrlab import disk, giving, gpus, launch
from cxrlab.backends import local
from cxrlab.lab import Lab
from store import claims, queue, runs
from store.db import writing

logger = logging.getLogger("cxrlab.agent")

_AT_ONCE = 1000
_DIGITS = re.compile(r"\d+")


def give(lab: Lab, db: Database) -> list[subprocess.Popen[bytes]]:
    """Start the queued runs there is room for, in their order; tell the others why not.

    Returns:
        The runners of those that were started.
    """
    queued = [run for run in queue.next_queued(db, _AT_ONCE) if not distrusts(lab, db, run)]
    if not queued:
        return []
    started = []
    for decision in giving.decide(queued, gather(lab, db, queued)):
        if decision.devices:
            child = start(lab, db, decision.run, devices=decision.devices)
            started += [child] if child else []
        else:
            explain(db, decision.run, reason=decision.reason)
    return started


def gather(lab: Lab, db: Database, queued: Sequence[runs.Run]) -> giving.Facts:
    """Return what there is to give now."""
    settings = lab.settings.launch
    wants_gpus = any(run.gpus for run in queued)
    return giving.Facts(
        reading=gpus.read_gpus() if wants_gpus else gpus.Reading((), "", 0),
        held=claims.held(db),
        cpu_slots=settings.cpu_slots,
        allowed_gpus=None if settings.gpus == "all" else settings.gpus,
        room=room(lab, db),
        no_space=disk.Disk(db).why_not,
    )


def room(lab: Lab, db: Database) -> dict[str, int]:
    """Return how many more runs of each task that has a limit may run."""
    limits = lab.settings.launch.limits
    running = queue.running(db) if limits else {}
    return {task: limit - running.get(task, 0) for task, limit in limits.items()}


def distrusts(lab: Lab, db: Database, run: runs.Run) -> bool:
    """Hold a run, and all that wait for the same, where the last ones failed alike.

    Said once in the log: the next thousand would fail as they did.
    """
    times = lab.settings.launch.hold_after
    failed = queue.failing_alike(db, run, times=times) if times else ()
    reasons = {_DIGITS.sub("0", each.reason) for each in failed}
    if len(reasons) != 1:
        return False
    alike = [
        each.id
        for each in queue.waiting(db)
        if (each.method, each.task, each.held) == (run.method, run.task, None)
    ]
    named = ", ".join(each.id for each in failed)
    reason = f"held, for {named} failed alike: {failed[0].reason}"
    queue.hold(db, alike, reason=reason)
    logger.warning("%s %s: %d runs %s", run.method, run.task, len(alike), reason)
    return True


def explain(db: Database, run: runs.Run, *, reason: str) -> None:
    """Say why a run has to wait."""
    if run.reason != reason:
        runs.change_state(db, run.id, "queued", reason=reason, expect=("queued",))


def start(
    lab: Lab, db: Database, run: runs.Run, *, devices: Sequence[str]
) -> subprocess.Popen[bytes] | None:
    """Make a run `running`, with its devices, in one transaction; then start its runner.

    Returns:
        The runner; None where somebody was first, or it cannot be started.
    """
    with writing(db, math.inf):
        if not claims.claim(db, run.id, devices):
            return None
        if not runs.change_state(db, run.id, "running", reason="starting", expect=("queued",)):
            claims.release(db, run.id)
            return None
        attempt = runs.start_attempt(db, run.id, time.time())
    shown = [device for device in devices if not device.startswith("cpu:")]
    try:
        child = local.start(
            Path(run.folder),
            attempt,
            command=launch.attempt_command(run),
            gpus=shown,
            cwd=lab.root,
        )
    except OSError as error:
        logger.error("%s cannot be started: %s", run.id, error)
        with writing(db, math.inf):
            reason = f"cannot be started: {error}"
            runs.change_state(db, run.id, "failed", reason=reason, expect=("running",))
            claims.release(db, run.id)
        return None
    logger.info("%s started on %s, attempt %d", run.id, ", ".join(devices), attempt)
    return child
