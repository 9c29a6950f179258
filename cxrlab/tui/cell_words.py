"""How is a cell of the grid put into words? Functions from values to styled text.

The words are those of `cxrlab.grid`, the same as on the command line and in exports.
"""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from cxrlab import grid, ranking, text
from cxrlab.harmless import harmless
from cxrlab.tui.widgets.table import Column, Part
from trainers.catalog import METHODS, PRETRAIN, TASKS

MARKED = "◆"
"""Stands before the cell that others are compared with."""

Mark = tuple[str, str, int | None, str]
"""A cell's method, task, ratio and metric."""


def mark_of(cell: grid.Cell) -> Mark:
    """Return what a cell is known by while the grid is read again and again."""
    return (cell.method, cell.task, cell.ratio, cell.metric)


def what(place: Mark) -> str:
    """Return a cell in words: `mrm siim 10 % Dice`."""
    method, task, ratio, metric = place
    return " ".join([method, task, *([] if ratio is None else [f"{ratio} %"]), metric])


def copies_of(cell: grid.Cell) -> list[tuple[str, str]]:
    """Return what can be copied of a cell: its text, and the commands that show and launch it."""
    words = [cell.task, *([] if cell.ratio is None else [str(cell.ratio)]), cell.metric]
    found = [("cell", cell.text()), ("show", f"cxrlab show {'/'.join([cell.method, *words])}")]
    if cell.number() not in ("", cell.text()):
        found.insert(1, ("number", cell.number()))
    if cell.state != "none":
        ratio = "" if cell.ratio is None else f" --ratio {cell.ratio}"
        task = "" if cell.task == PRETRAIN else f" --task {cell.task}"
        found.append(("launch", f"cxrlab launch {cell.method}{task}{ratio}"))
    if cell.paper is not None:
        found.append(("source", cell.paper_source))
    return found


def columns_of(shown: grid.Grid, rows: Sequence[Sequence[Sequence[Part]]]) -> list[Column]:
    """Return the table's columns, each as wide as its widest cell."""
    names = [row[0][0][0] for row in rows]
    columns = [Column("method", max([10, *map(len, names)]))]
    for i, column in enumerate(shown.columns, start=1):
        above, below = column.heading()
        cells = [sum(len(part) for part, _ in row[i]) for row in rows]
        alone = sum(c.heading()[0] == above for c in shown.columns) == 1
        widest = max([len(below), len(above) if alone else 0, 9, *cells])
        columns.append(Column(below, widest, group=above))
    return columns


def best_cells(shown: grid.Grid) -> set[grid.Cell]:
    """Return the best cells of each task's column, among those that compare."""
    found = set()
    for i, column in enumerate(shown.columns):
        if column.task == PRETRAIN:
            continue
        cells = [row.cells[i] for row in shown.rows]
        ranked = ranking.ranks(cells, better=column.better)
        found |= {c for c, rank in zip(cells, ranked, strict=True) if rank == ranking.BEST}
    return found


def parts_of(cell: grid.Cell, *, best: bool, marked: bool = False) -> list[Part]:
    """Return a cell's text with its styles: the same words as everywhere, with the state's sign."""
    if cell.state == "none":
        return [(grid.NOT_APPLICABLE, "dim")]
    if marked:
        return [(f"{MARKED} ", "strong"), *parts_of(cell, best=best)]
    parts: list[Part] = []
    if cell.number():
        parts.append((cell.number(), "best" if best else ""))
    if cell.stale:
        parts.append((" stale", "lost"))
    if cell.under_way():
        sign = text.STATES[cell.state].symbol
        parts.append((f"{' ' if parts else ''}{sign} {cell.under_way()}", cell.state))
    if not parts:
        parts.append((grid.EMPTY, "dim"))
    if cell.bracket():
        parts.append((f" {cell.bracket()}", "paper"))
    return parts


def detail_of(cell: grid.Cell) -> Text:
    """Return two or three lines on a cell: what it is, what is known, what the paper says."""
    said = Text(no_wrap=True, overflow="ellipsis")
    title = PRETRAIN if cell.task == PRETRAIN else TASKS[cell.task].title
    ratio = "" if cell.ratio is None else f", {cell.ratio} % of the labels"
    said.append(f"{METHODS[cell.method].title}", "bold").append(f" · {title}{ratio}\n")
    said.append(_known(cell))
    if cell.paper is not None:
        source = harmless(cell.paper_source)
        said.append(f"\npaper {text.metric(cell.paper, cell.unit)}: {source}", "dim")
    return said


def _known(cell: grid.Cell) -> str:
    if cell.state == "none":
        return "a baseline: its encoder is taken as it is"
    parts = []
    if cell.number_told is not None:
        told = cell.number_told
        parts.append(f"{cell.metric} {cell.number()}, copied from {harmless(told.source)}")
        parts.append(f"line {told.line}, no run behind it")
        parts += [harmless(flaw) for flaw in told.flaws]
    elif cell.value is not None and cell.metric != "time":
        parts.append(f"{cell.metric} {cell.number()}")
        if cell.low is not None and cell.high is not None:
            low, high = text.metric(cell.low, cell.unit), text.metric(cell.high, cell.unit)
            parts.append(f"95 % interval {low} to {high}")
        parts.append(f"{cell.preset} preset, recipe {cell.recipe[:8]}")
        if cell.others:
            parts.append(f"{cell.others} more, which differ in {', '.join(cell.differs)}")
    elif cell.value is not None:
        parts.append(f"took {cell.number()}")
    if cell.stale:
        parts.append(f"stale: {harmless(cell.stale)}")
    if cell.under_way():
        parts.append(f"{text.STATES[cell.state].symbol} {cell.under_way()}")
    return " · ".join(parts) or "nothing has run here; `l` launches it"
