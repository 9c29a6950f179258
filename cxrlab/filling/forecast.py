"""How long will it take to fill the grid, and in which order do most cells fill soonest?

Functions from values to values. A time is measured or unknown, never guessed: what was measured of
finished runs in the same cell, else of the same method and task at another share of the labels.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from store.work import Spent

RULE = (
    "most cells per hour first, a pre-training together with those that start from it; "
    "a further seed fills no cell and comes after, the shortest first; what is of unknown length "
    "comes last"
)
"""By what the order is made, in words."""

UNDER_WAY = ("running", "queued", "blocked")
GOES_ON = ("stopped", "lost", "failed")
"""States of runs that are resumed rather than launched anew, where they left a checkpoint."""


class Estimate(NamedTuple):
    """How long a run takes, and what says so."""

    seconds: float
    basis: str
    runs: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A run that the grid lacks, or one that is under way."""

    method: str
    task: str
    ratio: int | None
    seed: int
    preset: str
    gpus: int = 0
    state: str = "planned"
    reason: str = ""
    run_id: str = ""
    recipe: str = ""
    done: int | None = None
    total: int | None = None
    after: int | None = None
    """The index, among the jobs, of the one it starts from."""
    fills: bool = True
    """Whether a cell without a number gets its first one."""
    seconds: float | None = None
    """What is left of it; None where nothing has been measured."""
    basis: str = ""
    basis_runs: tuple[str, ...] = ()
    stuck: str = ""
    """Why it will not start by itself; empty where it will."""

    @property
    def gpu_seconds(self) -> float | None:
        """GPU time left, over all its GPUs."""
        return None if self.seconds is None else self.seconds * self.gpus


@dataclass(frozen=True)
class Total:
    """Sums over jobs; those of unknown length are counted apart."""

    runs: int
    unknown: int
    seconds: float
    gpu_seconds: float
    cells: int
    """Cells without a number that get one."""


def estimate(job: Job, measured: Sequence[Spent], *, like: str = "") -> Estimate | None:
    """Return how long the whole of `job` takes; None where nothing like it was measured.

    Args:
        job: its cell, preset and number of GPUs count, and its recipe where that is known.
        measured: what runs took, newest first.
        like: the method whose times stand for those of a method without any, by a person's word.
    """
    known = [one for one in measured if (one.preset, one.gpus) == (job.preset, job.gpus)]
    for method in filter(None, (job.method, like)):
        of_task = [one for one in known if (one.method, one.task) == (method, job.task)]
        same = [one for one in of_task if one.ratio == job.ratio]
        same = [one for one in same if one.recipe == job.recipe] or same
        found = _of_repeats(same) or _of_steps(job, of_task, known)
        if found and method == job.method:
            return found
        if found:
            return found._replace(basis=f"assumed to be like {method}: {found.basis}")
    return None


def _of_repeats(same: Sequence[Spent]) -> Estimate | None:
    """Return the median length of finished repeats, else what unfinished ones let expect."""
    finished = [one for one in same if one.state == "succeeded"]
    chosen = finished or same
    if not chosen:
        return None
    chosen = [one for one in chosen if one.recipe == chosen[0].recipe]
    seconds = statistics.median(one.seconds / one.steps * one.total for one in chosen)
    names = tuple(one.id for one in chosen)
    what = "the recipe" if finished else "the recipe, not finished yet"
    return Estimate(seconds, f"measured in {_named(names)}, of {what}", names)


def _of_steps(job: Job, of_task: Sequence[Spent], known: Sequence[Spent]) -> Estimate | None:
    """Return the time of a step at another share of the labels times the steps of this one.

    How many steps a share takes does not depend on the encoder, so any method tells.
    """
    finished = [one for one in of_task if one.state == "succeeded"] or list(of_task)
    counted = [one for one in known if (one.task, one.ratio) == (job.task, job.ratio)]
    if not finished or not counted:
        return None
    rate = statistics.median(one.seconds / one.steps for one in finished)
    names = tuple(one.id for one in finished)
    basis = (
        f"time of a step from {_named(names)} ({_ratios(finished)}), "
        f"number of steps from {counted[0].id} ({counted[0].method})"
    )
    return Estimate(rate * counted[0].total, basis, (*names, counted[0].id))


def _named(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _ratios(runs: Iterable[Spent]) -> str:
    return ", ".join(f"{ratio} %" for ratio in dict.fromkeys(run.ratio for run in runs))


def left(job: Job, whole: Estimate | None) -> Job:
    """Return `job` with the time that is left of it, where that is known.

    Args:
        job: may have steps done; what its own trainer says is left stays as it is.
        whole: how long all of it takes.
    """
    if job.seconds is not None:
        return replace(job, basis="by its own step times")
    if whole is None:
        return job
    share = 1 - job.done / job.total if job.done and job.total else 1.0
    seconds = whole.seconds * max(0.0, share)
    return replace(job, seconds=seconds, basis=whole.basis, basis_runs=whole.runs)


def total(jobs: Iterable[Job]) -> Total:
    """Return the sums over `jobs`."""
    every = list(jobs)
    known = [job for job in every if job.seconds is not None]
    return Total(
        runs=len(every),
        unknown=len(every) - len(known),
        seconds=sum(job.seconds or 0.0 for job in known),
        gpu_seconds=sum(job.gpu_seconds or 0.0 for job in known),
        cells=sum(job.fills for job in every),
    )


class _Bundle(NamedTuple):
    """Jobs that are best done one after the other, with nothing between them."""

    cells: int
    seconds: float
    jobs: tuple[int, ...]

    @property
    def density(self) -> float:
        """Cells per second."""
        if not self.cells:
            return 0.0
        return self.cells / self.seconds if self.seconds else float("inf")

    def joined(self, other: _Bundle) -> _Bundle:
        return _Bundle(
            self.cells + other.cells, self.seconds + other.seconds, self.jobs + other.jobs
        )


def order(jobs: Sequence[Job]) -> list[int]:
    """Return the indexes of `jobs` in the order that fills most cells soonest.

    What is under way keeps its place in front. The rest is ordered as Horn (1972) does for one
    machine: a job takes along those after it for as long as they raise its cells per hour, and the
    densest such bundle comes first. What is of unknown length, or starts from such, comes last.

    Args:
        jobs: each stands after the one it starts from; of two alike, the first given comes first.
    """
    first = [i for i, job in enumerate(jobs) if job.state in UNDER_WAY]
    known, unknown = [], []
    hidden: set[int] = set()
    for i, job in enumerate(jobs):
        if job.state in UNDER_WAY:
            continue
        if job.seconds is None or job.after in hidden:
            hidden.add(i)
            unknown.append(i)
        else:
            known.append(i)
    later: dict[int | None, list[int]] = {}
    planned = set(known)
    for i in known:
        after = jobs[i].after
        later.setdefault(after if after in planned else None, []).append(i)
    return [*first, *(i for bundle in _merged(jobs, later, None) for i in bundle.jobs), *unknown]


def _merged(
    jobs: Sequence[Job], later: Mapping[int | None, list[int]], start: int | None
) -> list[_Bundle]:
    """Return the bundles of all that starts from `start`, densest first."""
    shortest = sorted(later.get(start, ()), key=lambda i: jobs[i].seconds or 0.0)
    found = [bundle for i in shortest for bundle in _bundles(jobs, later, i)]
    # stable, so that what is equally dense never comes before what it starts from
    return sorted(found, key=lambda bundle: -bundle.density)


def _bundles(
    jobs: Sequence[Job], later: Mapping[int | None, list[int]], index: int
) -> list[_Bundle]:
    """Return job `index` and all that starts from it, as bundles, densest first."""
    rest = _merged(jobs, later, index)
    own = _Bundle(int(jobs[index].fills), jobs[index].seconds or 0.0, (index,))
    while rest and rest[0].density > own.density:
        own = own.joined(rest.pop(0))
    return [own, *rest]
