"""How is a run followed that a cluster starts?

Its events, its exit record and its log come from the run folder on the shared file system, like
those of any other run; that it waits, and why it ended without a word, comes from Slurm. The
registry stays where the lab is: no job opens it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cxrlab import job_states, putting_back, runner
from cxrlab.backends import local, squeue
from cxrlab.lab import Lab
from cxrlab.states import Evidence, Verdict
from store import intake, jobs, runs
from store.db import COMMAND_WAIT_S, Database, writing

Gather = Callable[[runs.Run, dict[str, Any] | None, float], Evidence]
"""Makes evidence of what the folder of a run says, given the record of its latest attempt."""


def follow_all(lab: Lab, db: Database, *, gather: Gather, wait_s: float = COMMAND_WAIT_S) -> None:
    """Bring every run up to date that has a job; asks Slurm where nobody did lately."""
    found = jobs.open_jobs(db)
    if not found:
        return
    known = squeue.look(lab, [job.job for job in found if job.job])
    for job in found:
        follow(lab, db, job, known, gather=gather, wait_s=wait_s)


def follow(
    lab: Lab,
    db: Database,
    job: jobs.Job,
    known: squeue.Known,
    *,
    gather: Gather,
    wait_s: float = COMMAND_WAIT_S,
) -> None:
    """Bring one run up to date that has a job; one that was lost is put back."""
    run = runs.get(db, job.run)
    if run.state not in ("queued", "running"):  # called off while it was handed in
        return
    folder, seen = Path(run.folder), known.jobs.get(job.job)
    waits = seen is not None and seen.state in job_states.WAITING and not known.unknown_since
    record = None
    if run.attempt >= job.attempt or not waits:  # a folder far away is not asked for nothing
        record = latest(folder, job.attempt, run.attempt)
        intake.take_in(db, run.id, folder, wait_s=wait_s)
        run = runs.get(db, run.id)
    now = time.time()
    silent = known.unknown_since
    evidence = job_states.JobEvidence(
        number=job.job,
        submitted=job.submitted,
        seen=seen,
        asked=known.asked,
        run=gather(run, record, now),
        now=now,
        unknown_since=silent,
        clock=time.strftime("%H:%M", time.localtime(silent or now)),
        error=known.error,
    )
    _settle(lab, db, run, record, job_states.decide(evidence), wait_s=wait_s)


def _settle(
    lab: Lab,
    db: Database,
    run: runs.Run,
    record: dict[str, Any] | None,
    verdict: Verdict,
    *,
    wait_s: float,
) -> None:
    """Write down what a run has come to; nothing where nothing has changed."""
    number = int(record["attempt"]) if record else run.attempt
    begun = verdict.state == "running" and run.state != "running"
    if (verdict.state, verdict.reason) == (run.state, run.reason) and run.attempt >= number:
        return
    ended = (record or {}).get("ended")
    with writing(db, wait_s):
        now = runs.get(db, run.id)
        if (now.state, now.attempt, now.job) != (run.state, run.attempt, run.job):
            return
        at = float(ended) if ended and verdict.state in runs.ENDED else None
        if begun and record:
            at = float(record["started"])
        runs.change_state(
            db, run.id, verdict.state, reason=verdict.reason, expect=(run.state,), at=at
        )
        for _ in range(run.attempt, number):
            runs.start_attempt(db, run.id, float((record or {})["started"]))
        if verdict.state in runs.ENDED:
            jobs.close(db, run.id, at or time.time())
            putting_back.after_end(lab, db, now, verdict)


def latest(folder: Path, first: int, known: int) -> dict[str, Any] | None:
    """Return the record of the latest attempt that a job has made; None where it made none.

    Args:
        folder: the run folder.
        first: the first attempt of the job.
        known: the attempt that the registry knows of; there may be later ones.
    """
    number = max(first, known)
    while runner.record_path(folder, number + 1).exists():
        number += 1
    found = local.read_record(folder, number)
    while found is None and number > first:
        number -= 1
        found = local.read_record(folder, number)
    return found
