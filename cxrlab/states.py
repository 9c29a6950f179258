"""Which state is a run in that was started, and why? Decides from evidence; touches nothing.

The order of what counts: the trainer's own `end` event, the exit record, the process table. The
heartbeat counts only where the process table cannot be seen. Silence alone is never death.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any, NamedTuple

from cxrlab import text, torchrun

OUT_OF_MEMORY = "killed by the kernel: out of memory (host)"
"""How a reason begins when the machine, or the run's control group, had no memory left."""

STALLED = "stalled"
"""How the reason of a running run begins that has fallen silent for unusually long."""

PAUSED = "paused"
"""How the reason of a running run begins that waits for room on the disk."""

OUT_OF_TIME = "Slurm ended it at its time limit before it had saved"
ALONE = "its runner is gone"
FROZEN = "frozen by a signal (SIGSTOP)"
FOLDER_GONE = "its folder is gone"

QUIET_S = 120.0
"""After this long without a log line or an event, a run is said to be quiet."""

START_S = 10.0
"""How long a runner may take until its record is there."""

FAR_BEAT_S = 60.0
"""After this long without a heartbeat, a run on a host that cannot be seen is lost."""


class Verdict(NamedTuple):
    """A state and the reason that is shown with it."""

    state: str
    reason: str = ""


@dataclass(frozen=True)
class Evidence:
    """What is known of the latest attempt of a run that was started."""

    record: dict[str, Any] | None
    """What the runner wrote; None while it has written nothing."""
    runner_alive: bool = False
    trainer_alive: bool = False
    same_host: bool = True
    same_boot: bool = True
    since_start_s: float = 0.0
    beat_age_s: float | None = None
    quiet_s: float = 0.0
    """Since the last log line or event."""
    usual_s: float | None = None
    """Between two events of this run, so far; None where too few are known."""
    stall_s: float | None = None
    """After what silence it counts as stalled; None for never."""
    paused: str = ""
    """What the trainer waits for, by its own word."""
    frozen: bool = False
    ranks: torchrun.Told = torchrun.NOTHING
    outcome: str = ""
    """Of the attempt's `end` event, or "" where there is none."""
    end_reason: str = ""
    last_line: str = ""
    stop_requested: bool = False
    folder_there: bool = True


def decide(evidence: Evidence) -> Verdict:
    """Return the state that follows from the evidence, and a reason a person can act on."""
    record = evidence.record
    if record is None:
        return _without_record(evidence)
    if record.get("ended") is not None:
        return _ended(evidence, record)
    if not evidence.same_host:
        return _out_of_sight(evidence, str(record.get("host")))
    if not evidence.same_boot:
        return _by_event(evidence) or Verdict("lost", "the machine was restarted")
    if evidence.trainer_alive:
        return Verdict("running", _remark(evidence))
    if evidence.runner_alive:
        return Verdict("running", "starting" if record.get("trainer") is None else "ending")
    return _by_event(evidence) or _vanished(evidence)


def _vanished(evidence: Evidence) -> Verdict:
    if evidence.stop_requested:
        return Verdict("stopped", "gone without a word after it was asked to stop")
    return Verdict("lost", "its processes vanished without a word")


def _without_record(evidence: Evidence) -> Verdict:
    if not evidence.folder_there:
        return Verdict("lost", FOLDER_GONE)
    if evidence.runner_alive or evidence.since_start_s < START_S:
        return Verdict("running", "starting")
    return Verdict("lost", "it was never started: its runner left no record")


def _out_of_sight(evidence: Evidence, host: str) -> Verdict:
    if evidence.beat_age_s is not None and evidence.beat_age_s < FAR_BEAT_S:
        return Verdict("running", f"on {host}")
    return _by_event(evidence) or Verdict("lost", f"its runner on {host} has fallen silent")


def _by_event(evidence: Evidence) -> Verdict | None:
    """Return what the trainer itself said of its end, which outranks the exit status.

    Unless another rank failed first: then rank 0, which speaks, only saw that a peer was gone.
    """
    if evidence.outcome not in ("succeeded", "stopped", "failed"):
        return None
    reason = evidence.end_reason
    if evidence.outcome == "failed" and not reason:
        reason = evidence.last_line
    first = evidence.ranks.failure
    if first and evidence.outcome == "failed" and torchrun.explains(first, reason):
        return _by_rank(evidence, first)
    memory = _host_memory(evidence)
    if memory and evidence.outcome == "failed":
        reason = f"a process of it was {memory}: {reason}"
    return Verdict(evidence.outcome, reason)


def _ended(evidence: Evidence, record: dict[str, Any]) -> Verdict:
    said = _by_event(evidence)
    if said is not None:
        return said
    code, number = record.get("exit_code"), record.get("signal")
    if code == 0:
        return Verdict("succeeded")
    if code in (130, 143) or number in (signal.SIGTERM, signal.SIGINT):
        return Verdict("stopped")
    if number == signal.SIGKILL and evidence.stop_requested:
        return Verdict("stopped", "killed, because it did not end when asked to")
    memory = _host_memory(evidence)
    if number == signal.SIGKILL:
        return Verdict("lost", memory or "killed from outside with SIGKILL (kill -9)")
    if number is not None:
        return Verdict("failed", f"ended by {_signal_name(int(number))}")
    if evidence.ranks.meeting:
        return Verdict("failed", evidence.ranks.meeting)
    if evidence.ranks.failure and not evidence.stop_requested:
        return _by_rank(evidence, evidence.ranks.failure)
    said_last = evidence.last_line or f"exit status {code}, and nothing in its log"
    return Verdict("failed", f"a process of it was {memory}: {said_last}" if memory else said_last)


def _by_rank(evidence: Evidence, first: torchrun.Failure) -> Verdict:
    """Return what became of a run one of whose ranks failed, and with it all others."""
    words = torchrun.in_words(first)
    if first.exit != -signal.SIGKILL:
        return Verdict("failed", words)
    memory = _host_memory(evidence)
    return Verdict("lost", f"rank {first.rank} was {memory}" if memory else f"{words} (kill -9)")


def _host_memory(evidence: Evidence) -> str:
    """Return in words that the kernel killed for want of memory; empty where nothing says so."""
    seen = (evidence.record or {}).get("oom")
    if not isinstance(seen, dict):
        return ""
    limit = seen.get("limit")
    return f"{OUT_OF_MEMORY}, limited to {text.size(limit)}" if limit else OUT_OF_MEMORY


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _remark(evidence: Evidence) -> str:
    """Return what is worth saying about a run that goes on."""
    remarks = []
    first = evidence.ranks.failure
    if evidence.stop_requested:
        remarks.append("stopping")
    if first and not evidence.stop_requested:
        remarks.append(f"{torchrun.in_words(first)}; the others are being ended")
    if evidence.paused:
        remarks.append(f"{PAUSED}: {evidence.paused}")
    elif evidence.frozen:
        remarks.append(FROZEN)
    elif evidence.stall_s is not None and evidence.quiet_s >= evidence.stall_s:
        remarks.append(_stalled(evidence))
    elif evidence.quiet_s >= QUIET_S:
        remarks.append(f"quiet for {_minutes(evidence.quiet_s)}")
    if not evidence.runner_alive:
        remarks.append(ALONE)
    return ", ".join(remarks)


def _stalled(evidence: Evidence) -> str:
    usual = evidence.usual_s or 0.0
    every = text.duration(usual) if usual >= 10 else f"{usual:.2g} s"
    return f"{STALLED}: no event for {_minutes(evidence.quiet_s)}, usually every {every}"


def _minutes(seconds: float) -> str:
    """Write a silence by the minute, so that its text changes seldom."""
    minutes = int(seconds // 60)
    if not minutes:
        return f"{int(seconds // 10) * 10 or int(seconds)} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
