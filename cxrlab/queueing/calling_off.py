"""How is a run stopped that has a job in a cluster's queue, or runs as one?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cxrlab import following, refresh
from cxrlab.backends import job, slurm
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from store import jobs, runs
from store.db import Database

LOOK_S = 0.2
_PATIENCE_S = 120.0
"""How long Slurm may take to end what it was told to end: it waits itself before it kills."""


def stop(lab: Lab, db: Database, run: runs.Run, limit_s: float) -> runs.Run:
    """End a run that has a job, and return it as it then is.

    One that waits is cancelled. One that runs is asked to write a checkpoint and end; after
    `limit_s` its job is cancelled.

    Raises:
        CxrlabError: Slurm does not answer; the run goes on as it did.
    """
    deadline, cancelled = time.monotonic() + limit_s, False
    while (each := jobs.open_job(db, run.id)) and run.state in ("queued", "running"):
        over = time.monotonic() - deadline
        if run.state == "queued":
            _call_off(db, run, each)
        elif run.stop_requested is None:
            ask(db, run)
        elif over >= 0 and not cancelled:
            cancelled = True
            slurm.cancel(each.job)
        elif over > _PATIENCE_S:
            raise CxrlabError(f"Slurm has been told to end job {each.job}, and it goes on")
        else:
            time.sleep(LOOK_S)
        refresh.refresh_run(lab, db, run)
        run = runs.get(db, run.id)
    refresh.refresh(lab, db)
    return runs.get(db, run.id)


def ask(db: Database, run: runs.Run) -> None:
    """Ask a running run to save and end; one that has not begun to train is cancelled.

    Raises:
        CxrlabError: Slurm does not answer; the run goes on as it did.
    """
    each = jobs.open_job(db, run.id)
    if each is None or run.stop_requested is not None:
        return
    if following.latest(Path(run.folder), each.attempt, run.attempt):
        slurm.send(each.job, job.STOP_SIGNAL)
    else:
        slurm.cancel(each.job)
    runs.request_stop(db, run.id, time.time())


def void(run: runs.Run, each: jobs.Job) -> None:
    """See to it that a job that is not wanted any more ends at once should it begin."""
    folder = Path(run.folder)
    order: dict[str, Any] = job.read_order(folder)
    if order.get("token") == each.token:
        job.write_order(folder, {**order, "token": ""})


def _call_off(db: Database, run: runs.Run, each: jobs.Job) -> None:
    if each.job:
        slurm.cancel(each.job)
    void(run, each)
    reason = "stopped while it waited"
    if runs.change_state(db, run.id, "stopped", reason=reason, expect=("queued",)) and each.job:
        jobs.close(db, run.id, time.time())
