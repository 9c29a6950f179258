"""What can be told of each run in a list of them? The columns to choose from, and their cells.

Text from outside is made harmless here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from cxrlab import text, use_words
from cxrlab.harmless import harmless
from cxrlab.tui import sentences, telling, words
from cxrlab.tui.grouping import Group
from cxrlab.tui.widgets.rows import Column, Part, Row, Span
from cxrlab.tui.words import tr
from store.results import Result
from store.runs import Run
from store.use import Use


class Known(NamedTuple):
    """What is known of a run beside its row."""

    now: float
    tags: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}
    score: Result | None = None
    used: Use | None = None


class Choosable(NamedTuple):
    """A column, what it tells, and how its cells are made."""

    column: Column
    about: str
    cell: Callable[[Run, Known], Sequence[Part]]


def _plain(value: Callable[[Run], object], style: str = "") -> Callable[[Run, Known], list[Part]]:
    def cell(run: Run, _: Known) -> list[Part]:
        found = value(run)
        return [("" if found is None else harmless(str(found)), style)]

    return cell


def _time(run: Run, known: Known) -> list[Part]:
    """Return how long a run that runs still takes, or how long another took."""
    took = run.ended - run.started if run.ended and run.started else None
    time_s = run.eta_s if run.state == "running" else took
    return [("" if time_s is None else text.duration(time_s), "")]


def _progress(run: Run, _: Known) -> list[Part]:
    share = run.done / run.total if run.done is not None and run.total else None
    return gauge(share, state=run.state)


def _steps(run: Run) -> str:
    if run.done is None:
        return ""
    return f"{run.done:,}/{run.total:,}" if run.total else f"{run.done:,}"


def _score(run: Run, known: Known) -> list[Part]:
    if known.score is None:
        return [("", "")]
    name = known.score.metric.rsplit("/", 1)[-1]
    return [(f"{harmless(name)} ", "dim"), (telling.value(name, known.score.value), "strong")]


def _gpu_hours(run: Run, known: Known) -> list[Part]:
    hours = known.used.gpu_hours if known.used else None
    return [("" if hours is None else f"{hours:.1f}", "")]


def _busy(run: Run, known: Known) -> list[Part]:
    """Return how busy its GPUs were, marked where they stood idle for half of the time."""
    share = known.used.utilization if known.used else None
    idle = share is not None and share < use_words.IDLE
    return [("" if share is None else f"{share:.0f} %", "stopped" if idle else "")]


CHOOSABLE: dict[str, Choosable] = {
    "run": Choosable(Column("run", 6), "its id", lambda run, _: [(run.id, "strong")]),
    "state": Choosable(
        Column("state", 11),
        "what state it is in",
        lambda run, _: [(sentences.state(run.state), run.state)],
    ),
    "method": Choosable(Column("method", 10), "its method", _plain(lambda run: run.method)),
    "task": Choosable(Column("task", 14), "its task", _plain(lambda run: run.task)),
    "labels": Choosable(
        Column("labels", 6, right=True),
        "the share of labels that it trains on",
        _plain(lambda run: None if run.ratio is None else f"{run.ratio} %"),
    ),
    "seed": Choosable(Column("seed", 4, right=True), "its seed", _plain(lambda run: run.seed)),
    "progress": Choosable(Column("progress", 9), "how much of it is done", _progress),
    "time": Choosable(
        Column("left/took", 9, right=True), "how long it still takes, or took", _time
    ),
    "step": Choosable(Column("step", 15, right=True), "its last step", _plain(_steps)),
    "score": Choosable(Column("score", 14, right=True), "what its task is judged by", _score),
    "tags": Choosable(
        Column("tags", 14),
        "what it has been called",
        lambda _, known: [(harmless(" ".join(f"#{tag}" for tag in known.tags)), "strong")],
    ),
    "preset": Choosable(Column("preset", 6), "its preset", _plain(lambda run: run.preset, "dim")),
    "recipe": Choosable(
        Column("recipe", 8), "repeats share one", _plain(lambda run: run.recipe[:8], "dim")
    ),
    "attempt": Choosable(
        Column("attempt", 7, right=True),
        "how often it has begun",
        _plain(lambda run: run.attempt or None),
    ),
    "queued": Choosable(
        Column("queued", 9, right=True),
        "how long ago it was asked for",
        lambda run, known: [(words.ago(run.created, known.now), "dim")],
    ),
    "gpus": Choosable(
        Column("GPUs", 4, right=True), "how many it takes", _plain(lambda run: run.gpus)
    ),
    "gpu-hours": Choosable(
        Column("GPU hours", 9, right=True), "for how long it held GPUs", _gpu_hours
    ),
    "busy": Choosable(Column("busy", 5, right=True), "how busy its GPUs were, on average", _busy),
    "parent": Choosable(
        Column("parent", 6), "the run whose encoder it has", _plain(lambda run: run.parent, "dim")
    ),
    "warnings": Choosable(
        Column("warned", 6, right=True),
        "how often it has warned",
        _plain(lambda run: run.warnings or None),
    ),
    "why": Choosable(
        Column("why", 20, grows=True),
        "why it is in its state",
        _plain(lambda run: sentences.said(run.reason), "dim"),
    ),
}
"""By the name that is remembered."""

ALWAYS = ("run", "state")
"""These stay in place while the others scroll."""

NARROW = (*ALWAYS, "method", "task", "labels", "seed", "progress", "time")
WIDE = (*NARROW, "step", "score", "tags", "preset", "recipe", "attempt", "queued", "why")

SETTING = "set:"
"""Begins the name of a column that shows a setting."""


def column(name: str) -> Choosable:
    """Return the column of that name; of a setting where it begins with `SETTING`."""
    if name in CHOOSABLE:
        chosen = CHOOSABLE[name]
        title = tr(chosen.column.title, "column")
        return chosen._replace(column=chosen.column._replace(title=title))
    setting = name.removeprefix(SETTING)
    return Choosable(
        Column(harmless(setting), max(8, min(16, len(setting))), right=True),
        "a setting",
        lambda _, known: [(harmless(known.settings.get(setting, "")), "")],
    )


def settings_of(names: Sequence[str]) -> tuple[str, ...]:
    """Return the settings that columns of these names show."""
    return tuple(name.removeprefix(SETTING) for name in names if name.startswith(SETTING))


def known_names(names: Sequence[object]) -> tuple[str, ...]:
    """Return those of remembered names that there are columns of, the fixed ones first."""
    kept = [n for n in names if isinstance(n, str) and (n in CHOOSABLE or n.startswith(SETTING))]
    return (*ALWAYS, *dict.fromkeys(n for n in kept if n not in ALWAYS))


def row_of(run: Run, known: Known, columns: Sequence[Choosable]) -> Row:
    """Return a run's cells."""
    return [each.cell(run, known) for each in columns]


def gauge(share: float | None, *, state: str, width: int = 4) -> list[Part]:
    """Return how much is done, as a bar and a number."""
    if share is None:
        return [("", "")]
    full = round(max(0.0, min(1.0, share)) * width)
    style = "running" if state == "running" else "dim"
    return [("█" * full, style), ("░" * (width - full), "dim"), (f"{share * 100:4.0f}%", style)]


def group_head(group: Group, by: str) -> Span:
    """Return the line over the runs of a group."""
    name = sentences.state(group.key) if by == "state" else harmless(group.key)
    sign = "▸" if group.closed else "▾"
    count = words.counted(group.runs, "run")
    return Span([(f"{sign} ", "dim"), (name, "strong"), (f"  {count}", "dim")])
