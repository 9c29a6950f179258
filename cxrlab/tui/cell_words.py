"""How is a cell of the grid put into words? Functions from values to styled text.

The words are those of `cxrlab.grid`, the same as on the command line and in exports.
"""

from __future__ import annotations

from rich.text import Text

from cxrlab import grid, text
from cxrlab.grid import ranking
from cxrlab.harmless import harmless
from cxrlab.tui import sentences, words
from cxrlab.tui.widgets.rows import Part
from cxrlab.tui.words import tr
from trainers.catalog import METHODS, PRETRAIN, TASKS

MARKED = "◆"
"""Stands before the cell that others are compared with."""

Mark = tuple[str, str, int | None, str]
"""A cell's method, task, ratio and metric."""


def mark_of(cell: grid.Cell) -> Mark:
    """Return what a cell is known by while the grid is read again and again."""
    return (cell.method, cell.task, cell.ratio, cell.metric)


def name_of(cell: grid.Cell) -> str:
    """Return what notes call a cell, whichever metric it is of: `mrm:siim:10`."""
    ratio = [] if cell.ratio is None else [str(cell.ratio)]
    return ":".join([cell.method, cell.task, *ratio])


def what(place: Mark) -> str:
    """Return a cell in words: `mrm siim 10 % Dice`."""
    method, task, ratio, metric = place
    return " ".join([method, task, *([] if ratio is None else [f"{ratio} %"]), metric])


def copies_of(cell: grid.Cell) -> list[tuple[str, str]]:
    """Return what can be copied of a cell: its text, and the commands that show and launch it."""
    place = [cell.task, *([] if cell.ratio is None else [str(cell.ratio)]), cell.metric]
    found = [
        (tr("cell"), cell.text()),
        (tr("show"), f"cxrlab show {'/'.join([cell.method, *place])}"),
    ]
    if cell.number() not in ("", cell.text()):
        found.insert(1, (tr("number"), cell.number()))
    if cell.state != "none":
        ratio = "" if cell.ratio is None else f" --ratio {cell.ratio}"
        task = "" if cell.task == PRETRAIN else f" --task {cell.task}"
        found.append((tr("launch"), f"cxrlab launch {cell.method}{task}{ratio}"))
    if cell.paper is not None:
        found.append((tr("source"), cell.paper_source))
    return found


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
        parts.append((f" {tr('stale')}", "lost"))
    if cell.under_way():
        parts.append((f"{' ' if parts else ''}{under_way(cell)}", cell.state))
    if not parts:
        parts.append((grid.EMPTY, "dim"))
    if cell.bracket():
        parts.append((f" {cell.bracket()}", "paper"))
    return parts


def detail_of(cell: grid.Cell) -> Text:
    """Return two or three lines on a cell: what it is, what is known, what the paper says."""
    said = Text(no_wrap=True, overflow="ellipsis")
    method, dot, task = title_of(cell).partition(" · ")
    said.append(method, "bold").append(f"{dot}{task}\n")
    said.append(_known(cell))
    if cell.paper is not None:
        said.append(f"\n{paper_of(cell)}", "dim")
    return said


def title_of(cell: grid.Cell) -> str:
    """Return what a cell is, in full."""
    task = tr(PRETRAIN) if cell.task == PRETRAIN else TASKS[cell.task].title
    said = f"{METHODS[cell.method].title} · {task}"
    if cell.ratio is not None:
        said = words.joined([said, tr("{n} % of the labels").format(n=cell.ratio)])
    return said


def under_way(cell: grid.Cell) -> str:
    """Return the state of the run that is not finished, with its sign and how far it is."""
    told = cell.under_way()  # the state and, of a running one, its share
    return f"{text.STATES[cell.state].symbol} {tr(cell.state)}{told.removeprefix(cell.state)}"


def interval_of(cell: grid.Cell) -> str:
    """Return the 95 % interval of a cell that has one."""
    low, high = text.metric(cell.low, cell.unit), text.metric(cell.high, cell.unit)
    return tr("95 % interval {low} to {high}").format(low=low, high=high)


def paper_of(cell: grid.Cell) -> str:
    """Return the paper's number with its source."""
    return f"{tr('paper')} {text.metric(cell.paper, cell.unit)}: {harmless(cell.paper_source)}"


def _known(cell: grid.Cell) -> str:
    if cell.state == "none":
        return tr("a baseline: its encoder is taken as it is")
    parts = []
    if cell.number_told is not None:
        told = cell.number_told
        copied = tr("copied from {file}, line {n}, no run behind it")
        place = copied.format(file=harmless(told.source), n=told.line)
        parts.append(words.joined([f"{cell.metric} {cell.number()}", place]))
        parts += [harmless(sentences.said(flaw)) for flaw in told.flaws]
    elif cell.value is not None and cell.metric != "time":
        parts.append(f"{cell.metric} {cell.number()}")
        if cell.low is not None and cell.high is not None:
            parts.append(interval_of(cell))
        recipe = tr("{preset} preset, recipe {recipe}")
        parts.append(recipe.format(preset=harmless(cell.preset), recipe=cell.recipe[:8]))
        if cell.others:
            differs = words.joined([tr(each) for each in cell.differs])
            others = tr("{n} more, which differ in {what}")
            parts.append(others.format(n=cell.others, what=differs))
    elif cell.value is not None:
        parts.append(tr("took {time}").format(time=cell.number()))
    if cell.stale:  # before what a narrow screen has no room for
        parts.insert(1, f"{tr('stale')}: {harmless(sentences.said(cell.stale))}")
    if cell.under_way():
        parts.append(under_way(cell))
    return " · ".join(parts) or tr("nothing has run here; `l` launches it")
