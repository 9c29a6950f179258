"""What must a reader know to read the numbers of a grid? A sentence each. Touches nothing."""

from __future__ import annotations

from collections.abc import Sequence

from cxrlab import text
from cxrlab.grid import FOREIGN_MARK, SPLIT_MARKS, Cell, Grid
from trainers.catalog import PRETRAIN_ENTRY, TASKS

METRIC_NOTES = {
    "Dice": "Dice in percent, the mean over test images; an image without the finding counts 100 "
    "when nothing is predicted in it, else 0",
    "AUROC": "AUROC in percent, the area under the ROC curve on the test set",
    "loss": "val loss: the sum of the method's own losses on held-out records, so it compares runs "
    "of one method, not methods with one another",
    "time": "time: how long pre-training took, the sum over all its attempts",
}


def notes(grid: Grid) -> list[str]:
    """Return what a reader must know to read the numbers of `grid`, a sentence each."""
    shown = [cell for cell in grid.cells() if cell.value is not None]
    told = []
    if any(cell.n > 1 for cell in shown):
        told.append("`72.9 ±0.4 (3)`: mean ± standard deviation over seeds, and how many")
    if any(cell.n == 1 for cell in shown):
        told.append("`(1)`: a single seed, which says nothing of the spread between seeds")
    told += difference_notes(shown)
    used = {column.metric: None for column in grid.columns}
    told += [
        METRIC_NOTES[n] for n in used if n in METRIC_NOTES and any(c.metric == n for c in shown)
    ]
    told += floor_notes(shown)
    told += split_notes(shown)
    told += preset_notes(shown)
    told += stale_notes(shown)
    told += foreign_notes(shown)
    told += notebook_notes(grid.cells())
    if any(cell.paper is not None for cell in grid.cells()):
        told.append("`[73.2]`: the paper's number")
    told += paper_notes(shown)
    return told


def paper_notes(shown: Sequence[Cell]) -> list[str]:
    """Return which numbers are on another division of the data than the paper's beside them."""
    apart: dict[tuple[str, str], list[str]] = {}
    for cell in shown:
        if cell.own_split:
            apart.setdefault((cell.paper_split, cell.own_split), []).append(where(cell))
    return [
        f"not comparable with the paper's number, which is on {papers}, while these are on the "
        f"division `{own}`: {', '.join(cells)}"
        for (papers, own), cells in apart.items()
    ]


def difference_notes(shown: Sequence[Cell]) -> list[str]:
    """Return in what the runs of cells differ whose number is not the mean of all of them."""
    if not any(cell.others for cell in shown):
        return []
    ways: dict[str, list[str]] = {}
    for cell in shown:
        if cell.others:
            ways.setdefault(" and ".join(cell.differs) or "recipe", []).append(where(cell))
    told = "; ".join(f"in {way}: {', '.join(cells)}" for way, cells in ways.items())
    return [
        "`+2`: further recipes, or splits, with a number; shown is the one that validates best. "
        f"Not averaged, since they differ {told}"
    ]


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


def stale_notes(shown: Sequence[Cell]) -> list[str]:
    """Return which numbers no longer follow from their encoder, and why, a sentence a reason."""
    reasons: dict[str, list[str]] = {}
    for cell in shown:
        if cell.stale:
            reasons.setdefault(cell.stale, []).append(where(cell))
    return [f"`stale`, {reason}: {', '.join(cells)}" for reason, cells in reasons.items()]


def foreign_notes(shown: Sequence[Cell]) -> list[str]:
    """Return which numbers were not made here, and what is wrong with those of a notebook."""
    made = [cell for cell in shown if cell.foreign and not cell.number_told]
    copied = [cell for cell in shown if cell.number_told]
    told = []
    if made:
        names = ", ".join(map(where, made))
        how = "of logs or predictions made elsewhere and brought in"
        told.append(f"`{FOREIGN_MARK}`: {how}: {names}")
    if copied:
        sources = dict.fromkeys(cell.number_told.source for cell in copied if cell.number_told)
        told.append(
            f"`{FOREIGN_MARK}`: copied from {' and '.join(sources)}, with no run behind it: "
            + ", ".join(map(where, copied))
        )
    flaws: dict[str, list[str]] = {}
    for cell in copied:
        for flaw in cell.number_told.flaws if cell.number_told else ():
            flaws.setdefault(flaw, []).append(where(cell))
    return told + [f"{flaw}: {', '.join(cells)}" for flaw, cells in flaws.items()]


def notebook_notes(cells: Sequence[Cell]) -> list[str]:
    """Return where a notebook has a number besides the one shown, or cites a paper otherwise."""
    own, cited = [], []
    for cell in cells:
        for number in cell.notebook:
            said = f"{where(cell)} {text.metric(number.value, cell.unit)}"
            if cell.unit == "s":
                said = f"{where(cell)} {text.duration(number.value)}"
            if number.origin == "own" and cell.n and cell.number_told is None:
                own.append(f"{said} ({number.source}:{number.line})")
            differs = cell.paper is not None and abs(number.value - cell.paper) > 1e-9
            if number.origin == "paper" and differs:
                cited.append(f"{said} ({number.source}:{number.line})")
    told = [f"a notebook has numbers of its own here too: {', '.join(own)}"] if own else []
    if cited:
        told.append(f"a notebook cites the paper with another number: {', '.join(cited)}")
    return told + cited_notes(cells)


def cited_notes(cells: Sequence[Cell]) -> list[str]:
    """Return what is wrong with the papers' numbers that are known from a notebook alone."""
    flaws: dict[str, list[str]] = {}
    for cell in cells:
        number = next((n for n in reversed(cell.notebook) if n.origin == "paper"), None)
        if number is not None and number.value == cell.paper:
            for flaw in number.flaws:
                flaws.setdefault(flaw, []).append(where(cell))
    return [f"{flaw}: {', '.join(names)}" for flaw, names in flaws.items()]


def where(cell: Cell) -> str:
    """Return a cell's place in words: `mrm siim 10 %`; its metric where that is not the task's."""
    ratio = f" {cell.ratio} %" if cell.ratio is not None else ""
    usual = TASKS[cell.task].metric if cell.task in TASKS else PRETRAIN_ENTRY.metric
    metric = "" if cell.metric == usual else f" {cell.metric}"
    return f"{cell.method} {cell.task}{metric}{ratio}"
