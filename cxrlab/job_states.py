"""In which state is a run that a cluster starts, and why? Decides from evidence; touches nothing.

What counts first is what the run folder says: the trainer's own `end` event and the exit record of
the job's runner. Slurm is asked for what the folder cannot know: that a job waits, and what for,
and why it ended where nobody was left to write that down.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from cxrlab import mending, states
from cxrlab.backends.slurm import Seen
from cxrlab.states import Evidence, Verdict

SETTLE_S = 5.0
"""By how much an answer must be younger than a fact to know of it; clocks of nodes differ."""

PATIENCE_S = 60.0
"""How long Slurm may take to say why a job has ended."""

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD")
AT_WORK = ("RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING")

WHY_PENDING = {
    "Priority": "jobs of higher priority come first",
    "Resources": "the nodes or GPUs it needs are taken",
    "BeginTime": "its start is put off for a moment",
    "Dependency": "another job has to end first",
    "DependencyNeverSatisfied": "it depends on a job that failed",
    "JobArrayTaskLimit": "as many jobs of its array run as may",
    "JobHeldUser": "held by its owner: `scontrol release` lets it start",
    "JobHeldAdmin": "held by an administrator",
    "JobLaunchFailure": "Slurm could not launch it on its node",
    "launch failed requeued held": "Slurm could not launch it, and holds it",
    "Licenses": "a licence it needs is taken",
    "Reservation": "its reservation has not begun",
    "ReqNodeNotAvail": "a node it asks for is not available",
    "NodeDown": "a node it needs is down",
    "PartitionDown": "its partition is down",
    "PartitionInactive": "its partition is not active",
    "PartitionNodeLimit": "it asks for more nodes than its partition allows, or has up",
    "PartitionTimeLimit": "it asks for more time than its partition allows",
    "PartitionConfig": "it asks for more than its partition allows",
    "BadConstraints": "no node is as it asks",
    "InvalidAccount": "its account is not valid",
    "InvalidQOS": "its QOS is not valid",
    "AccountNotAllowed": "its account may not use the partition",
    "QOSNotAllowed": "its QOS may not use the partition",
    "Cleaning": "its last start is being cleared up",
}
"""Slurm's reasons to let a job wait, in words."""

_LIMITS = {
    "QOS": "a limit of its QOS",
    "Assoc": "a limit of its account or user",
    "Max": "a limit of jobs",
}
"""How names of limits begin: QOSMaxGRESPerUser, AssocGrpGRES, MaxJobsPerAccount."""


@dataclass(frozen=True)
class JobEvidence:
    """What is known of a run's job."""

    number: str
    """Slurm's; empty while it is handed in."""
    submitted: float
    seen: Seen | None
    """What Slurm said last; None where it did not name the job."""
    asked: float
    """When it was asked for that."""
    run: Evidence
    """What its folder says of the latest attempt that the job has made; no record where none."""
    now: float
    unknown_since: float | None = None
    clock: str = ""
    """The time of day of that."""
    error: str = ""


def decide(job: JobEvidence) -> Verdict:
    """Return the state of a run with a job that was not known to be over."""
    record = job.run.record
    if record is None:
        return _silent(job, _before_it_began(job))
    if record.get("ended") is None:
        return _silent(job, _at_work(job, started=float(record.get("started") or 0.0)))
    if record.get("requeue"):
        return _silent(job, _again(job, ended=float(record["ended"])))
    verdict = states.decide(job.run)
    if verdict.state not in ("stopped", "lost") or job.run.stop_requested:
        return verdict
    return _why_stopped(job, verdict, ended=float(record["ended"]))


def _before_it_began(job: JobEvidence) -> Verdict:
    if job.seen is None:
        if job.number and job.asked > job.submitted + SETTLE_S:
            return Verdict("lost", f"job {job.number} is gone from Slurm, and never began")
        return Verdict("queued", _told(job, "handed in to Slurm"))
    if job.seen.state in WAITING:
        return Verdict("queued", _told(job, why_pending(job.seen)))
    if job.seen.state in AT_WORK:
        return Verdict("running", f"starting on {job.seen.nodes}")
    if job.seen.state == "COMPLETED":
        return Verdict("lost", f"job {job.number} ended before its trainer began")
    return _over(job)


def _at_work(job: JobEvidence, *, started: float) -> Verdict:
    knows = job.asked > started + SETTLE_S
    if job.seen is None:
        if not knows:
            return Verdict("running", _remark(job))
        said = states.decide(_ended_unseen(job))
        if said.state in ("succeeded", "failed") or job.run.stop_requested:
            return said
        return Verdict("lost", f"job {job.number} is gone from Slurm, and left no word")
    if job.seen.state in WAITING and knows:
        return Verdict("queued", _told(job, f"started again by Slurm; {why_pending(job.seen)}"))
    if job.seen.state in WAITING or job.seen.state in AT_WORK:
        return Verdict("running", _remark(job))
    return _over(job)


def _again(job: JobEvidence, *, ended: float) -> Verdict:
    """Return the state of a run that saved at its time limit, and waits to go on."""
    told = "saved at its time limit, and goes on when it is started again"
    if job.seen is None:
        if job.asked > ended + SETTLE_S:
            return Verdict("lost", f"job {job.number} is gone from Slurm; it {told}")
        return Verdict("queued", _told(job, told))
    if job.seen.over and job.asked > ended + SETTLE_S:
        if job.seen.state in ("COMPLETED", "FAILED"):
            return Verdict("lost", "saved at its time limit, and Slurm did not start it again")
        return _over(job)
    if job.seen.state in WAITING and job.seen.reason not in ("", "BeginTime"):
        told = f"{told}: {why_pending(job.seen)}"
    return Verdict("queued", _told(job, told))


def _why_stopped(job: JobEvidence, verdict: Verdict, *, ended: float) -> Verdict:
    """Return why a run ended that was neither done nor broken, as Slurm tells it."""
    record = job.run.record or {}
    if refusal := record.get("requeue_refused"):
        return Verdict(
            "stopped", f"saved at its time limit; Slurm does not start it again: {refusal}"
        )
    if record.get("short_of_time") and record.get("starts_again") is False:
        return Verdict("stopped", f"ended at its time limit; {mending.NOT_BY_ITSELF}")
    if record.get("short_of_time"):
        return Verdict("stopped", "saved at its time limit; it may not start again more often")
    if job.seen is None or job.asked < ended + SETTLE_S or job.seen.state in AT_WORK:
        if job.now - ended < PATIENCE_S and not job.unknown_since:
            return Verdict("running", "ending")
        return verdict
    if job.seen.state in WAITING:
        return Verdict("queued", _told(job, f"started again by Slurm; {why_pending(job.seen)}"))
    return _over(job) if job.seen.state not in ("COMPLETED", "FAILED") else verdict


def _over(job: JobEvidence) -> Verdict:
    """Return what it means that a job is over by Slurm's account, in a state it tells."""
    assert job.seen is not None
    said = states.decide(_ended_unseen(job))
    if said.state in ("succeeded", "failed"):
        return said
    state, nodes = job.seen.state, job.seen.nodes or "its node"
    if job.run.stop_requested:
        return Verdict("stopped", "cancelled, because it did not end when asked to")
    if state == "CANCELLED":
        return Verdict("stopped", f"job {job.number} was cancelled in Slurm")
    if state == "TIMEOUT":
        return Verdict("lost", states.OUT_OF_TIME)
    if state == "NODE_FAIL":
        return Verdict("lost", f"{nodes} failed")
    if state == "BOOT_FAIL":
        return Verdict("lost", f"{nodes} did not start up")
    if state == "PREEMPTED":
        return Verdict("lost", "preempted by a job of higher priority")
    if state == "DEADLINE":
        return Verdict("lost", "it could not end before its deadline")
    if state == "OUT_OF_MEMORY":
        return Verdict(
            "failed", "out of memory: the job used more than Slurm granted; see `mem` in `[slurm]`"
        )
    if state == "COMPLETED" and job.run.record is not None:
        return Verdict("lost", "its job ended without a word")
    return Verdict("failed", job.run.last_line or f"job {job.number} ended as {state}")


def _ended_unseen(job: JobEvidence) -> Evidence:
    """Return the evidence where nothing of the run is alive any more, whoever wrote that down."""
    record = {**(job.run.record or {}), "ended": job.now, "signal": 9, "exit_code": None}
    return replace(job.run, record=record)


def _remark(job: JobEvidence) -> str:
    nodes = job.seen.nodes if job.seen else ""
    nodes = nodes or str((job.run.record or {}).get("slurm", {}).get("nodes", ""))
    parts = [f"on {nodes}"] if nodes else []
    if job.seen and job.seen.state == "SUSPENDED":
        parts.append("suspended by Slurm")
    alive = replace(job.run, runner_alive=True, trainer_alive=True, same_host=True, same_boot=True)
    parts += [states.decide(alive).reason]
    return ", ".join(part for part in parts if part)


def _told(job: JobEvidence, what: str) -> str:
    return f"{what} (job {job.number})" if job.number else what


def _silent(job: JobEvidence, verdict: Verdict) -> Verdict:
    """Add since when Slurm says nothing, to what is believed meanwhile."""
    if job.unknown_since is None or verdict.state not in ("queued", "running"):
        return verdict
    told = f"unknown since {job.clock}: {job.error}"
    return verdict._replace(reason=f"{verdict.reason}; {told}" if verdict.reason else told)


def why_pending(seen: Seen) -> str:
    """Return in words why Slurm lets a job wait."""
    reason = seen.reason.partition(",")[0].strip("()")
    if not reason:
        return "waits for its turn in Slurm"
    known = WHY_PENDING.get(reason)
    if known is None:
        limit = next((said for begins, said in _LIMITS.items() if reason.startswith(begins)), "")
        known = f"{limit} is reached ({reason})" if limit else reason
    return f"waits in Slurm: {known}"
