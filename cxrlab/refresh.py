"""How is the registry brought up to date by whoever looks?

Each running run is looked at first, then its events are taken in, then its state is decided: so
everything that a trainer said before it ended is there when it is said to have ended.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from cxrlab import following, pace, putting_back, runner, states, text, torchrun
from cxrlab.backends import local, squeue
from cxrlab.lab import Lab
from store import claims, intake, jobs, queue, runs, within
from store.db import COMMAND_WAIT_S, Database, StoreError, writing

TURN = "waits for its turn"
"""The reason of a queued run that the agent has not considered yet."""

PAUSED_NAME = "paused.json"
"""The file of a run folder in which a trainer says that it waits for room on the disk."""

LIVE_BEAT_S = 10.0
"""A heartbeat older than this tells nothing about how long the run has been silent."""

_TAIL_BYTES = 16384
_RANKS_BYTES = 65536
_LONGEST_REASON = 300


def refresh(lab: Lab, db: Database, *, wait_s: float = COMMAND_WAIT_S) -> None:
    """Take in what trainers wrote, find out how runs ended, and release those that waited.

    Args:
        lab: where the runs are.
        db: its registry, open.
        wait_s: how long to wait for other writers; `math.inf` in the agent.

    Raises:
        StoreError: the registry stayed locked, or a run's events cannot be read; every other run
            has been looked at.
    """
    trouble: StoreError | None = None
    for run in runs.select(db, states=("running",)):
        if run.job is not None:
            continue
        try:
            refresh_run(lab, db, run, wait_s=wait_s)
        except runs.NoSuchRun:  # removed meanwhile
            continue
        except StoreError as error:
            trouble = error
    try:
        following.follow_all(lab, db, gather=partial(_of_job, lab), wait_s=wait_s)
    except StoreError as error:
        trouble = error
    _release_claims(db, wait_s=wait_s)
    runs.release_waiting(db)
    for run in queue.unexplained(db, 1000):
        reason = TURN if run.held is None else queue.HELD
        runs.change_state(db, run.id, "queued", reason=reason, expect=("queued",))
    if trouble:
        raise trouble


def refresh_run(
    lab: Lab,
    db: Database,
    run: runs.Run,
    *,
    wait_s: float = COMMAND_WAIT_S,
    runner_ended: bool = False,
) -> None:
    """Bring one running run up to date; ends it by force when it overran its limit to stop.

    Args:
        lab: where it is.
        db: the registry, open.
        run: the run.
        wait_s: how long to wait for other writers.
        runner_ended: whether whoever started its runner has seen it end, so that no record of it
            is still to come.
    """
    if run.job is not None:
        if job := jobs.open_job(db, run.id):
            known = squeue.look(lab, [job.job] if job.job else [])
            following.follow(lab, db, job, known, gather=partial(_of_job, lab), wait_s=wait_s)
        return
    folder = Path(run.folder)
    seen = local.look(folder, run.attempt)
    intake.take_in(db, run.id, folder, wait_s=wait_s)
    now = time.time()
    overdue = run.stop_requested is not None and (
        now - run.stop_requested > lab.settings.launch.stop_grace_s
    )
    if overdue and (seen.trainer_alive or seen.runner_alive):
        local.kill(folder, run.attempt)
    attempt, run = run.attempt, runs.get(db, run.id)
    if run.attempt != attempt:  # it was resumed while we looked
        return
    evidence = _evidence(lab, run, seen, now)
    if runner_ended:
        evidence = replace(evidence, since_start_s=math.inf)
    verdict = states.decide(evidence)
    if (verdict.state, verdict.reason) == (run.state, run.reason) or run.state != "running":
        return
    if verdict.state != "running" and seen.same_boot and not _cleared_up(seen):
        local.kill(folder, run.attempt, runner_too=True)  # what a dead runner could not clear up
    with writing(db, wait_s):
        if runs.get(db, run.id).attempt != attempt:
            return
        changed = runs.change_state(
            db, run.id, verdict.state, reason=verdict.reason, expect=("running",), at=_end(seen)
        )
        if changed and verdict.state != "running":
            claims.release(db, run.id)
            putting_back.after_end(lab, db, run, verdict)
    if verdict.state == "running" and states.STALLED in verdict.reason and seen.runner_alive:
        putting_back.end_stalled(lab, db, run, wait_s=wait_s)


def _cleared_up(seen: local.Look) -> bool:
    """Return whether the runner noted that nothing of the attempt was left when it ended."""
    record = seen.record or {}
    return record.get("ended") is not None and record.get("left") == []


def last_line(path: Path, *, start: int = 0) -> str:
    """Return the last line with text of a log, without `error: `; "" where there is none.

    Args:
        path: the log.
        start: how many bytes of it are of earlier attempts.
    """
    tail = _tail(path, _TAIL_BYTES, start=start)
    lines = [line.strip() for line in tail.replace("\r", "\n").split("\n") if line.strip()]
    return lines[-1].removeprefix("error: ")[:_LONGEST_REASON] if lines else ""


def _tail(path: Path, count: int, *, start: int) -> str:
    try:
        with within.open_file(path.parent, path.name) as file:
            file.seek(max(start, file.seek(0, 2) - count))
            return file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""


def _evidence(lab: Lab, run: runs.Run, seen: local.Look, now: float) -> states.Evidence:
    folder = Path(run.folder)
    began = run.started or now
    log, events = folder / runner.LOG_NAME, folder / intake.FILE_NAME
    start = int((seen.record or {}).get("log_from") or 0)
    quiet_s = _quiet_s(seen, now, [began, *(_modified(path) for path in (log, events))])
    settings = lab.settings.launch
    watched = quiet_s >= settings.stall_least_s and settings.stall_factor > 0
    usual = pace.of_run(events) if watched else None
    ranks = torchrun.is_used(run.command)
    return states.Evidence(
        record=seen.record,
        runner_alive=seen.runner_alive,
        trainer_alive=seen.trainer_alive,
        same_host=seen.same_host,
        same_boot=seen.same_boot,
        since_start_s=now - began,
        beat_age_s=seen.beat_age_s,
        quiet_s=quiet_s,
        usual_s=usual.usual if usual else None,
        stall_s=pace.stall_after_s(
            usual, factor=settings.stall_factor, least_s=settings.stall_least_s
        ),
        paused=_paused(folder, run.attempt),
        frozen=seen.frozen,
        ranks=torchrun.read(_tail(log, _RANKS_BYTES, start=start)) if ranks else torchrun.NOTHING,
        outcome=run.end_outcome or "",
        end_reason=run.end_reason,
        last_line=last_line(log, start=start),
        stop_requested=run.stop_requested is not None,
        folder_there=folder.is_dir() and not (seen.same_host and _is_rest(folder, run)),
    )


def _is_rest(folder: Path, run: runs.Run) -> bool:
    """Return whether a folder is only what a trainer wrote while it was being deleted.

    A run that has spoken had a record of its attempt before.
    """
    if run.started is None or (run.last_event or 0.0) <= run.started:
        return False
    try:
        runner.record_path(folder, run.attempt).parent.lstat()
    except FileNotFoundError:
        return True
    except OSError:  # nothing can be said of it now
        return False
    return False


def _paused(folder: Path, attempt: int) -> str:
    """Return what the trainer of this attempt waits for; empty where it waits for nothing."""
    try:
        said = json.loads((folder / PAUSED_NAME).read_text(encoding="utf-8").strip() or "{}")
    except (OSError, ValueError):
        return ""
    if not isinstance(said, dict) or said.get("attempt") != attempt:
        return ""
    needed, free = (text.size(said.get(key)) for key in ("needed", "free"))
    return f"the disk is full (needs {needed}, {free} free)"


def _quiet_s(seen: local.Look, now: float, heard: list[float]) -> float:
    """Return since when a run is silent: by its runner's own clock, which nobody sets."""
    beats = seen.runner_alive and (seen.beat_age_s or 0.0) < LIVE_BEAT_S
    if beats and seen.silent_s is not None:
        return seen.silent_s
    return now - max(heard)


def _of_job(lab: Lab, run: runs.Run, record: dict[str, Any] | None, now: float) -> states.Evidence:
    """Return what a run's folder says of its job, whose processes are out of sight."""
    return _evidence(lab, run, local.Look(record, False, False, False, False, None), now)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _end(seen: local.Look) -> float | None:
    """Return when the attempt ended, if the runner noted it; otherwise it ends now."""
    ended = (seen.record or {}).get("ended")
    if ended is None:
        return None
    # a clock that was set back meanwhile makes no run end before it began
    return max(float(ended), float((seen.record or {}).get("started") or 0.0))


def _release_claims(db: Database, *, wait_s: float) -> None:
    """Free what is held by runs that do not run; state and claim change in one transaction."""
    for holder in {claim.run for claim in claims.every(db)}:
        if runs.get(db, holder).state != "running":
            with writing(db, wait_s):
                if runs.get(db, holder).state != "running":
                    claims.release(db, holder)
