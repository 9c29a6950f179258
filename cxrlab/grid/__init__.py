"""What each cell of the comparison grid says: this lab's number, the paper's, and the state.

Functions from values to values. A `Cell` knows its own text, so that the command line, the
dashboard and the exports cannot disagree.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from cxrlab import text
from cxrlab.columns import Column, Unit
from cxrlab.grid.published import Paper
from cxrlab.grid.stale import reasons
from trainers.catalog import PRETRAIN, MethodEntry

if TYPE_CHECKING:  # at run time it would bring SQLite along
    from store.cells import Encoder, Group, OpenRun
    from store.notebook import Number

EMPTY = "·"
"""What a cell says that no run has filled."""

FOREIGN = "foreign"
"""In place of a preset: the predictions were made elsewhere, and brought in."""

FOREIGN_MARK = "†"
"""What stands behind a number that was not made here."""

TEST_SPLIT, TRAIN_LIST = "test split", "training list"
SPLIT_MARKS = {TEST_SPLIT: "‡", TRAIN_LIST: "§"}
"""What stands behind a number whose split is not that of the others in its column."""

NOT_APPLICABLE = "–"
"""What a cell says that can never be filled, such as the pre-training of a baseline."""

UNDER_WAY = ("running", "queued", "blocked", "stopped", "lost", "failed")
"""States that a cell without a number can have, the first that any of its runs is in wins."""

DIFFERENCES = {
    "recipe": "recipe",
    "train_split": TRAIN_LIST,
    "test_split": TEST_SPLIT,
    "version": "data version",
    "fingerprint": "data",
    "encoder": "encoder",
    "processes": "number of processes",
}
"""What tells groups of one cell apart, and what it is called."""

_TOLD_APART = attrgetter(*DIFFERENCES)

Place = tuple[str, str, int | None, str]
"""A cell's method, task, ratio and metric."""


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
    paper_split: str = ""
    """On which division of the data the paper's number is, where that matters."""
    own_split: str = ""
    """On which one this lab's is, where that is another one; the two do not compare then."""
    state: str = "empty"
    """`empty`, `none` (never to be filled), `succeeded`, `stale`, `foreign` (a notebook's number
    and no run), or the state of the run under way."""
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
    differs: tuple[str, ...] = ()
    """In what its recipes, splits, data and encoders differ, where it has several."""
    stale: str = ""
    """Why its number no longer follows from its encoder; empty where it does."""
    notebook: tuple[Number, ...] = ()
    """What notebooks say of it: own numbers and cited ones."""

    @property
    def foreign(self) -> bool:
        """Whether its number comes from logs or predictions made elsewhere."""
        return self.preset == FOREIGN

    @property
    def number_told(self) -> Number | None:
        """The notebook's own number that is shown, since there is no run; None elsewhere."""
        if self.value is None or not self.foreign or self.recipe:
            return None
        return next((n for n in reversed(self.notebook) if n.origin == "own"), None)

    @property
    def flaws(self) -> tuple[str, ...]:
        """What to know before believing a notebook's number that is shown."""
        return self.number_told.flaws if self.number_told else ()

    def number(self) -> str:
        """Return this lab's number with its spread and count; empty where there is none."""
        if self.value is None:
            return ""
        if self.unit == "s":
            return text.duration(self.value) + (FOREIGN_MARK if self.foreign else "")
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
        if self.state in ("empty", "none", "succeeded", "stale", "foreign"):
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
        stale = "stale" if self.stale else ""
        parts = [part for part in (self.number(), stale, self.under_way()) if part] or [EMPTY]
        return " ".join([*parts, *([self.bracket()] if self.paper is not None else [])])


@dataclass(frozen=True)
class Row:
    """A method, with one cell for each column."""

    method: str
    title: str
    cells: tuple[Cell, ...]
    group: str = ""
    """The name that the lab's settings give to several methods."""
    name: str = ""
    """What a notebook calls the method."""
    number: str = ""
    description: str = ""
    log: str = ""
    """Where the log of its pre-training lies."""
    status: str = ""
    """How far it is, in words that follow from its cells."""
    imported: bool = False
    """Whether a notebook has a row of this method."""

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


def choose(groups: Sequence[Group], *, better: str, stale: Collection[Group] = ()) -> Group | None:
    """Return the recipe that validates best; the test score has no say.

    What is stale comes after all else. Recipes without a validation value come last; among equals
    the one with more runs, then the one whose digest sorts first, so that the choice does not
    depend on the order.
    """
    if len(groups) < 2:
        return groups[0] if groups else None
    sign = -1.0 if better == "higher" else 1.0

    def rank(group: Group) -> tuple[bool, bool, float, int, str]:
        chosen_by = group.selected_value
        by = (chosen_by is None, sign * (chosen_by or 0.0), -group.n, group.recipe)
        return (bool(stale) and group in stale, *by)

    return min(groups, key=rank)


def differences(groups: Sequence[Group]) -> tuple[str, ...]:
    """Return in what groups of one cell differ, so that they are not averaged."""
    parts = zip(*map(_TOLD_APART, groups), strict=True)
    return tuple(
        called
        for called, values in zip(DIFFERENCES.values(), parts, strict=True)
        if len(set(values)) > 1
    )


Facts = dict[str, Any]
"""Some fields of a cell. A cell is made once of all of them, which is what a large grid costs."""


def filled(group: Group) -> Facts:
    """Return what a cell says that shows the number of `group`."""
    return {
        "value": group.mean,
        "sd": group.sd if group.n > 1 else None,
        "n": group.n,
        "low": group.low,
        "high": group.high,
        "run_ids": group.run_ids,
        "recipe": group.recipe,
        "preset": group.preset,
        "validated": group.selected_value is not None,
        "train_split": group.train_split,
        "test_split": group.test_split,
    }


def cited(published: Paper | None, told: Sequence[Number]) -> Facts:
    """Return the paper's number: the one known here, else the one a notebook cites."""
    if published is not None:
        known = {"paper": published.value, "paper_source": published.source}
        return {**known, "paper_split": published.split}
    for number in reversed(told):
        if number.origin == "paper":
            source = number.cited or f"cited in {number.source}, line {number.line}"
            return {"paper": number.value, "paper_source": source}
    return {}


def copied(told: Sequence[Number]) -> Facts:
    """Return a notebook's own number, for a cell that has none by runs of this lab."""
    for number in reversed(told):
        if number.origin == "own":
            return {
                "value": number.value,
                "sd": number.sd,
                "n": number.n or 0,
                "low": number.low,
                "high": number.high,
                "preset": FOREIGN,
                "state": "foreign",
            }
    return {}


def floor_of(group: Group, others: Iterable[Group]) -> float | None:
    """Return what predicting nothing scores where `group` was tested; None where none says."""
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

    return [replace(cell, other=why) if (why := other(cell)) else cell for cell in cells]


def under_way(facts: Facts, runs: Sequence[OpenRun]) -> Facts:
    """Return the state that its unfinished `runs` give a cell; nothing where they give none.

    A number stands against runs that were stopped, lost or failed, but not against one that is
    running or waits: that one will change it.
    """
    if not runs:
        return {}
    by_state = {run.state: run for run in reversed(runs)}
    counts = UNDER_WAY if facts.get("value") is None else UNDER_WAY[:3]
    state = next((name for name in counts if name in by_state), "")
    if not state:
        return {}
    run = by_state[state]
    share = run.done / run.total if run.done is not None and run.total else None
    ids = (id for r in runs if r.state == state for id in (r.ids or r.run_id).split())
    return {
        "state": state,
        "progress": share if state == "running" else None,
        "run_ids": facts.get("run_ids") or tuple(ids),
    }


def build(
    methods: Mapping[str, MethodEntry],
    columns: Sequence[Column],
    groups: Iterable[Group],
    open_runs: Iterable[OpenRun],
    *,
    published: Mapping[Place, Paper],
    notebook: Iterable[Number] = (),
    encoders: Mapping[str, Encoder] | None = None,
) -> Grid:
    """Return the grid: a row for each method of `methods`, whether it has runs or not.

    Args:
        methods: the rows, from the catalog.
        columns: what is measured, as `cxrlab.columns` makes them.
        groups: finished runs, one for each recipe, cell and metric; of pre-training with the
            metrics `loss` and `time`.
        open_runs: runs that have not succeeded, newest first.
        published: the papers' numbers.
        notebook: numbers that notebooks have told of, the latest last.
        encoders: what the groups' encoders are now; see `cxrlab.grid.stale`.
    """
    groups = list(groups)
    stale = reasons(groups, encoders or {})
    finished: dict[Place, list[Group]] = {}
    for group in groups:
        key = (group.method, group.task, group.ratio, group.metric)
        finished.setdefault(key, []).append(group)
    waiting: dict[tuple[str, str, int | None], list[OpenRun]] = {}
    for run in open_runs:
        waiting.setdefault((run.method, run.task, run.ratio), []).append(run)
    told: dict[Place, tuple[Number, ...]] = {}
    for number in notebook:
        told[number.cell] = (*told.get(number.cell, ()), number)

    def cell(method: str, column: Column) -> Cell:
        key = (method, column.task, column.ratio, column.metric)
        numbers = told.get(key, ())
        facts: Facts = {
            "method": method,
            "task": column.task,
            "ratio": column.ratio,
            "metric": column.metric,
            "unit": column.unit,
            "notebook": numbers,
            **cited(published.get(key), numbers),
        }
        if column.task == PRETRAIN and not methods[method].pretrains:
            return Cell(**facts, state="none")
        candidates = finished.get(key, [])
        chosen = choose(candidates, better=column.better, stale=stale)
        if chosen is None:
            facts |= copied(numbers)
        else:
            nothing = finished.get((*key[:3], f"{column.metric}_nothing"), [])
            facts |= filled(chosen)
            facts |= {
                "others": len(candidates) - 1,
                "differs": differences(candidates) if len(candidates) > 1 else (),
                "floor": floor_of(chosen, nothing) if nothing else None,
                "stale": stale[chosen] if stale and chosen in stale else "",
                "state": "stale" if stale and chosen in stale else "succeeded",
            }
        return Cell(**(facts | under_way(facts, waiting.get(key[:3], ()))))

    by_column = [marked([cell(name, column) for name in methods]) for column in columns]
    rows = tuple(
        Row(name, entry.title, tuple(cells[number] for cells in by_column))
        for number, (name, entry) in enumerate(methods.items())
    )
    return Grid(rows, tuple(columns))


def sources(grid: Grid) -> list[tuple[Cell, str]]:
    """Return each cell with a paper's number, and where that number stands."""
    return [(cell, cell.paper_source) for cell in grid.cells() if cell.paper is not None]
