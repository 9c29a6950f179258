"""What do the pages say that take a while? Each function is called on a thread, gives lines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cxrlab import behind, grid
from cxrlab.columns import Column
from cxrlab.comparing import comparison, comparison_page, gap, gap_page
from cxrlab.exports import behind as behind_page
from cxrlab.lab import Lab
from cxrlab.tui import reading

Lines = Callable[[int], Sequence[str]]


def everything(lab: Lab, cell: grid.Cell) -> Lines:
    """Return all that `cxrlab show CELL` tells of a cell."""
    column = Column(
        task=cell.task, ratio=cell.ratio, metric=cell.metric, unit=cell.unit, better="higher"
    )
    with reading.registry(lab) as db:
        found = behind.look(db, lab.settings.grid, cell.method, column)
    return lambda width: behind_page.page(found, columns=width)


def compared(lab: Lab, names: tuple[str, str], cell: grid.Cell | None) -> Lines:
    """Return whether one side is better than the other, the verdict first.

    Args:
        lab: where the runs are.
        names: A and B: methods, runs, or `paper` for B.
        cell: in whose column; in all that both have where it is None.
    """
    asked = comparison.Asked()
    if cell is not None:
        ratios = () if cell.ratio is None else (cell.ratio,)
        asked = comparison.Asked((cell.task,), ratios, (cell.metric,))
    with reading.registry(lab) as db:
        found = comparison.compare(lab, db, names, asked, say=lambda _: None)
    verdict = comparison_page.summary(found)
    return lambda width: [
        *verdict,
        "",
        *comparison_page.page(found, columns=width, classes=False, verdict=False),
    ]


def distance(lab: Lab, cell: grid.Cell) -> Lines:
    """Return how far a method is from its paper, the cell asked about first."""
    with reading.registry(lab) as db:
        found = gap.gaps(lab, db, [cell.method])
    place = (cell.task, cell.ratio, cell.metric)
    found.sort(key=lambda one: (one.task, one.ratio, one.metric) != place)
    if not found:
        return lambda width: [f"no paper's number of {cell.method} is known"]
    return lambda width: [
        *gap_page.page(found[:1], columns=width, everything=True),
        *(["", *gap_page.page(found[1:], columns=width, everything=False)] if found[1:] else []),
    ]
