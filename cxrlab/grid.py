"""What each cell of the comparison grid says: this lab's number, the paper's, and the state.

Functions from values to values. A `Cell` knows its own text, so that the command line, the
dashboard and the exports cannot disagree.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab import text
from cxrlab.columns import Column, Unit
from cxrlab.errors import BadInput
from trainers import metrics
from trainers.catalog import PRETRAIN, PRETRAIN_ENTRY, TASKS, MethodEntry

if TYPE_CHECKING:  # at run time it would bring SQLite along
    from store.cells import Group, OpenRun

EMPTY = "·"
"""What a cell says that no run has filled."""

FOREIGN = "foreign"
"""In place of a preset: the predictions were made elsewhere, and brought in."""

FOREIGN_MARK = "†"
"""What stands behind such a number."""

TEST_SPLIT, TRAIN_LIST = "test split", "training list"
SPLIT_MARKS = {TEST_SPLIT: "‡", TRAIN_LIST: "§"}
"""What stands behind a number whose split is not that of the others in its column."""

NOT_APPLICABLE = "–"
"""What a cell says that can never be filled, such as the pre-training of a baseline."""

UNDER_WAY = ("running", "queued", "blocked", "stopped", "lost", "failed")
"""States that a cell without a number can have, the first that any of its runs is in wins."""

METRIC_NOTES = {
    "Dice": "Dice in percent, the mean over test images; an image without the finding counts 100 "
    "when nothing is predicted in it, else 0",
    "AUROC": "AUROC in percent, the area under the ROC curve on the test set",
    "loss": "val loss: the sum of the method's own losses on held-out records, so it compares runs "
    "of one method, not methods with one another",
    "time": "time: how long pre-training trained, over all its attempts",
}


@dataclass(frozen=True)
class Paper:
    """A published number and where it stands."""

    value: float
    source: str


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One (method, task, ratio, metric): shares in [0, 1], losses in nats, times in seconds."""

    method: str
    task: str
    ratio: int | None
    metric: str
    unit: Unit = "share"
    value: float | None = None
    sd: float | None = None
    n: int = 0
    low: float | None = None
    high: float | None = None
    paper: float | None = None
    paper_source: str = ""
    state: str = "empty"
    """`empty`, `none` (never to be filled), `succeeded`, or the state of the run under way."""
    progress: float | None = None
    """Share of the running run that is done, in [0, 1]."""
    others: int = 0
    """How many further recipes have a number here."""
    run_ids: tuple[str, ...] = ()
    recipe: str = ""
    preset: str = ""
    validated: bool = False
    """Whether its runs tell a validation score by which they were chosen."""
    floor: float | None = None
    """What predicting nothing scores on the same test set, where the metric has such a floor."""
    train_split: str = ""
    """SHA-256 of the names of what was trained on, as is `test_split` of what was tested on."""
    test_split: str = ""
    other: str = ""
    """`TEST_SPLIT` or `TRAIN_LIST` where that is not what most of the column has; else empty."""

    @property
    def foreign(self) -> bool:
        """Whether its number comes from predictions made elsewhere."""
        return self.preset == FOREIGN

    def number(self) -> str:
        """Return this lab's number with its spread and count; empty where there is none."""
        if self.value is None:
            return ""
        if self.unit == "s":
            return text.duration(self.value)
        said = text.metric(self.value, self.unit)
        if self.sd is not None and self.n > 1:
            said += f" ±{text.metric(self.sd, self.unit)}"
        if self.n:
            said += f" ({self.n})"
        said += FOREIGN_MARK if self.foreign else ""
        said += SPLIT_MARKS.get(self.other, "")
        return said + (f" +{self.others}" if self.others else "")

    def under_way(self) -> str:
        """Return the state of the run that is not finished; empty where all are."""
        if self.state in ("empty", "none", "succeeded"):
            return ""
        if self.state == "running" and self.progress is not None:
            return f"running {self.progress * 100:.0f} %"
        return self.state

    def bracket(self) -> str:
        """Return the paper's number in brackets; empty where none is known."""
        return "" if self.paper is None else f"[{text.metric(self.paper, self.unit)}]"

    def text(self) -> str:
        """Return what the cell says, the same everywhere."""
        if self.state == "none":
            return NOT_APPLICABLE
        parts = [part for part in (self.number(), self.under_way()) if part] or [EMPTY]
        return " ".join([*parts, *([self.bracket()] if self.paper is not None else [])])


@dataclass(frozen=True)
class Row:
    """A method, with one cell for each column."""

    method: str
    title: str
    cells: tuple[Cell, ...]
    group: str = ""
    """The name that the lab's settings give to several methods."""
    number: str = ""
    description: str = ""
    log: str = ""
    """Where the log of its pre-training lies."""
    status: str = ""
    """How far it is, in words that follow from its cells."""

    def text(self, field: str) -> str:
        """Return one of `cxrlab.columns.FIELDS`."""
        return str(getattr(self, field))


@dataclass(frozen=True)
class Grid:
    """Rows of cells under columns."""

    rows: tuple[Row, ...] = ()
    columns: tuple[Column, ...] = field(default=())
    fields: tuple[str, ...] = ()
    """Which texts of the rows are shown too, of `cxrlab.columns.FIELDS`."""

    def cells(self) -> list[Cell]:
        """Return every cell, row by row."""
        return [cell for row in self.rows for cell in row.cells]


def read_published(path: Path | None = None) -> dict[tuple[str, str, int | None, str], Paper]:
    """Return the papers' numbers by (method, task, ratio, metric).

    Raises:
        BadInput: a number is of another metric than its cell's.
    """
    chosen = path or Path(__file__).with_name("published.toml")
    rows = tomllib.loads(chosen.read_text(encoding="utf-8")).get("number", [])
    for row in rows:
        refuse_other_metric(row["task"], row["metric"], f"{chosen}: {row['method']} {row['task']}")
    return {
        (row["method"], row["task"], row.get("ratio"), row["metric"]): Paper(
            float(row["value"]), " ".join(row["source"].split())
        )
        for row in rows
    }


def refuse_other_metric(task: str, metric: str, where: str) -> None:
    """Refuse a number of `task` that is not in its metric, for the two do not compare.

    Raises:
        BadInput: it is not; the message begins with `where`, and defines both.
    """
    entry = PRETRAIN_ENTRY if task == PRETRAIN else TASKS[task]
    if task == PRETRAIN and metric == "time":
        return
    if difference := metrics.difference(entry.metric, metric):
        raise BadInput(f"{where}: {difference}", f"only `{entry.metric}` can stand in that cell")


def choose(groups: Sequence[Group], *, better: str) -> Group | None:
    """Return the recipe that validates best; the test score has no say.

    Recipes without a validation value come last; among equals the one with more runs, then the
    one whose digest sorts first, so that the choice does not depend on the order.
    """
    sign = -1.0 if better == "higher" else 1.0

    def rank(group: Group) -> tuple[bool, float, int, str]:
        chosen_by = group.selected_value
        return (chosen_by is None, sign * (chosen_by or 0.0), -group.n, group.recipe)

    return min(groups, key=rank, default=None)


def filled(base: Cell, group: Group | None, *, others: int) -> Cell:
    """Return `base` with the number of `group`; as it is where there is none."""
    if group is None:
        return base
    return replace(
        base,
        value=group.mean,
        sd=group.sd if group.n > 1 else None,
        n=group.n,
        low=group.low,
        high=group.high,
        others=others,
        run_ids=tuple(group.run_ids),
        recipe=group.recipe,
        preset=group.preset,
        validated=group.selected_value is not None,
        state="succeeded",
        train_split=group.train_split,
        test_split=group.test_split,
    )


def floor_of(group: Group | None, others: Iterable[Group]) -> float | None:
    """Return what predicting nothing scores where `group` was tested; None where none says."""
    if group is None:
        return None
    same = (group.recipe, group.train_split, group.test_split)
    found = (o for o in others if (o.recipe, o.train_split, o.test_split) == same)
    return next((other.mean for other in found), None)


def marked(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of one column, those marked that most others cannot be compared with.

    Where as many have one split as another, the one that stands first counts as the column's.
    """

    def usual(name: str, among: Iterable[Cell]) -> str:
        known = [getattr(c, name) for c in among if c.value is not None and getattr(c, name)]
        return max(dict.fromkeys(known), key=known.count, default="")

    test = usual("test_split", cells)
    train = usual("train_split", (cell for cell in cells if cell.test_split == test))

    def other(cell: Cell) -> str:
        if cell.value is None or not cell.test_split:
            return ""
        if cell.test_split != test:
            return TEST_SPLIT
        return TRAIN_LIST if cell.train_split != train else ""

    return [replace(cell, other=other(cell)) for cell in cells]


def with_state(cell: Cell, runs: Sequence[OpenRun]) -> Cell:
    """Return `cell` with the state that its unfinished `runs` give it.

    A number stands against runs that were stopped, lost or failed, but not against one that is
    running or waits: that one will change it.
    """
    by_state = {run.state: run for run in reversed(runs)}
    counts = UNDER_WAY if cell.value is None else UNDER_WAY[:3]
    state = next((name for name in counts if name in by_state), "")
    if not state:
        return replace(cell, state="empty" if cell.value is None else "succeeded")
    run = by_state[state]
    share = run.done / run.total if run.done is not None and run.total else None
    ids = cell.run_ids or tuple(r.run_id for r in runs if r.state == state)
    return replace(cell, state=state, progress=share if state == "running" else None, run_ids=ids)


def build(
    methods: Mapping[str, MethodEntry],
    columns: Sequence[Column],
    groups: Iterable[Group],
    open_runs: Iterable[OpenRun],
    *,
    published: Mapping[tuple[str, str, int | None, str], Paper],
) -> Grid:
    """Return the grid: a row for each method of `methods`, whether it has runs or not.

    Args:
        methods: the rows, from the catalog.
        columns: what is measured, as `cxrlab.columns` makes them.
        groups: finished runs, one for each recipe, cell and metric; of pre-training with the
            metrics `loss` and `time`.
        open_runs: runs that have not succeeded, newest first.
        published: the papers' numbers.
    """
    finished: dict[tuple[str, str, int | None, str], list[Group]] = {}
    for group in groups:
        key = (group.method, group.task, group.ratio, group.metric)
        finished.setdefault(key, []).append(group)
    waiting: dict[tuple[str, str, int | None], list[OpenRun]] = {}
    for run in open_runs:
        waiting.setdefault((run.method, run.task, run.ratio), []).append(run)

    def cell(method: str, column: Column) -> Cell:
        key = (method, column.task, column.ratio, column.metric)
        paper = published.get(key)
        base = Cell(
            method=method,
            task=column.task,
            ratio=column.ratio,
            metric=column.metric,
            unit=column.unit,
            paper=paper.value if paper else None,
            paper_source=paper.source if paper else "",
        )
        if column.task == PRETRAIN and not methods[method].pretrains:
            return replace(base, state="none")
        candidates = finished.get(key, [])
        chosen = choose(candidates, better=column.better)
        floor = floor_of(chosen, finished.get((*key[:3], f"{column.metric}_nothing"), []))
        number = replace(filled(base, chosen, others=len(candidates) - 1), floor=floor)
        return with_state(number, waiting.get(key[:3], []))

    by_column = [marked([cell(name, column) for name in methods]) for column in columns]
    rows = tuple(
        Row(name, entry.title, tuple(cells[number] for cells in by_column))
        for number, (name, entry) in enumerate(methods.items())
    )
    return Grid(rows, tuple(columns))


def notes(grid: Grid) -> list[str]:
    """Return what a reader must know to read the numbers of `grid`, a sentence each."""
    shown = [cell for cell in grid.cells() if cell.value is not None]
    told = []
    if any(cell.n > 1 for cell in shown):
        told.append("`72.9 ±0.4 (3)`: mean ± standard deviation over seeds, and how many")
    if any(cell.n == 1 for cell in shown):
        told.append("`(1)`: a single seed, which says nothing of the spread between seeds")
    if any(cell.others for cell in shown):
        told.append(
            "`+2`: further recipes, or splits, with a number; shown is the one that validates best"
        )
    used = {column.metric: None for column in grid.columns}
    told += [METRIC_NOTES[name] for name in used if any(cell.metric == name for cell in shown)]
    told += floor_notes(shown)
    told += split_notes(shown)
    told += preset_notes(shown)
    if any(cell.foreign for cell in shown):
        names = ", ".join(where(cell) for cell in shown if cell.foreign)
        told.append(f"`{FOREIGN_MARK}`: of predictions made elsewhere and brought in: {names}")
    if any(cell.paper is not None for cell in grid.cells()):
        told.append("`[73.2]`: the paper's number")
    return told


def floor_notes(shown: Sequence[Cell]) -> list[str]:
    """Return what predicting nothing scores in each column where that is told."""
    floors: dict[str, list[str]] = {}
    for cell in shown:
        if cell.floor is not None:
            ratio = f" {cell.ratio} %" if cell.ratio is not None else ""
            said = text.metric(cell.floor, cell.unit)
            known = floors.setdefault(f"{cell.task} {cell.metric}{ratio}", [])
            known += [said] if said not in known else []
    parts = [f"{column} {' or '.join(known)}" for column, known in floors.items()]
    return [f"predicting nothing anywhere scores: {', '.join(parts)}"] if parts else []


def split_notes(shown: Sequence[Cell]) -> list[str]:
    """Return which numbers are not comparable with the others of their column, and why."""
    told = []
    for reason, mark in SPLIT_MARKS.items():
        names = ", ".join(where(cell) for cell in shown if cell.other == reason)
        if names:
            told.append(f"`{mark}`: not comparable with its column, other {reason}: {names}")
    return told


def preset_notes(shown: Sequence[Cell]) -> list[str]:
    """Return which numbers come from the quick preset, which no paper's number compares with."""
    scored = [cell for cell in shown if cell.preset]
    quick = [cell for cell in scored if cell.preset == "quick"]
    if not quick:
        return []
    warning = "made with preset `quick`: toy sizes, not to be compared with a paper's number"
    if len(quick) == len(scored):
        return [f"all numbers are {warning}"]
    names = ", ".join(where(cell) for cell in quick)
    return [f"{warning}: {names}"]


def where(cell: Cell) -> str:
    """Return a cell's place in words: `mrm siim 10 %`."""
    ratio = f" {cell.ratio} %" if cell.ratio is not None else ""
    return f"{cell.method} {cell.task}{ratio}"


def sources(grid: Grid) -> list[tuple[Cell, str]]:
    """Return each cell with a paper's number, and where that number stands."""
    return [(cell, cell.paper_source) for cell in grid.cells() if cell.paper is not None]
