"""Does the held-out loss of pre-training foretell what comes of it? Readings, lines and JSON.

A point is a checkpoint: what several seeds of a fine-tuning make of one is averaged first, since
they share its loss and are no further witnesses.
"""

from __future__ import annotations

import fnmatch
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from cxrlab import console, text
from cxrlab.chart import Chart, Panel, Series
from cxrlab.comparing import correlation
from cxrlab.comparing.correlation import Rho
from cxrlab.errors import unknown_name
from store import offspring
from store.db import Database
from store.offspring import Offspring
from trainers import catalog, metrics

Within = Literal["method", "recipe"]


class Checkpoint(NamedTuple):
    """An encoder, how far its loss had fallen, and what came of it."""

    run_id: str
    step: int | None
    """The update it was kept at, where that was on the way; None for the last."""
    method: str
    stratum: str
    """What its loss may be ranked within."""
    loss: float
    value: float
    """Mean over the fine-tunings that started from it."""
    runs: int


@dataclass(frozen=True)
class Reading:
    """One metric of one column against the loss, over all checkpoints and within each method."""

    task: str
    ratio: int | None
    metric: str
    preset: str
    points: tuple[Checkpoint, ...]
    left_out: int
    """Runs whose encoder is no longer the one whose loss is known."""

    @property
    def over_all(self) -> Rho:
        """The correlation within strata, pooled."""
        return correlation.spearman(list(self._strata().values()))

    @property
    def by_stratum(self) -> dict[str, Rho]:
        """The correlation of each stratum alone."""
        return {name: correlation.spearman([pairs]) for name, pairs in self._strata().items()}

    @property
    def heading(self) -> str:
        """What is correlated, in words."""
        ratio = f" {self.ratio} %" if self.ratio is not None else ""
        return f"{self.task} {self.metric}{ratio}" + (" (quick)" if self.preset == "quick" else "")

    @property
    def verdict(self) -> str:
        """What the pooled correlation says of a lower loss: `foretells`, `misleads`, `open`."""
        found, better = self.over_all, self.better
        if found.low is None or found.high is None or better == "neither":
            return found.why
        sign = -1 if better == "higher" else 1
        if sign * found.low > 0 and sign * found.high > 0:
            return "foretells"
        if sign * found.low < 0 and sign * found.high < 0:
            return "misleads"
        return "open"

    @property
    def better(self) -> str:
        """Which way the metric is better."""
        known = metrics.find(self.metric)
        return known.better if known else "higher"

    def _strata(self) -> dict[str, list[correlation.Pair]]:
        found: dict[str, list[correlation.Pair]] = {}
        for point in self.points:
            found.setdefault(point.stratum, []).append((point.loss, point.value))
        return found


def read(
    db: Database, *, tasks: Sequence[str], wanted: Sequence[str], within: Within
) -> list[Reading]:
    """Return a reading for each column and metric that finished runs have numbers of.

    Metrics of single classes, floors and counts are left out unless they are asked for by name.

    Raises:
        NotFound: no run has a metric of that name.
    """
    every = [one for task in tasks or catalog.TASKS for one in offspring.of_task(db, task)]
    known = dict.fromkeys(one.metric for one in every)
    for word in wanted:
        if known and not fnmatch.filter(known, word):
            raise unknown_name("metric", word, known)
    groups: dict[tuple[str, int | None, str, str], list[Offspring]] = {}
    for one in every:
        asked = any(fnmatch.fnmatchcase(one.metric, word) for word in wanted)
        if asked or (not wanted and _of_interest(one.metric)):
            groups.setdefault((one.task, one.ratio, one.metric, one.preset), []).append(one)
    main = {name: entry.metric for name, entry in catalog.TASKS.items()}
    ordered = sorted(
        groups, key=lambda key: (key[0], key[2] != main.get(key[0]), key[2], key[1] or 0, key[3])
    )
    return [_reading(key, groups[key], within=within) for key in ordered]


def _of_interest(metric: str) -> bool:
    known = metrics.find(metric)
    return "/" not in metric and known is not None and known.better != "neither"


def _reading(
    key: tuple[str, int | None, str, str], every: Sequence[Offspring], *, within: Within
) -> Reading:
    fitting = [one for one in every if _same_encoder(one) and one.loss is not None]
    origins: dict[tuple[str, int | None], list[Offspring]] = {}
    for one in fitting:  # newest first: of each checkpoint, the newest recipe counts
        before = origins.setdefault((one.origin, one.step), [])
        if not before or before[0].recipe == one.recipe:
            before.append(one)
    points = tuple(_checkpoint(repeats, within=within) for repeats in origins.values())
    return Reading(*key, points, left_out=len(every) - len(fitting))


def _same_encoder(one: Offspring) -> bool:
    return one.loaded is None or one.kept is None or one.loaded == one.kept


def _checkpoint(repeats: Sequence[Offspring], *, within: Within) -> Checkpoint:
    by_seed = {one.seed: one.value for one in reversed(repeats)}  # of a seed, the newest counts
    first = repeats[0]
    recipe = f"{first.method} {first.origin_recipe[:8]}"
    stratum = first.method if within == "method" else recipe
    value = statistics.fmean(by_seed.values())
    told = (first.origin, first.step, first.method, stratum, first.loss or 0.0)
    return Checkpoint(*told, value, len(by_seed))


def lines(readings: Sequence[Reading], *, columns: int) -> list[str]:
    """Return a table of all readings, each method below what is pooled."""
    rows: list[list[str]] = []
    for one in readings:
        pooled = one.over_all
        verdict = one.verdict.partition(":")[0]
        rows.append([one.heading, *_row(pooled, sum(p.runs for p in one.points)), verdict])
        strata = one.by_stratum
        if len(strata) > 1:
            rows += [
                [f"  {name}", *_row(rho, _runs(one, name)), rho.why.partition(":")[0]]
                for name, rho in strata.items()
            ]
    head = ("", "rho", "95 % interval", "n", "runs", "")
    out = console.table(head, rows, right=(1, 3, 4), gives_way=5, columns=columns)
    return [*out, "", *_notes(readings, columns=columns)]


def _runs(one: Reading, stratum: str) -> int:
    return sum(point.runs for point in one.points if point.stratum == stratum)


def _row(rho: Rho, runs: int) -> list[str]:
    def said(value: float | None) -> str:
        return text.NOTHING if value is None else f"{value:+.2f}"

    ends = f"[{said(rho.low)}, {said(rho.high)}]" if rho.low is not None else text.NOTHING
    return [said(rho.rho), ends, str(rho.n), str(runs)]


def _notes(readings: Sequence[Reading], *, columns: int) -> list[str]:
    told = [
        "held-out loss of the pre-training against the test value of what was fine-tuned from it; "
        "n: checkpoints, each the mean over its fine-tunings",
        "`foretells`: a lower loss goes with a better value, `misleads`: with a worse one, `open`: "
        "the interval includes 0",
        correlation.METHOD,
    ]
    if any(len({p.run_id for p in one.points}) < len(one.points) for one in readings):
        told.append(
            "checkpoints of one run, kept on its way, count one by one: they are more alike than "
            "those of several runs, and the intervals are narrower than they should be"
        )
    judged = sum(one.over_all.low is not None for one in readings)
    if judged > 1:
        told.append(
            f"of {judged} intervals one in twenty misses by chance; no correction is made for that"
        )
    left_out = sum(one.left_out for one in readings)
    if left_out:
        told.append(
            f"{text.plural(left_out, 'number')} left out: the loss is unknown, or the encoder has "
            "been replaced since"
        )
    return [line for note in told for line in console.wrapped(note, indent=0, columns=columns)]


def chart(readings: Iterable[Reading]) -> Chart:
    """Return the scatters, a panel for each reading and a mark for each method."""
    panels = []
    for one in readings:
        names = dict.fromkeys(point.stratum for point in one.points)
        series = tuple(
            Series(
                name,
                [[(p.loss, p.value) for p in sorted(one.points) if p.stratum == name]],
                marks="points",
            )
            for name in names
        )
        panels.append(Panel(_title(one), "val loss of the pre-training", one.metric, series))
    return Chart(tuple(panels))


def _title(one: Reading) -> str:
    rho = one.over_all
    found = "" if rho.rho is None else f": rho {rho.rho:+.2f}, n {rho.n}"
    return one.heading + found


def as_facts(one: Reading) -> dict[str, Any]:
    """Return a reading as JSON; losses in nats, values as the metric has them."""
    return {
        "task": one.task,
        "ratio": one.ratio,
        "metric": one.metric,
        "preset": one.preset,
        "better": one.better,
        **one.over_all._asdict(),
        "verdict": one.verdict,
        "computed": correlation.METHOD,
        "left_out": one.left_out,
        "within": {name: rho._asdict() for name, rho in one.by_stratum.items()},
        "checkpoints": [point._asdict() for point in one.points],
    }
