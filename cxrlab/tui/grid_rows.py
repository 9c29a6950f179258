"""How is the grid laid out as a table: which line shows which method, and what stands in a column?

Texts of the rows stand around the numbers as in a notebook and in the exports.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.cells import cell_len
from rich.text import Text

from cxrlab import entries, grid
from cxrlab.exports.layout import clean, places_of
from cxrlab.exports.words import say
from cxrlab.tui import cell_words, telling, words
from cxrlab.tui.cell_words import Mark
from cxrlab.tui.widgets.rows import Column, Line, Part, Span
from cxrlab.tui.words import tr
from trainers.catalog import PRETRAIN

WIDEST = {"number": 6, "description": 30, "log": 26, "status": 40}
"""Cells of the columns that hold texts; the line below the table has all of a text."""

MOST_LINES = 4
"""Lines of a text that are shown below the table."""


class Laid(NamedTuple):
    """The grid as a table."""

    columns: Sequence[Column] = ()
    lines: Sequence[Line] = ()
    rows: Sequence[grid.Row | None] = ()
    """What each line shows; None for the head of a group."""
    places: Sequence[int | str] = ()
    """What stands in each column after the first: the index of a cell, or the name of a text."""

    @property
    def first_number(self) -> int:
        """The first column that holds numbers."""
        return next((i for i, p in enumerate(self.places, 1) if isinstance(p, int)), 1)


def laid_out(shown: grid.Grid, *, root: Path, marked: Mark | None) -> Laid:
    """Return the grid as a table; methods of one group stand under its name."""
    best = cell_words.best_cells(shown)
    places = places_of(shown)
    lines: list[Line] = []
    rows: list[grid.Row | None] = []
    group = ""
    for row in shown.rows:
        if row.group and row.group != group:
            lines.append(Span([(clean(row.group), "group")]))
            rows.append(None)
        group = row.group
        parts: list[Sequence[Part]] = [[(row.method, "strong")]]
        for place in places:
            if isinstance(place, str):
                parts.append([(text_of(row, place, root=root), "dim" * (place != "status"))])
                continue
            cell = row.cells[place]
            is_marked = cell_words.mark_of(cell) == marked
            parts.append(cell_words.parts_of(cell, best=cell in best, marked=is_marked))
        lines.append(parts)
        rows.append(row)
    return Laid(_columns(shown, places, lines), lines, rows, places)


def text_of(row: grid.Row, name: str, *, root: Path) -> str:
    """Return a text of a row on one line; a place in the lab as seen from there."""
    said = row.text(name)
    return telling.within(Path(said), root) if name == "log" and said else clean(said)


def _columns(shown: grid.Grid, places: Sequence[int | str], lines: Sequence[Line]) -> list[Column]:
    """Return the columns, each as wide as its widest cell, as far as that may be."""
    filled = [line for line in lines if not isinstance(line, Span)]

    def widest(at: int) -> int:
        return max((sum(cell_len(part) for part, _ in line[at]) for line in filled), default=0)

    columns = [Column(tr("method"), max(10, widest(0)))]
    for at, place in enumerate(places, start=1):
        if isinstance(place, str):
            title = heading(place)
            width = max(cell_len(title), min(WIDEST[place], widest(at)))
            above = tr("pre-training") if place == "log" else ""
            columns.append(Column(title, width, group=above))
            continue
        above, below = map(tr, shown.columns[place].heading())
        alone = sum(tr(c.heading()[0]) == above for c in shown.columns) == 1
        alone = alone and not (above == tr("pre-training") and "log" in places)
        width = max(cell_len(below), cell_len(above) if alone else 0, 9, widest(at))
        columns.append(Column(below, width, group=above))
    return columns


def heading(name: str) -> str:
    """Return what stands over a text of the rows."""
    return say(name, "zh" if words.spoken() == "zh" else "en")


def detail_of(row: grid.Row, name: str, *, root: Path, width: int) -> Text:
    """Return a text of a row in full, as far as a few lines hold it."""
    said = Text(row.method, "bold")
    said.append(f" · {heading(name)}", "not bold")
    if row.name and row.name != row.method:
        called = tr("in the notebook: {name}").format(name=clean(row.name))
        said.append(f" · {called}", "dim not bold")
    whole = entries.folded(text_of(row, name, root=root) or grid.EMPTY, columns=width)
    if len(whole) > MOST_LINES:
        whole = [*whole[: MOST_LINES - 1], f"{whole[MOST_LINES - 1]} …"]
    return said.append("\n" + "\n".join(whole), "not bold")


def log_of(row: grid.Row) -> str:
    """Return the id of the run whose log a row names; empty where no run of this lab wrote it."""
    ids = (cell.run_ids for cell in row.cells if cell.task == PRETRAIN and cell.run_ids)
    return next(ids, ("",))[0]
