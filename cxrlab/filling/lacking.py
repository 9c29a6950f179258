"""Which runs does the grid still lack, which could go on, and which cannot be made here?

A seed counts as there where a run of the cell's newest recipe waits, runs or has succeeded, since
seeds of different recipes are never averaged. A run that was stopped, lost or failed and has left
a checkpoint goes on; any other is launched anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from cxrlab import launch
from cxrlab import plan as plans
from cxrlab.asked import Asked
from cxrlab.assets import copies, weights
from cxrlab.backends.job import LAST_CHECKPOINT
from cxrlab.filling import forecast
from cxrlab.filling.forecast import Job
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from store import runs, work
from store.db import Database
from trainers.catalog import METHODS, PRETRAIN, PRETRAIN_ENTRY, TASKS


class LeftOut(NamedTuple):
    """Cells that cannot be filled here, and why."""

    method: str
    task: str
    cells: int
    why: str


@dataclass
class Reader:
    """Looks things up in the registry, each once."""

    lab: Lab
    db: Database
    asked: Asked
    left_out: list[LeftOut] = field(default_factory=list)
    resumed: list[Job] = field(default_factory=list)
    needed: set[str] = field(default_factory=set)
    """Runs that others wait for."""
    _repeats: dict[tuple[str, str], list[work.Repeat]] = field(default_factory=dict)
    _spent: dict[str, list[work.Spent]] = field(default_factory=dict)
    _whole: dict[tuple[object, ...], forecast.Estimate | None] = field(default_factory=dict)
    _why: dict[tuple[str, str], str] = field(default_factory=dict)

    def lacking(self, wants: Sequence[plans.Want]) -> list[plans.Want]:
        """Return the wants that no run stands for; notes those that cannot be or that go on."""
        found, without = [], dict[tuple[str, str, str], int]()
        for want in wants:
            if self.there(want):
                continue
            if want.task != PRETRAIN and METHODS[want.method].pretrains:
                before = plans.Want(want.method, PRETRAIN, preset=want.preset)
                if not self.has_encoder(want.method):
                    self.goes_on(before)
            if self.goes_on(want):
                continue
            if why := self.why_not(want.method, want.task):
                key = (want.method, want.task, why)
                without[key] = without.get(key, 0) + 1
            else:
                found.append(want)
        self.left_out = [LeftOut(*key[:2], n, key[2]) for key, n in without.items()]
        return found

    def unblock(self, waiting: Sequence[runs.Run]) -> None:
        """Note that what others wait for in vain goes on, from its start where it must."""
        self.needed = {need for run in waiting for need in run.needs}
        for id in sorted(self.needed):
            run = runs.get(self.db, id)
            if run.state in forecast.GOES_ON and run.method in (self.asked.methods or METHODS):
                self._resume(run.method, run.task, run)

    def of_cell(self, method: str, task: str, ratio: int | None) -> list[work.Repeat]:
        """Return the runs of a cell, newest first, of the preset asked for or made elsewhere."""
        if (method, task) not in self._repeats:
            self._repeats[method, task] = work.repeats(self.db, method, task)
        presets = (self.asked.preset, FOREIGN)
        every = self._repeats[method, task]
        return [run for run in every if run.ratio == ratio and run.preset in presets]

    def there(self, want: plans.Want) -> bool:
        """Return whether a run of the cell's newest recipe stands for `want`."""
        every = self.of_cell(want.method, want.task, want.ratio)
        standing = [run for run in every if run.state in runs.THERE]
        if want.task == PRETRAIN and PRETRAIN not in self.asked.tasks:
            return self.has_encoder(want.method)  # a fine-tuning starts from any of them
        return any(r.seed == want.seed and r.recipe == standing[0].recipe for r in standing)

    def has_encoder(self, method: str) -> bool:
        """Return whether a pre-training has been finished, or is under way."""
        return any(run.state in runs.THERE for run in self.of_cell(method, PRETRAIN, None))

    def goes_on(self, want: plans.Want) -> bool:
        """Return whether a run goes on for `want`, and note it once."""
        run = self.stopped(want)
        if run is not None:
            self._resume(want.method, want.task, run)
        return run is not None

    def _resume(self, method: str, task: str, run: work.Repeat | runs.Run) -> None:
        if all(job.run_id != run.id for job in self.resumed):
            self.resumed.append(_going_on(method, task, run))

    def stopped(self, want: plans.Want) -> work.Repeat | None:
        """Return the newest run that could go on, if it is of the cell's newest recipe."""
        every = self.of_cell(want.method, want.task, want.ratio)
        recipes = {run.recipe for run in every if run.state in runs.THERE}
        for run in every:
            if run.seed == want.seed and run.state in forecast.GOES_ON and run.preset != FOREIGN:
                fits = not recipes or run.recipe in recipes
                last = Path(run.folder) / LAST_CHECKPOINT
                return run if run.id in self.needed or (fits and last.is_file()) else None
        return None

    def resumable(self) -> list[plans.Pretraining]:
        """Return the pre-trainings that go on, as what a fine-tuning may wait for."""
        return [
            plans.Pretraining(
                run.id,
                job.method,
                job.preset,
                "queued",
                str(Path(run.folder) / launch.ENCODER),
                run.recipe,
            )
            for job in self.resumed
            if job.task == PRETRAIN
            for run in self.of_cell(job.method, PRETRAIN, None)
            if run.id == job.run_id
        ]

    def why_not(self, method: str, task: str) -> str:
        """Return why a run cannot be made here; empty where it can."""
        if (method, task) not in self._why:
            self._why[method, task] = self._lacks(method, task)
        return self._why[method, task]

    def _lacks(self, method: str, task: str) -> str:
        name = (PRETRAIN_ENTRY if task == PRETRAIN else TASKS[task]).dataset
        known = self.lab.settings.data.get(name)
        copied = task == PRETRAIN and copies.find(self.lab, name) is not None
        if known is None:
            return f"`[data.{name}]` is not in {self.lab.settings_file.name}"
        if not known.root.is_dir() and not copied:
            return f"{known.root} is no folder; `{name}` should lie there"
        if METHODS[method].weights and weights.lacking(self.lab, [method]):
            return f"the published weights `{METHODS[method].weights}` are not in `pretrained/`"
        if task == PRETRAIN or not METHODS[method].pretrains:
            return ""
        if self.has_encoder(method):
            return ""
        if any(j.task == PRETRAIN and j.method == method for j in self.resumed):
            return ""
        why = self.why_not(method, PRETRAIN)
        return f"needs a pre-training: {why}" if why else ""

    def timed(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs with the time that is left of each, where that is known."""
        return [forecast.left(job, self.whole(job)) for job in jobs]

    def whole(self, job: Job) -> forecast.Estimate | None:
        """Return how long the whole of a job takes."""
        key = (job.method, job.task, job.ratio, job.preset, job.gpus, job.recipe)
        if key not in self._whole:
            if job.task not in self._spent:
                self._spent[job.task] = [
                    one for method in METHODS for one in work.spent(self.db, method, job.task)
                ]
            self._whole[key] = forecast.estimate(job, self._spent[job.task], like=self.asked.like)
        return self._whole[key]

    def filling(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs, those marked that give a cell without a number its first one."""
        taken: set[tuple[str, str, int | None]] = set()
        found = []
        for job in jobs:
            cell = (job.method, job.task, job.ratio)
            known = any(run.state == "succeeded" for run in self.of_cell(*cell))
            found.append(replace(job, fills=not known and cell not in taken))
            taken.add(cell)
        return found


def _going_on(method: str, task: str, run: work.Repeat | runs.Run) -> Job:
    return Job(
        method,
        task,
        run.ratio,
        run.seed,
        run.preset,
        gpus=run.gpus,
        state=run.state,
        reason=f"goes on from step {run.done or 0}",
        run_id=run.id,
        recipe=run.recipe,
        done=run.done,
        total=run.total,
    )
