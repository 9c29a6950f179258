"""How the grid looks on a terminal, with what a reader must know below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from cxrlab import console, text
from cxrlab.grid import Cell, Grid, Row
from cxrlab.grid.remarks import notes
from trainers.catalog import PRETRAIN


class Shown(NamedTuple):
    """One column: two lines of heading, and a text with its style for each row."""

    above: str
    below: str
    texts: tuple[str, ...]
    styles: tuple[str, ...]

    @property
    def width(self) -> int:
        """How many columns of the terminal it takes."""
        return max(map(console.length, (self.above, self.below, *self.texts)))


def page(shown: Grid, *, columns: int) -> list[str]:
    """Return the lines of the grid, and below them its notes."""
    said = [
        line for note in notes(shown) for line in console.wrapped(note, indent=2, columns=columns)
    ]
    return [*listing(shown, columns=columns), *(["", *said] if said else [])]


def listing(shown: Grid, *, columns: int) -> list[str]:
    """Return the lines of the grid, in blocks below one another where it is too wide."""
    room = columns - max(map(console.length, ["method", *(row.method for row in shown.rows)]))
    blocks: list[list[Shown]] = []
    left = 0
    for column in columns_of(shown):
        needed = 2 + column.width
        if not blocks or needed > left:
            blocks.append([])
            left = room
        blocks[-1].append(column)
        left -= needed
    out: list[str] = []
    for block in blocks:
        out += ["", *lines_of(shown.rows, block)] if out else lines_of(shown.rows, block)
    return out


def columns_of(shown: Grid) -> list[Shown]:
    """Return all columns but the method's, in the notebook's order: texts stand around numbers."""
    measured = [
        Shown(
            *column.heading(),
            tuple(row.cells[i].text() for row in shown.rows),
            tuple(style(row.cells[i]) for row in shown.rows),
        )
        for i, column in enumerate(shown.columns)
    ]
    first = sum(column.task == PRETRAIN for column in shown.columns)
    told = {
        field: Shown(
            "pre-training" if field == "log" else "",
            field,
            tuple(row.text(field) for row in shown.rows),
            tuple("" for _ in shown.rows),
        )
        for field in shown.fields
    }
    before = [told[field] for field in ("number", "description") if field in told]
    log, status = ([told[field]] if field in told else [] for field in ("log", "status"))
    return [*before, *measured[:first], *log, *measured[first:], *status]


def lines_of(rows: Sequence[Row], block: Sequence[Shown]) -> list[str]:
    """Return the lines of one block; a group of methods has its name above it."""
    texts = [["", *(column.below for column in block)]]
    styles = [["bold"] * (1 + len(block))]
    group = ""
    for number, row in enumerate(rows):
        if row.group and row.group != group:
            texts.append([row.group, *("" for _ in block)])
            styles.append(["dim"] * (1 + len(block)))
        group = row.group
        texts.append([row.method, *(column.texts[number] for column in block)])
        styles.append(["bold", *(column.styles[number] for column in block)])
    return console.table(["method", *(column.above for column in block)], texts, styles=styles)


def style(cell: Cell) -> str:
    """Return the style of a cell: that of its state, none for a number that stands."""
    if cell.value is not None:
        return ""
    return text.STATES[cell.state].style if cell.state in text.STATES else "dim"
