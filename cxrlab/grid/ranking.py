"""Which numbers of a column are its best and second, and which of them may be compared at all?

Numbers that are equal as shown share a rank, and those below count on: of two that are best there
is no second. Where no number differs from another none is ranked: the only one is not the best.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from cxrlab import text
from cxrlab.grid import Cell

BEST, SECOND = 1, 2


def ranks(cells: Sequence[Cell], *, better: str) -> list[int]:
    """Return for each cell of one column `BEST`, `SECOND`, or 0 for all others.

    Args:
        cells: the column.
        better: `higher` or `lower`.
    """
    counts = comparable(cells)
    values = [round_as_shown(cell) if c else None for cell, c in zip(cells, counts, strict=True)]
    known = sorted((v for v in values if v is not None), reverse=better == "higher")
    if len(set(known)) < 2:
        return [0] * len(cells)
    first, second = known[0], known[1]
    rank = {second: SECOND, first: BEST}
    return [0 if value is None else rank.get(value, 0) for value in values]


def comparable(cells: Sequence[Cell]) -> list[bool]:
    """Return for each cell of one column whether its number takes part in the ranking.

    Not where it is stale, of another split than its column's, made with preset `quick` while
    others are not, or made elsewhere and tested on nobody knows what. Losses never do, for each
    method has its own.
    """
    may = [_stands(cell) for cell in cells]
    full = any(m and cell.preset != "quick" for m, cell in zip(may, cells, strict=True))
    return [m and not (full and cell.preset == "quick") for m, cell in zip(may, cells, strict=True)]


def _stands(cell: Cell) -> bool:
    if cell.value is None or not math.isfinite(cell.value) or cell.unit not in ("share", "s"):
        return False
    if cell.stale or cell.other:
        return False
    return not cell.foreign or bool(cell.test_split)


def round_as_shown(cell: Cell) -> float:
    """Return the number of a cell to the precision at which `cxrlab.text` writes it."""
    assert cell.value is not None, cell
    if cell.unit != "s":
        return float(text.metric(cell.value, cell.unit))
    whole = max(0, round(cell.value))
    size = 1 if whole < 3600 else 60 if whole < 86400 else 3600
    return float(whole // size * size)
