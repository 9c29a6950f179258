"""What does the grid still lack, and what would it take to fill it? Reads, and changes nothing.

`lacking` says what is missing, `plan` what that needs, `forecast` how long it takes and in which
order it is best done, `schedule` when it ends.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cxrlab import columns, launch
from cxrlab import gpus as gpu_readings
from cxrlab import plan as plans
from cxrlab.asked import Asked
from cxrlab.errors import Usage, unknown_name
from cxrlab.filling import forecast, schedule
from cxrlab.filling.forecast import Job
from cxrlab.filling.lacking import LeftOut, Reader
from cxrlab.grid import cells
from cxrlab.lab import Lab
from store import queue, runs
from store.db import Database
from trainers.catalog import METHODS, PRETRAIN, TASKS


@dataclass(frozen=True)
class Outlook:
    """Everything that is under way or lacking."""

    jobs: tuple[Job, ...]
    order: tuple[int, ...]
    spans: Mapping[int, schedule.Span]
    plan: plans.Plan
    """What has to be launched anew, in the order."""
    left_out: tuple[LeftOut, ...] = ()
    gpus: int = 0
    """How many GPUs the lab may use."""
    cpu_slots: int = 0
    each: int = 0
    """How many GPUs each new run takes."""

    @property
    def wall_s(self) -> float:
        """When the last run ends whose length is known, in seconds from now."""
        return max((span.end for span in self.spans.values()), default=0.0)

    @property
    def going_on(self) -> list[str]:
        """The ids of the runs that are resumed rather than launched anew, in the order."""
        ordered = (self.jobs[index] for index in self.order)
        return [job.run_id for job in ordered if job.state in forecast.GOES_ON]


def look(lab: Lab, db: Database, asked: Asked) -> Outlook:
    """Return what is under way, and what has to come to fill what was asked for.

    Raises:
        NotFound: a method or task is not called so.
        Usage: a combination that makes no sense.
    """
    gpus = usable_gpus(lab)
    each = asked.gpus
    if each is None:
        each = _usual(lab, asked.backend or lab.settings.launch.backend, gpus)
    reader = Reader(lab, db, asked)
    under_way = [*runs.select(db, states=("running",)), *queue.waiting(db)]
    reader.unblock(under_way)
    wants = reader.lacking(_wants(lab, db, asked))
    plan = plans.plan(wants, [*launch.pretrainings(db), *reader.resumable()])
    before = [*_coming(under_way, reader.resumed), *reader.resumed]
    jobs = reader.filling(reader.timed([*before, *_steps(plan, before, each)]))
    order = forecast.order(jobs)
    new = len(jobs) - len(plan.steps)
    return Outlook(
        jobs=tuple(jobs),
        order=tuple(order),
        spans=schedule.spans(
            jobs,
            order,
            gpus=gpus,
            cpu_slots=lab.settings.launch.cpu_slots,
            limits=lab.settings.launch.limits,
        ),
        plan=reordered(plan, [index - new for index in order if index >= new]),
        left_out=tuple(reader.left_out),
        gpus=gpus,
        cpu_slots=lab.settings.launch.cpu_slots,
        each=each,
    )


def _usual(lab: Lab, backend: str, usable: int) -> int:
    """Return how many GPUs each new run takes where nothing is said."""
    if backend == "local" and usable:
        return 1
    # where GPUs cannot be read now, runs ask for one rather than take the CPU
    return launch.default_gpus(lab, backend)


def reordered(plan: plans.Plan, order: Sequence[int]) -> plans.Plan:
    """Return the plan with its steps in another order, in which none comes before what it needs."""
    place = {index: number for number, index in enumerate(order)}
    moved = (plan.steps[index] for index in order)
    return plans.Plan(
        tuple(
            step if step.after is None else replace(step, after=place[step.after]) for step in moved
        )
    )


def usable_gpus(lab: Lab) -> int:
    """Return how many GPUs runs may hold at once; asks the driver."""
    reading = gpu_readings.read_gpus() if lab.settings.launch.gpus != 0 else None
    may_use, most = lab.settings.launch.may_use, lab.settings.launch.most_gpus
    there = [gpu for gpu in (reading.gpus if reading else ()) if not gpu.mig]
    usable = [gpu for gpu in there if may_use(gpu.index, gpu.uuid)]
    return len(usable) if most is None else min(len(usable), most)


def timed(
    lab: Lab, db: Database, plan: plans.Plan, *, preset: str, gpus: int
) -> tuple[list[Job], Mapping[int, schedule.Span]]:
    """Return the steps of a plan as jobs with the time each takes, and when each would run.

    As if nothing else ran or waited. A step whose like was never measured has no time and no span.

    Args:
        lab: where the runs will be.
        db: its registry, open.
        plan: what is to be queued.
        preset: of its runs.
        gpus: how many each of them takes.
    """
    jobs = Reader(lab, db, Asked(preset=preset, gpus=gpus)).timed(_steps(plan, [], gpus))
    spans = schedule.spans(
        jobs,
        range(len(jobs)),
        gpus=usable_gpus(lab) if gpus else 0,
        cpu_slots=lab.settings.launch.cpu_slots,
        limits=lab.settings.launch.limits,
    )
    return jobs, spans


def _wants(lab: Lab, db: Database, asked: Asked) -> list[plans.Want]:
    """Return every run that the part of the grid that was asked for consists of."""
    for method in asked.methods:
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
    grid = lab.settings.grid
    with_runs = {name for name in METHODS if runs.select(db, method=name, limit=1)}
    named = tuple(columns.methods_of(grid.methods, grid.groups))
    rows = asked.methods or list(cells.chosen_methods(named, with_runs))
    learners = [name for name in rows if METHODS[name].pretrains]
    wants: list[plans.Want] = []
    if not asked.tasks or PRETRAIN in asked.tasks:
        seeds = asked.seeds if asked.tasks else asked.seeds[:1]
        wants += plans.wanted(learners, [PRETRAIN], seeds=seeds, preset=asked.preset)
    for task, ratios in _shares(lab, asked).items():
        wants += plans.wanted(rows, [task], ratios=ratios, seeds=asked.seeds, preset=asked.preset)
    return wants


def _shares(lab: Lab, asked: Asked) -> dict[str, list[int]]:
    """Return the ratios of each task that is asked for, or that the grid shows."""
    known = (*TASKS, PRETRAIN)
    for task in asked.tasks:
        if task not in known:
            raise unknown_name("task", task, known)
    grid = lab.settings.grid
    if asked.tasks:
        every = {(t, r) for t in asked.tasks if t != PRETRAIN for r in TASKS[t].ratios}
    else:
        shown = columns.chosen(grid.columns, grid.groups).columns
        every = {(c.task, c.ratio) for c in shown if c.ratio is not None}
    there = sorted({ratio for _, ratio in every})
    for ratio in asked.ratios:
        if ratio not in there:
            raise Usage(f"no column has the ratio {ratio}", f"there are {_listed(there)}")
    chosen = {
        task: [r for r in entry.ratios if (task, r) in every and r in (asked.ratios or there)]
        for task, entry in TASKS.items()
    }
    return {task: ratios for task, ratios in chosen.items() if ratios}


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "none"


def _coming(found: Sequence[runs.Run], resumed: Sequence[Job]) -> list[Job]:
    """Return what runs, then what waits in the order of the queue, as jobs before those resumed."""
    ids = [*(run.id for run in found), *(job.run_id for job in resumed)]
    place = {id: index for index, id in enumerate(ids)}
    return [
        Job(
            run.method,
            run.task,
            run.ratio,
            run.seed,
            run.preset,
            gpus=run.gpus,
            state=run.state,
            reason=run.reason,
            run_id=run.id,
            recipe=run.recipe,
            done=run.done,
            total=run.total,
            after=next((place[need] for need in run.needs if need in place), None),
            seconds=_eta(run),
            stuck=_stuck(run, place),
        )
        for run in found
    ]


def _stuck(run: runs.Run, place: Mapping[str, int]) -> str:
    """Return why a run will not start by itself: it is held, or waits for what has ended badly."""
    if run.held is not None and run.state in runs.WAITING:
        return "held"
    in_vain = run.state == "blocked" and not any(need in place for need in run.needs)
    return f"waits in vain for {', '.join(run.needs)}" if in_vain else ""


def _eta(run: runs.Run) -> float | None:
    """Return what a running trainer said is left, less what has passed since."""
    if run.state != "running" or run.eta_s is None or run.last_event is None:
        return None
    return max(0.0, run.eta_s - max(0.0, time.time() - run.last_event))


def _steps(plan: plans.Plan, before: Sequence[Job], gpus: int) -> list[Job]:
    """Return the steps of a plan as jobs that stand after those `before`."""
    place = {job.run_id: index for index, job in enumerate(before)}
    found = []
    for step in plan.steps:
        after = len(before) + step.after if step.after is not None else None
        if step.encoder is not None:
            after = place.get(step.encoder.run_id)
        found.append(
            Job(
                step.method,
                step.task,
                step.ratio,
                step.seed,
                step.preset,
                gpus=gpus,
                reason=step.why,
                after=after,
            )
        )
    return found
