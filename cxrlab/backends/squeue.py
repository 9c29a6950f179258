"""What did Slurm last say of this lab's jobs, and since when does it say nothing?

One squeue asks for all of them, every few seconds at most, whoever looks; the answer is kept in
`.cxrlab/squeue.json`. Who asks holds a lock, so that nobody asks twice, and nobody but the asker
ever waits. What the queue has forgotten is looked up by sacct, where there are accounts.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import IO

from cxrlab.backends import slurm
from cxrlab.backends.calls import Call
from cxrlab.backends.slurm import Seen
from cxrlab.lab import Lab

POLL_S = 3.0
"""How old an answer may get before Slurm is asked again."""

AGENT_LIMIT_S = 30.0
COMMAND_LIMIT_S = 5.0
"""How long an answer may take: the agent does something else meanwhile, a command waits."""

AGAIN_S = 15.0
"""After how long a command asks again that got no answer."""


@dataclass(frozen=True)
class Known:
    """What Slurm last said."""

    jobs: Mapping[str, Seen] = field(default_factory=dict)
    asked: float = 0.0
    """When the question was put that was answered last; what happened later is not in it."""
    tried: float = 0.0
    """When it was last asked, answered or not."""
    unknown_since: float | None = None
    error: str = ""

    def by_name(self, name: str) -> dict[str, Seen]:
        """Return the jobs of a name, by their numbers."""
        return {number: seen for number, seen in self.jobs.items() if seen.name == name}


def known(lab: Lab) -> Known:
    """Return what Slurm last said; asks nobody."""
    try:
        kept = json.loads(_path(lab).read_text(encoding="utf-8"))
        jobs = {number: Seen(*seen) for number, seen in kept.pop("jobs").items()}
        return Known(jobs=jobs, **kept)
    except (OSError, ValueError, TypeError, KeyError):
        return Known()


def look(lab: Lab, numbers: Sequence[str]) -> Known:
    """Return what Slurm says, asked anew where the last answer has become old and nobody asks.

    Waits for it `COMMAND_LIMIT_S` at most.
    """
    now = known(lab)
    old = time.time() - now.tried > (AGAIN_S if now.unknown_since else POLL_S)
    if old and (question := Question.put(lab, numbers, limit_s=COMMAND_LIMIT_S)):
        while not question.over(wait_s=0.1):
            pass
        return known(lab)
    return now


class Question:
    """A question to Slurm under way; whoever put it comes back to see whether it is `over`."""

    def __init__(self, lab: Lab, numbers: Sequence[str], lock: IO[str], *, limit_s: float) -> None:
        self.lab, self.numbers, self.lock, self.limit_s = lab, list(numbers), lock, limit_s
        self.asked = time.time()
        self.jobs: dict[str, Seen] | None = None
        self.call = Call(slurm.squeue(), limit_s=limit_s)

    @classmethod
    def put(cls, lab: Lab, numbers: Sequence[str], *, limit_s: float) -> Question | None:
        """Ask, unless somebody does already."""
        lock = _path(lab).with_suffix(".lock").open("a", encoding="utf-8")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return None
        return cls(lab, numbers, lock, limit_s=limit_s)

    def over(self, *, wait_s: float = 0.0) -> bool:
        """Return whether an answer, or that there is none, has been kept."""
        answer = self.call.answer(wait_s=wait_s)
        if answer is None:
            return False
        if self.jobs is None:
            if not answer.good:
                self._keep_silence(slurm.said(answer.error) or "squeue failed")
                return True
            self.jobs = slurm.read_squeue(answer.out)
            gone = [number for number in self.numbers if number not in self.jobs]
            if gone and not self._known_as_over(gone):
                self.call = Call(slurm.sacct(gone), limit_s=self.limit_s)
                return False
        elif answer.good:  # without accounts, the run folder alone tells
            self.jobs = slurm.read_sacct(answer.out) | self.jobs
        self._keep(Known(self.jobs, self.asked, self.asked))
        return True

    def drop(self) -> None:
        """Give it up."""
        self.call.end()
        self.lock.close()

    def _known_as_over(self, gone: Sequence[str]) -> bool:
        """Take what was known of jobs that are over: it does not change."""
        assert self.jobs is not None
        before = known(self.lab).jobs
        self.jobs |= {n: before[n] for n in gone if n in before and before[n].over}
        return all(number in self.jobs for number in gone)

    def _keep_silence(self, error: str) -> None:
        before = known(self.lab)
        since = before.unknown_since or self.asked
        self._keep(replace(before, tried=time.time(), unknown_since=since, error=error))

    def _keep(self, now: Known) -> None:
        path = _path(self.lab)
        temporary = path.with_suffix(".new")
        temporary.write_text(json.dumps(asdict(now)), encoding="utf-8")
        temporary.replace(path)
        self.lock.close()


def _path(lab: Lab) -> Path:
    return lab.registry.with_name("squeue.json")
