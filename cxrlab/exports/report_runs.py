"""What does a report say of each run: its numbers, curves, descent, origin, and which pictures?"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import descent, restricted, text
from cxrlab.exports import svg
from cxrlab.lab import Lab
from store import artifacts, points, results, runs, within
from store.db import Database
from trainers import metrics
from trainers.catalog import PRETRAIN, PRETRAIN_ENTRY, TASKS

MOST_POINTS = 240
"""Of one curve: as many as its chart has columns of pixels to tell apart."""

MOST_PICTURES = 6
"""Of one run."""

MOST_LETTERS = 6000
"""Of one text beside the pictures, such as generated reports."""

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp")
TEXTS = (".md", ".txt")


class Number(NamedTuple):
    """One line of a run's results, as it is shown."""

    metric: str
    value: str
    interval: str
    meaning: str


class Classes(NamedTuple):
    """A metric of single classes, told in one line: a set may have fourteen of them."""

    metric: str
    values: tuple[Number, ...]


class Chart(NamedTuple):
    """A drawing, and what it says in words."""

    title: str
    markup: str
    said: tuple[str, ...]


class Sample(NamedTuple):
    """A picture or a text that a run has saved, within its folder."""

    path: Path
    caption: str
    content: str = ""
    """Of a text: what it says, cut where it is long."""


class Section(NamedTuple):
    """All that a report says of one run."""

    run: runs.Run
    source: str
    """Where a foreign run was made."""
    spent_s: float | None
    """How long its attempts took in all."""
    numbers: tuple[Number, ...]
    classes: tuple[Classes, ...]
    selected_by: str
    charts: tuple[Chart, ...]
    pictures: tuple[Sample, ...]
    texts: tuple[Sample, ...]
    more_samples: int
    """How many further ones there are."""
    kept_back: str
    """The restricted set of which samples are not shown; empty for none."""
    line: tuple[dict[str, Any], ...]
    """Where its encoder comes from, the nearest first."""
    data: dict[str, Any]
    provenance: dict[str, Any]
    warnings: int


def read(lab: Lab, db: Database, id: str) -> Section:
    """Return what a report says of the run `id`.

    Raises:
        NoSuchRun: there is none.
    """
    run = runs.get(db, id)
    document = results.document(db, id) or {}
    saved = restricted.shown(lab, run.task, artifacts.of_run(db, id))
    pictures, texts, more = _samples(Path(run.folder), saved)
    data = document.get("data")
    numbers = [_number(number) for number in results.of_run(db, id)]
    return Section(
        run=run,
        source=str(document.get("source") or ""),
        spent_s=_spent(results.attempts(db, id)),
        numbers=tuple(number for number in numbers if number.metric.count("/") < 2),
        classes=_by_class(numbers),
        selected_by=str(document.get("selected_by") or ""),
        charts=tuple(charts(db, run)),
        pictures=pictures,
        texts=texts,
        more_samples=more,
        kept_back=restricted.hidden(lab, run.task),
        line=tuple(descent.line(db, run, document)),
        data=data if isinstance(data, dict) else {},
        provenance=provenance(Path(run.folder)),
        warnings=run.warnings,
    )


def charts(db: Database, run: runs.Run) -> list[Chart]:
    """Return the drawings of a run: its losses, and the metric it is chosen by."""
    entry = PRETRAIN_ENTRY if run.task == PRETRAIN else TASKS.get(run.task)
    wanted: list[tuple[str, tuple[str, ...]]] = [("loss", ("train/loss", "val/loss"))]
    if entry is not None and entry.metric != "loss":
        wanted.append((entry.metric, tuple(f"{part}/{entry.metric}" for part in ("val", "test"))))
    made: list[Chart] = []
    for title, names in wanted:
        lines = [line for name in names if (line := _line(db, run.id, name)).points]
        known = metrics.find(title)
        unit = "%" if known is not None and known.unit == "share" else ""
        drawn = svg.chart(lines, id=f"{run.id}-{len(made)}", title=f"{run.id}: {title}", unit=unit)
        if drawn:
            made.append(Chart(title, drawn, tuple(svg.told(line) for line in lines)))
    return made


def _line(db: Database, id: str, name: str) -> svg.Line:
    """Return one curve; shares in percent, as the grid has them."""
    known = metrics.find(name)
    factor = 100.0 if known is not None and known.unit == "share" else 1.0
    curve = points.curve(db, id, name, most=MOST_POINTS)
    return svg.Line(name, [(step, factor * value) for step, value in curve])


def _number(number: results.Result) -> Number:
    known = metrics.find(number.metric)
    unit = "share" if known is None or known.unit == "share" else known.unit
    interval = ""
    if number.low is not None and number.high is not None:
        interval = f"{text.metric(number.low, unit)} – {text.metric(number.high, unit)}"
    meaning = "" if known is None else f"{known.definition} ({known.averaging})"
    return Number(number.metric, text.metric(number.value, unit), interval, meaning)


def _by_class(numbers: Sequence[Number]) -> tuple[Classes, ...]:
    """Return the numbers of single classes, `test/AUROC/Hernia`, under what they are of."""
    found: dict[str, list[Number]] = {}
    for number in numbers:
        if number.metric.count("/") >= 2:
            part, name, of = number.metric.split("/", 2)
            found.setdefault(f"{part}/{name}", []).append(number._replace(metric=of))
    return tuple(Classes(metric, tuple(values)) for metric, values in found.items())


def _spent(attempts: Sequence[results.Attempt]) -> float | None:
    spans = [a.ended - a.started for a in attempts if a.started is not None and a.ended is not None]
    return sum(spans) if spans else None


def _samples(
    folder: Path, saved: Sequence[artifacts.Artifact]
) -> tuple[tuple[Sample, ...], tuple[Sample, ...], int]:
    """Return the pictures and texts that are shown, and how many are not.

    Only what lies in the run's own folder: a path in an event may name anything.
    """
    root = folder.resolve()
    there = [
        one
        for one in sorted(saved, key=lambda one: str(one.path))
        if one.kind == "sample" and one.path.resolve().is_relative_to(root) and one.path.is_file()
    ]
    pictures = [Sample(a.path, a.caption) for a in there if a.path.suffix.lower() in PICTURES]
    texts = [
        Sample(a.path, a.caption, _beginning(a.path))
        for a in there
        if a.path.suffix.lower() in TEXTS
    ]
    shown = tuple(pictures[:MOST_PICTURES]), tuple(texts[:1])
    return *shown, len(there) - sum(map(len, shown))


def _beginning(path: Path) -> str:
    with (
        within.open_file(path.parent, path.name) as raw,
        io.TextIOWrapper(raw, encoding="utf-8", errors="replace") as file,
    ):
        said = file.read(MOST_LETTERS + 1)
    return said if len(said) <= MOST_LETTERS else said[:MOST_LETTERS] + " …"


def provenance(folder: Path) -> dict[str, Any]:
    """Return what a run says of its origin; empty where its folder does not tell."""
    return within.read_object(folder, "provenance.json")
