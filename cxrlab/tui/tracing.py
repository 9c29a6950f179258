"""What stands behind a run's files: sizes, who cites them, the line of descent, what it measured?

Looks at the disk and at every cell, so it is called on a thread, and only while it is shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from cxrlab import cloning, descent
from cxrlab.assets import weights
from cxrlab.lab import Lab
from cxrlab.tui import cell_words, reading, reading_run
from store import artifacts, cells, claims, points, results, runs
from store.artifacts import Artifact
from store.db import Database
from store.runs import Run

MEASURED = "perf/"
"""How metrics begin that measure the machine."""

FLOOR = "_nothing"
"""How metrics end that tell what predicting nothing scores; no cell of their own."""


class Stands(NamedTuple):
    """How it stands with one checkpoint."""

    bytes: int | None
    """None where it is not there."""
    cells: tuple[str, ...]
    """Those whose numbers rest on it, in words."""


class Measured(NamedTuple):
    """A metric of the machine."""

    last: float
    most: float


class Traced(NamedTuple):
    """What stands behind the files of a run."""

    files: Mapping[Path, Stands]
    line: tuple[Mapping[str, Any], ...]
    """See `descent.line`."""
    published: Mapping[str, str]
    """Title of published weights by the name of their file."""
    measured: Mapping[str, Measured]
    """By the metric's name."""
    machine: tuple[str, ...]
    """The GPUs that the run found, by name, as it recorded them."""
    held: tuple[str, ...]
    """The devices that it holds now."""


def read_traced(lab: Lab, run_id: str) -> Traced:
    """Return what stands behind the files of a run.

    Raises:
        NoSuchRun: there is no such run.
    """
    with reading.registry(lab) as db:
        run = runs.get(db, run_id)
        document = results.document(db, run_id) or {}
        saved = [each for each in artifacts.of_run(db, run_id) if each.kind != "sample"]
        cited = _cited(db, run, saved, str(document.get("checkpoint") or ""))
        made = cloning.read_json(Path(run.folder) / "provenance.json")
        gpus = made.get("gpus")
        return Traced(
            {
                each.path: Stands(_size(each.path), tuple(cited.get(each.path, ())))
                for each in saved
            },
            tuple(descent.line(db, run, document)),
            {row.file: row.title for row in weights.read_table().values()},
            dict(_measured(db, run_id)),
            tuple(map(str, gpus)) if isinstance(gpus, list) else (),
            tuple(claim.device for claim in claims.every(db) if claim.run == run_id),
        )


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # a NUL in the name
        return None


def _measured(db: Database, run_id: str) -> Iterator[tuple[str, Measured]]:
    for metric in points.metric_names(db, run_id):
        if metric.startswith(MEASURED):
            curve = points.curve(db, run_id, metric, most=reading_run.MOST_POINTS)
            if curve:
                yield metric, Measured(curve[-1][1], max(value for _, value in curve))


def _cited(
    db: Database, run: Run, saved: list[Artifact], measured_by: str
) -> dict[Path, dict[str, None]]:
    """Return the cells that rest on each checkpoint, in words and each once."""
    groups = [group for group in cells.groups(db) if not group.metric.endswith(FLOOR)]
    known = cells.encoders(db, {s.run_id for group in groups for s in group.starts if s.run_id})
    found: dict[Path, dict[str, None]] = {}

    def cite(file: Artifact | None, group: cells.Group) -> None:
        if file is not None:
            place = (group.method, group.task, group.ratio, group.metric)
            found.setdefault(file.path, {})[cell_words.what(place)] = None

    own = _by_name(run, saved, measured_by) or _first(saved, "best", "encoder", "last")
    for group in groups:
        if run.id in group.run_ids:
            cite(own, group)
        for start in group.starts:
            seen: set[str] = set()
            here: Any = start
            while here is not None and here.run_id not in seen:
                seen.add(here.run_id)
                if here.run_id == run.id:
                    cite(_started_from(saved, here), group)
                made = known.get(here.run_id)
                here = made.start if made is not None else None
    return found


def _by_name(run: Run, saved: list[Artifact], name: str) -> Artifact | None:
    wanted = Path(run.folder) / name
    return next((each for each in saved if name and each.path == wanted), None)


def _first(saved: list[Artifact], *kinds: str) -> Artifact | None:
    return next((each for kind in kinds for each in saved if each.kind == kind), None)


def _started_from(saved: list[Artifact], start: Any) -> Artifact | None:
    """Return the checkpoint that a run started from; its encoder where the run has not told."""
    for each in saved:
        if start.sha256 and each.sha256 == start.sha256:
            return each
        if start.path and PurePath(start.path).parts[-3:] == each.path.parts[-3:]:
            return each
    return _first(saved, "encoder", "last")
