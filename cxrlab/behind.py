"""What stands behind a cell of the grid: which runs, made how, and what else competes?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import cloning, columns, descent, grid
from cxrlab.columns import Column
from cxrlab.errors import NotFound, Usage, unknown_name
from cxrlab.grid import stale
from cxrlab.grid.cells import read_grid
from cxrlab.settings import GridSettings
from store import artifacts, cells, results, runs
from store.cells import Group
from store.db import Database
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN

CELL_MARKS = "/:"
"""What tells the name of a cell, `mrm/siim/10` or `mrm:siim:10`, from that of a run."""


class Member(NamedTuple):
    """One run whose number counts in a group."""

    run: Run
    result: results.Result | None
    checkpoint: str
    """Path of what was tested, or of the encoder that a pre-training left."""
    sha256: str
    encoder: dict[str, Any] | None
    data: dict[str, Any]
    """What it said of its data: version, fingerprint, lists, digests of its splits."""
    predictions: str
    commit: str
    uncommitted: bool


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Runs that are repeats of one another."""

    group: Group
    shown: bool
    """Whether the cell shows their mean."""
    stale: str
    members: tuple[Member, ...]
    differs: tuple[str, ...] = ()
    """In what they differ from those shown."""
    settings: tuple[cloning.Difference, ...] = ()
    """The settings in which their recipe differs from that of those shown, theirs as `after`."""


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A cell with all that its text stands for."""

    cell: grid.Cell
    candidates: tuple[Candidate, ...]
    """Those shown first."""
    uncounted: tuple[Run, ...]
    """Its other runs, newest first: under way, ended badly, or superseded by a newer one."""


def is_cell(name: str) -> bool:
    """Return whether `name` names a cell and not a run."""
    return any(mark in name for mark in CELL_MARKS)


def named(name: str) -> tuple[str, Column]:
    """Return the method and the column that `mrm/siim/10/Dice` names; the metric may be left out.

    So may the ratio, where the task has only one.

    Raises:
        NotFound: no method or task is called so.
        Usage: it names no cell, or several.
    """
    mark = next(mark for mark in CELL_MARKS if mark in name)
    method, task, *rest = name.split(mark)
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    ratio = [rest.pop(0)] if rest and rest[0].isdigit() else []
    metric = ["/".join(rest)] if rest else []
    if task == PRETRAIN and not metric:
        metric = ["loss"]
    found = columns.read(":".join([task, *ratio, *metric]))
    if len(found) > 1:
        listed = ", ".join(f"`{method}/{column.task}/{column.ratio}`" for column in found)
        raise Usage(f"`{name}` names {len(found)} cells", f"name one: {listed}")
    return method, found[0]


def look(db: Database, settings: GridSettings, method: str, column: Column) -> Behind:
    """Return what stands behind one cell.

    Args:
        db: the registry.
        settings: of the lab; with the rows of its grid the cell is compared.
        method: whose cell.
        column: which cell.

    Raises:
        NotFound: the method has no such cell.
    """
    shown = read_grid(db, replace(settings, columns=(column.word,)))
    rows = {row.method: row for row in shown.rows}
    if method not in rows:
        shown = read_grid(db, replace(settings, columns=(column.word,), methods=(method,)))
        rows = {row.method: row for row in shown.rows}
    place = (column.task, column.ratio, column.metric)
    cell = next(c for c in rows[method].cells if (c.task, c.ratio, c.metric) == place)
    if cell.state == "none":
        raise NotFound(f"`{method}` is taken as it is, so it has no pre-training")
    groups = [
        group
        for group in cells.groups(db, {(column.task, column.metric)})
        if (group.method, group.ratio) == (method, column.ratio)
    ]
    candidates = compared(db, cell, groups)
    counted = {member.run.id for each in candidates for member in each.members}
    others = tuple(
        run
        for run in runs.select(db, method=method, task=column.task)
        if run.ratio == column.ratio and run.id not in counted
    )
    return Behind(cell=cell, candidates=candidates, uncounted=others)


def compared(db: Database, cell: grid.Cell, groups: Sequence[Group]) -> tuple[Candidate, ...]:
    """Return what competes for a cell, those shown first, with the differences of the others."""
    ordered = sorted(groups, key=lambda group: group.run_ids != cell.run_ids)
    starts = {start.run_id for group in groups for start in group.starts if start.run_id}
    encoders = cells.encoders(db, starts)
    found: list[Candidate] = []
    for group in ordered:
        is_shown = not found and group.run_ids == cell.run_ids
        first = found[0] if found else None
        members = tuple(member_of(db, id, group.metric) for id in group.run_ids)
        found.append(
            Candidate(
                group=group,
                shown=is_shown,
                stale=stale.reason(group, encoders),
                members=members,
                differs=grid.differences([first.group, group]) if first else (),
                settings=settings_between(first.members[0].run, members[0].run) if first else (),
            )
        )
    return tuple(found)


def settings_between(shown: Run, other: Run) -> tuple[cloning.Difference, ...]:
    """Return the settings in which two runs differ; none where a folder does not tell its own."""
    before, after = cloning.configuration(shown), cloning.configuration(other)
    return tuple(cloning.differences(before, after)) if before and after else ()


def member_of(db: Database, run_id: str, metric: str) -> Member:
    """Return what one run has to say for its number."""
    run = runs.get(db, run_id)
    document = results.document(db, run_id) or {}
    names = ("val/loss",) if run.task == PRETRAIN else (f"test/{metric}",)
    numbers = {number.metric: number for number in results.of_run(db, run_id)}
    checkpoint, sha256 = str(document.get("checkpoint") or ""), document.get("checkpoint_sha256")
    if not checkpoint:
        kinds = ("encoder", "best", "last")
        saved = [a for kind in kinds for a in artifacts.of_run(db, run_id, kind)]
        checkpoint, sha256 = (str(saved[0].path), saved[0].sha256) if saved else ("", "")
    predictions = document.get("predictions")
    made = cloning.read_json(Path(run.folder) / "provenance.json")
    return Member(
        run=run,
        result=next((numbers[name] for name in names if name in numbers), None),
        checkpoint=str(Path(run.folder) / checkpoint) if checkpoint else "",
        sha256=str(sha256 or ""),
        encoder=descent.origin(db, run, document),
        data=document.get("data") or {},
        predictions=str(Path(run.folder) / predictions) if predictions else "",
        commit=str(made.get("commit") or ""),
        uncommitted=bool(made.get("uncommitted_changes")),
    )
