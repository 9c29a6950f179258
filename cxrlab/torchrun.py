"""What does torchrun's log say of the ranks of a run? Decides from text; touches nothing.

torchrun turns every exit status into 1, and rank 0 only sees that a peer is gone: which process
failed first, and how, stands in what torchrun prints at its end.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence
from typing import NamedTuple

PROGRAMS = ("torch.distributed.run", "torch.distributed.launch", "torchrun")

RENDEZVOUS = "rendezvous"
"""How a reason begins when the processes of a run did not find each other."""

_SUMMARY = "ChildFailedError"
_ENTRY = re.compile(r"^\[\d+\]:$", re.MULTILINE)
_RANK = re.compile(r"^\s+rank\s+: (\d+)", re.MULTILINE)
_EXIT = re.compile(r"^\s+exitcode\s+: (-?\d+)", re.MULTILINE)
_TRACE = re.compile(r"^\s+traceback : (.*?)(?:^\S|\Z)", re.MULTILINE | re.DOTALL)
_DYING = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")
_UNSAID = ("To enable traceback see", "Signal ")
_LOST_PEER = re.compile(
    r"closed by peer|reset by peer|Broken pipe|remote worker|DistBackendError|NCCL|gloo", re.I
)
_MEETING = (
    (
        re.compile(r"Timed out after (\d+) seconds waiting for clients\. (\d+)/(\d+) clients"),
        "timed out after {} s: {} of {} processes came",
    ),
    (
        re.compile(r"timed out after (\d+)\d{3}ms while trying to connect to \(([^,]+), (\d+)\)"),
        "timed out after {} s: nobody answers at {}:{}",
    ),
    (re.compile(r"EADDRINUSE"), "failed: its port is taken"),
    (re.compile(r"RendezvousTimeoutError"), "timed out: not all nodes came"),
    (re.compile(r"RendezvousConnectionError"), "failed: nobody answers at its address"),
)


class Failure(NamedTuple):
    """The process that failed first."""

    rank: int
    exit: int
    """Its exit status; negative for a signal."""
    said: str
    """The last line of its traceback, where it left one."""


class Told(NamedTuple):
    """What a log tells."""

    failure: Failure | None = None
    meeting: str = ""
    """Why the processes did not find each other."""


NOTHING = Told()


def is_used(command: Sequence[str]) -> bool:
    """Return whether a command starts several processes by torchrun."""
    return any(word in PROGRAMS or word.endswith("/torchrun") for word in command)


def read(log: str) -> Told:
    """Return what a log of one attempt tells of its ranks."""
    return Told(_root_cause(log) or _dying(log), _meeting(log))


def in_words(failure: Failure) -> str:
    """Return a failure as a reason."""
    if failure.exit == -signal.SIGTERM and failure.said:
        how = "failed"  # of itself; torchrun ended it on its way out
    elif failure.exit < 0:
        how = f"was ended by {_signal_name(-failure.exit)}"
    else:
        how = f"ended with exit status {failure.exit}"
    return f"rank {failure.rank} {how}" + (f": {failure.said}" if failure.said else "")


def explains(failure: Failure, reason: str) -> bool:
    """Return whether rank 0, which gave `reason`, only noticed that another rank was gone."""
    return failure.rank != 0 and bool(_LOST_PEER.search(reason))


def _root_cause(log: str) -> Failure | None:
    """Return the failure that the others followed from.

    torchrun orders them by whole seconds, and so may call one the first that only lost its peer.
    """
    _, found, summary = log.rpartition(_SUMMARY)
    if not found:
        return None
    entries = [entry for text in _ENTRY.split(summary)[1:] if (entry := _entry(text))]
    entries.reverse()  # what torchrun takes for the first stands last
    return min(entries, key=_follows, default=None)


def _entry(text: str) -> Failure | None:
    rank, status, trace = _RANK.search(text), _EXIT.search(text), _TRACE.search(text)
    if rank is None or status is None:
        return None
    lines = [line.strip() for line in trace[1].splitlines() if line.strip()] if trace else []
    said = lines[-1] if lines and not lines[-1].startswith(_UNSAID) else ""
    return Failure(int(rank[1]), int(status[1]), said)


def _follows(failure: Failure) -> int:
    """Return how much a failure looks like one that only follows from another."""
    ended = failure.exit == -signal.SIGTERM and not failure.said
    if ended or _LOST_PEER.search(failure.said):
        return 2
    return int(failure.exit == 1 and not failure.said)


def _dying(log: str) -> Failure | None:
    """Return the failure that torchrun has seen and not yet summed up; its local rank is told."""
    found = _DYING.search(log)
    return Failure(int(found[2]), int(found[1]), "") if found else None


def _meeting(log: str) -> str:
    for pattern, words in _MEETING:
        if found := pattern.search(log):
            return f"{RENDEZVOUS} {words.format(*found.groups())}"
    return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
