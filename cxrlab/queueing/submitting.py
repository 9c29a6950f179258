"""How do runs get into Slurm's queue, and out of it again?

The agent's part of `--backend slurm`. Runs of a cell that differ in their seed go in together, as
an array. What is handed in is noted first, under a token that becomes the job's name: where the
answer does not come, or the agent is killed over it, the queue tells whether the job is there.
Nothing here waits for Slurm: whatever takes longer is looked at in the next pass.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab.backends import job, sbatch, slurm, squeue
from cxrlab.backends.calls import Answer, Call
from cxrlab.lab import Lab
from cxrlab.queueing import calling_off, disk
from store import jobs, runs
from store.db import Database

logger = logging.getLogger("cxrlab.agent")

LIMITS = "`[launch.limits]`"
SBATCH_S = 60.0
CANCEL_S = 30.0
WAIT_S = 0.5
"""How long a pass waits for sbatch, which mostly answers at once."""

AGAIN_S = 30.0
"""How long nothing is asked of Slurm after Slurm could not be reached."""

LOST_S = 10.0
"""By how much an answer of squeue must be younger than a handing-in to know that it failed."""

REFUSALS = (
    "invalid", "not available", "not permitted", "unrecognized option", "requested node config",
    "exceeds", "cannot be satisfied", "more processors", "too many", "access/permission denied",
    "not allowed", "unable to open", "batch script",
)  # fmt: skip
"""What sbatch says when another try would end alike; anything else is taken for a moment's."""


class _Handing(NamedTuple):
    """Runs on their way into Slurm's queue."""

    token: str
    ids: list[str]
    call: Call


class Desk:
    """What the agent has to do with Slurm, from pass to pass."""

    def __init__(self) -> None:
        self.question: squeue.Question | None = None
        self.handing: _Handing | None = None
        self.not_before = 0.0
        self.cancelling: dict[str, Call] = {}
        """Jobs that are told to end, by their numbers."""
        self.cancelled: set[str] = set()
        """Jobs that were told to end, lest they are told twice a second."""

    def work(
        self, lab: Lab, db: Database, queued: Sequence[runs.Run], room: dict[str, int]
    ) -> None:
        """Do once what there is to do.

        Args:
            lab: the lab.
            db: its registry, open.
            queued: the runs of Slurm that wait and may start, in their order; some are handed in.
            room: how many more runs of each task that has a limit may run.
        """
        open_jobs = jobs.open_jobs(db)
        if open_jobs or self.question:
            self.ask(lab, open_jobs)
        for each in open_jobs:
            self.look_after(lab, db, each)
        if self.handing:
            self.take_answer(db, wait_s=0.0)
        waiting = [run for run in queued if run.job is None]
        while waiting and self.handing is None and time.time() >= self.not_before:
            together = self.next_ones(lab, db, waiting, room, taken=len(open_jobs))
            if not together:
                break
            self.hand_in(lab, db, together)
            self.take_answer(db, wait_s=WAIT_S)
            gone = {run.id for run in together}
            waiting = [run for run in waiting if run.id not in gone]
            open_jobs = jobs.open_jobs(db)

    def ask(self, lab: Lab, open_jobs: Sequence[jobs.Job]) -> None:
        """Keep what Slurm says of the jobs from growing old."""
        if self.question is None and time.time() - squeue.known(lab).tried > squeue.POLL_S:
            numbers = [each.job for each in open_jobs if each.job]
            self.question = squeue.Question.put(lab, numbers, limit_s=squeue.AGENT_LIMIT_S)
        if self.question and self.question.over():
            self.question = None

    def look_after(self, lab: Lab, db: Database, each: jobs.Job) -> None:
        """Find a job whose number is not known, and end what nobody wants any more."""
        run = runs.get(db, each.run)
        if not each.job:
            self.find(lab, db, each, run)
        elif run.state == "queued" and run.held is not None:
            if self.cancel(each):
                calling_off.void(run, each)
                jobs.close(db, run.id, time.time())
        elif run.state not in ("queued", "running"):
            if self.cancel(each):
                jobs.close(db, run.id, time.time())
        elif _overdue(run, lab.settings.launch.stop_grace_s):
            self.cancel(each)

    def cancel(self, each: jobs.Job) -> bool:
        """Have a job end, without waiting; returns whether Slurm has taken note of it."""
        if each.job in self.cancelled:
            return True
        call = self.cancelling.get(each.job)
        if call is None:
            if time.time() < self.not_before:
                return False
            call = self.cancelling[each.job] = Call(slurm.scancel(each.job), limit_s=CANCEL_S)
        answer = call.answer()
        if answer is None:
            return False
        del self.cancelling[each.job]
        if answer.good or slurm.is_over(answer.error):
            self.cancelled.add(each.job)
            return True
        logger.error("job %s of %s not cancelled: %s", each.job, each.run, slurm.said(answer.error))
        self.not_before = time.time() + AGAIN_S
        return False

    def find(self, lab: Lab, db: Database, each: jobs.Job, run: runs.Run) -> None:
        """Look in Slurm's queue for a job of which no answer came."""
        if self.handing and self.handing.token == each.token:
            return
        known = squeue.known(lab)
        there = known.by_name(each.token)
        order = job.read_order(Path(run.folder))
        wanted = order.get("index") if order.get("token") == each.token else None
        for number in there:
            index = int(number.split("_")[1]) if "_" in number else None
            if index == wanted:
                settle(db, run, each.token, number)
                return
        if known.asked > each.submitted + SBATCH_S + LOST_S:
            jobs.close(db, run.id, time.time())

    def next_ones(
        self,
        lab: Lab,
        db: Database,
        waiting: Sequence[runs.Run],
        room: dict[str, int],
        *,
        taken: int,
    ) -> list[runs.Run]:
        """Return the next runs to hand in together; tell the others why they are not."""
        most = lab.settings.slurm.max_jobs
        space = disk.Disk(db)
        together: list[runs.Run] = []
        for run in waiting:
            reason = ""
            if room.get(run.task, 1) < 1:
                reason = f"waits for another {run.task} run to end: {LIMITS}"
            elif most and taken + len(together) >= most:
                reason = f"waits until fewer than {most} jobs are in Slurm: `max_jobs` in `[slurm]`"
            else:
                reason = space.why_not(run)
            if reason:
                explain(db, run, reason)
            elif not together or sbatch.alike(run) == sbatch.alike(together[0]):
                together.append(run)
                if run.task in room:
                    room[run.task] -= 1
        return together

    def hand_in(self, lab: Lab, db: Database, together: Sequence[runs.Run]) -> None:
        """Note what is handed in, write it down in the run folders, and start sbatch."""
        token = sbatch.token(together[0].id)
        noted = {each.run: each for each in jobs.begin(
            db, [run.id for run in together], token, time.time()
        )}  # fmt: skip
        chosen = [run for run in together if run.id in noted]
        if not chosen:
            return
        text = sbatch.script(lab.root, lab.settings.slurm, chosen, token)
        for index, run in enumerate(chosen):
            folder = Path(run.folder)
            (folder / sbatch.SCRIPT_NAME).write_text(text, encoding="utf-8")
            job.write_order(
                folder,
                {
                    "token": token,
                    "attempt": noted[run.id].attempt,
                    "index": index if len(chosen) > 1 else None,
                    "command": run.command,
                    "nodes": run.nodes,
                    "max_requeues": lab.settings.slurm.max_requeues,
                    "submitted": noted[run.id].submitted,
                    "job": "",
                },
            )
        call = Call(slurm.sbatch(Path(chosen[0].folder) / sbatch.SCRIPT_NAME), limit_s=SBATCH_S)
        self.handing = _Handing(token, [run.id for run in chosen], call)

    def take_answer(self, db: Database, *, wait_s: float) -> None:
        """See what came of a handing-in, if anything did yet."""
        if self.handing is None or (answer := self.handing.call.answer(wait_s=wait_s)) is None:
            return
        token, ids, _ = self.handing
        self.handing = None
        number = slurm.number_of(answer.out) if answer.good else ""
        for index, id in enumerate(ids):
            run = runs.get(db, id)
            if number:
                settle(db, run, token, f"{number}_{index}" if len(ids) > 1 else number)
            else:
                self.failed(db, run, answer)
        if number:
            logger.info("%s handed in to Slurm as job %s", ", ".join(ids), number)
        else:
            logger.error("%s not handed in: %s", ", ".join(ids), answer.error.strip())

    def failed(self, db: Database, run: runs.Run, answer: Answer) -> None:
        """Say why a run is not handed in: for good, or for the moment."""
        problem = slurm.said(answer.error) or "sbatch failed"
        if not answer.late and any(word in problem.lower() for word in REFUSALS):
            jobs.close(db, run.id, time.time())
            reason = f"Slurm refused it: {problem}"
            runs.change_state(db, run.id, "failed", reason=reason, expect=("queued",))
            return
        self.not_before = time.time() + AGAIN_S
        clock = time.strftime("%H:%M")
        explain(db, run, f"could not be handed in to Slurm at {clock}: {problem}")
        if not answer.late and "timed out" not in problem.lower():  # it is certainly not there
            jobs.close(db, run.id, time.time())


def settle(db: Database, run: runs.Run, token: str, number: str) -> None:
    """Note the number of a run's job, in the registry and in its folder."""
    jobs.note(db, run.id, token, number)
    folder = Path(run.folder)
    order = job.read_order(folder)
    if order.get("token") == token:
        job.write_order(folder, {**order, "job": number})


def _overdue(run: runs.Run, grace_s: float) -> bool:
    return run.stop_requested is not None and time.time() - run.stop_requested > grace_s


def explain(db: Database, run: runs.Run, reason: str) -> None:
    """Say why a run has to wait."""
    if run.reason != reason:
        runs.change_state(db, run.id, "queued", reason=reason, expect=("queued",))
