"""The curves of runs as a chart: which metrics, over steps, epochs or time, smoothed or not."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cxrlab import text, use_words
from cxrlab.chart import Chart, Panel, Series, smooth
from cxrlab.errors import NotFound, Usage, unknown_name
from store import points, runs, within
from store.db import Database
from store.intake import FILE_NAME
from store.runs import Run
from trainers import catalog

Axis = Literal["step", "epoch", "time"]
LABELS: dict[Axis, str] = {"step": "step", "epoch": "epoch", "time": "hours of training"}
USUAL = ("train/loss", "val/loss")
SEVERAL_RUNS = ("val/loss", "train/loss")
MOST = 2000
"""Points of a curve, which are more than a picture can show."""


@dataclass(frozen=True)
class Curve:
    """One metric of one run, ready to be drawn."""

    run: Run
    metric: str
    pieces: list[list[tuple[float, float]]]


def named(db: Database, words: Sequence[str], *, task: str | None) -> list[Run]:
    """Return the runs that words name: by id, or by a method the newest that has curves.

    Raises:
        NotFound: there is no such run, or the method has none with curves.
        Usage: a baseline was named without a task.
    """
    found = []
    for word in words:
        if word not in catalog.METHODS:
            found.append(runs.find(db, word))
            continue
        if task is None and not catalog.METHODS[word].pretrains:
            raise Usage(f"`{word}` is not pre-trained", "name a task: `--task siim`")
        chosen = task or catalog.PRETRAIN
        every = runs.select(db, method=word, task=chosen)
        newest = next((run for run in every if points.metric_names(db, run.id)), None)
        if newest is None:
            raise NotFound(f"no {chosen} run of `{word}` has logged anything", "`cxrlab runs`")
        found.append(newest)
    return list({run.id: run for run in found}.values())


def metrics_of(db: Database, found: Sequence[Run], asked: Sequence[str]) -> list[str]:
    """Return the metrics to draw: those asked for, by name or as `val/*`.

    Else the losses, and of a single fine-tuning what it is judged by.

    Raises:
        NotFound: none of the runs has a metric of that name; the nearest is told.
    """
    known = list(dict.fromkeys(name for run in found for name in points.metric_names(db, run.id)))
    if not known:
        raise NotFound("nothing has been logged yet", f"`cxrlab logs {found[0].id}`")
    if not asked:
        first = sorted(known, key=points.is_use)[:1]
        if len(found) == 1:
            judged = catalog.TASKS.get(found[0].task)
            usual = (*USUAL, f"val/{judged.metric}") if judged else USUAL
            return [name for name in usual if name in known] or first
        return [next((name for name in SEVERAL_RUNS if name in known), *first)]
    chosen: dict[str, None] = {}
    for word in asked:
        fitting = fnmatch.filter(known, word)
        if not fitting:
            raise unknown_name("metric", word, known)
        chosen |= dict.fromkeys(fitting)
    return list(chosen)


def curves(
    db: Database, found: Sequence[Run], metrics: Sequence[str], *, axis: Axis, weight: float
) -> list[Curve]:
    """Return a curve for each metric and run that has it; metric by metric.

    Raises:
        Usage: a run does not say which epoch its steps are in.
        NotFound: the folder that holds a run's times is gone.
    """
    out = []
    for run in found:
        by_step = _places(run, axis) if not all(map(points.is_use, metrics)) else float
        for metric in metrics:
            place = _hours if points.is_use(metric) else by_step
            raw = points.pieces(db, run.id, metric, most=None if weight else MOST)
            moved = [[(place(step), value) for step, value in piece] for piece in raw]
            smoothed = smooth(moved, weight) if weight else moved
            if any(smoothed):
                out.append(Curve(run, metric, _thinned(smoothed)))
    return sorted(out, key=lambda one: metrics.index(one.metric))


def _thinned(pieces: list[list[tuple[float, float]]]) -> list[list[tuple[float, float]]]:
    total = sum(map(len, pieces))
    if total <= MOST:
        return pieces
    return [_thin(piece, max(4, MOST * len(piece) // total)) for piece in pieces]


def _thin(piece: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    kept = points.thin([(number, value) for number, (_, value) in enumerate(piece)], most)
    return [piece[number] for number, _ in kept]


def _places(run: Run, axis: Axis) -> Any:
    """Return what gives a step its place on the axis."""
    if axis == "step":
        return float
    if axis == "epoch":
        if not run.step or not run.epoch:
            raise Usage(f"{run.id} does not say in which epoch its steps are", "`--x step`")
        rate = run.epoch / run.step
        return lambda step: step * rate
    hours = trained_hours(Path(run.folder) / FILE_NAME)
    return lambda step: hours.get(step, 0.0)


def _hours(second: float) -> float:
    return second / 3600


def trained_hours(path: Path) -> dict[int, float]:
    """Return for each step that was logged how long had been trained, pauses left out (h).

    Raises:
        NotFound: the file is gone.
    """
    found: dict[int, float] = {}
    before, began, last = 0.0, None, 0.0
    try:
        with within.open_file(path.parent, path.name) as file:
            for line in file:
                try:
                    event = json.loads(line)
                    kind, t = event["kind"], float(event["t"])
                    step = int(event["step"]) if kind == "metrics" else None
                except (ValueError, TypeError, KeyError):
                    continue  # torn, or of a kind that nobody knows yet
                if kind == "start" or began is None:
                    before += last - began if began is not None else 0.0
                    began = t
                last = max(t, began)
                if step is not None:
                    found[step] = (before + last - began) / 3600
    except OSError:
        raise NotFound(f"{path} is gone, and with it the times", "`--x step`") from None
    return found


def chart(drawn: Sequence[Curve], *, axis: Axis, log: bool) -> Chart:
    """Return the curves as a chart; metrics of one name after the `/` share a panel."""
    panels: dict[str, list[Curve]] = {}
    for one in drawn:
        of_use = points.is_use(one.metric)
        name = use_words.kind(one.metric) if of_use else one.metric.rpartition("/")[2]
        panels.setdefault(name, []).append(one)
    return Chart(
        tuple(_panel(name, members, axis=axis, log=log) for name, members in panels.items())
    )


def _panel(name: str, members: Sequence[Curve], *, axis: Axis, log: bool) -> Panel:
    metrics = list(dict.fromkeys(one.metric for one in members))
    alone = len({one.run.id for one in members}) == 1
    several = len(metrics) > 1

    def called(one: Curve) -> str:
        if alone and several:
            return one.metric
        return _run_name(one.run) + (f", {one.metric}" if several else "")

    title = ", ".join(metrics) + (f" of {_run_name(members[0].run)}" if alone else "")
    return Panel(
        title,
        "hours" if points.is_use(metrics[0]) else LABELS[axis],
        f"{name} ({use_words.UNITS[name]})" if name in use_words.UNITS else name,
        tuple(Series(called(one), one.pieces) for one in members),
        log=log,
    )


def _run_name(run: Run) -> str:
    parts = (run.method, run.task, text.percent(run.ratio), f"seed {run.seed}")
    return " ".join(filter(None, parts)) + f" ({run.id})"
