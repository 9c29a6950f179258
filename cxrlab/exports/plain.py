"""How the grid looks on a terminal, with what a reader must know below it."""

from __future__ import annotations

from cxrlab import console, text
from cxrlab.grid import Cell, Grid, notes


def page(shown: Grid, *, columns: int) -> list[str]:
    """Return the lines of the grid, and below them its notes."""
    said = [
        line for note in notes(shown) for line in console.wrapped(note, indent=2, columns=columns)
    ]
    return [*listing(shown, columns=columns), *(["", *said] if said else [])]


def listing(shown: Grid, *, columns: int) -> list[str]:
    """Return the lines of the grid, in blocks below one another where it is too wide."""
    first = ["method", *(row.method for row in shown.rows)]
    rest = [
        [*column.heading(), *(row.cells[i].text() for row in shown.rows)]
        for i, column in enumerate(shown.columns)
    ]
    looks = [[style(row.cells[i]) for row in shown.rows] for i in range(len(shown.columns))]
    room = columns - max(map(console.length, first))
    blocks: list[list[int]] = []
    left = 0
    for i, texts in enumerate(rest):
        needed = 2 + max(map(console.length, texts))
        if not blocks or needed > left:
            blocks.append([])
            left = room
        blocks[-1].append(i)
        left -= needed
    out: list[str] = []
    for block in blocks:
        rows = [
            ["", *(rest[i][1] for i in block)],
            *(
                [row.method, *(rest[i][2 + number] for i in block)]
                for number, row in enumerate(shown.rows)
            ),
        ]
        styles = [["bold"] * (1 + len(block))]
        styles += [["bold", *(looks[i][n] for i in block)] for n in range(len(shown.rows))]
        lines = console.table(["method", *(rest[i][0] for i in block)], rows, styles=styles)
        out += ["", *lines] if out else lines
    return out


def style(cell: Cell) -> str:
    """Return the style of a cell: that of its state, none for a number that stands."""
    if cell.value is not None:
        return ""
    return text.STATES[cell.state].style if cell.state in text.STATES else "dim"
