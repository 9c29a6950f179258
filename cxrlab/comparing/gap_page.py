"""How does the distance from the papers' numbers look? Lines of a terminal, a block a cell."""

from __future__ import annotations

from collections.abc import Sequence

from cxrlab import console, text
from cxrlab.comparing.gap import Gap
from cxrlab.comparing.verdicts import signed
from cxrlab.harmless import harmless

SHOWN = 4
"""How many differences of a cell are told where not all are asked for."""


def page(found: Sequence[Gap], *, columns: int, everything: bool) -> list[str]:
    """Return the lines that tell of all cells."""
    lines: list[str] = []
    for one in found:
        if one.value is not None or everything:
            lines += [""] if lines else []
            lines += told(one, columns=columns, everything=everything)
    empty = [f"{one.method} {cell(one)}" for one in found if one.value is None]
    if empty and not everything:
        lines += [""] if lines else []
        lines += console.wrapped(
            f"no number of this lab yet: {', '.join(empty)}", indent=0, columns=columns
        )
    return lines


def told(one: Gap, *, columns: int, everything: bool) -> list[str]:
    """Return the lines that tell of one cell: the distance, then what might explain it."""
    paper = text.metric(one.paper)
    if one.value is None:
        return [f"{one.method} {cell(one)}: no number of this lab yet, paper {paper}"]
    spread = f" ±{text.metric(one.sd)}" if one.sd is not None else ""
    runs = f" ({one.n})" if one.n else f" ({one.where})"
    head = f"{one.method} {cell(one)}: {signed(one.distance)} "
    head += f"({text.metric(one.value)}{spread}{runs}, paper {paper})"
    lines = [console.paint(head, "bold")]
    shown = one.differences if everything else one.differences[:SHOWN]
    for number, each in enumerate(shown, start=1):
        part = f", {each.part}" if each.part else ""
        lines += console.wrapped(
            f"{number}. {each.topic}{part}: {harmless(each.said)}", indent=3, columns=columns
        )
    left = len(one.differences) - len(shown)
    if left:
        noun = "difference" if left == 1 else "differences"
        lines += [f"   {left} further {noun}; `--all` tells them"]
    if not one.differences:
        lines += ["   no difference from the paper's recipe is known"]
    for note in one.notes:
        lines += console.wrapped(f"- {harmless(note)}", indent=3, columns=columns)
    if everything:
        lines += console.wrapped(f"- the paper's number: {one.source}", indent=3, columns=columns)
    return lines


def cell(one: Gap) -> str:
    """Return a cell's place without its method: `nih 10 % AUROC`."""
    ratio = f" {one.ratio} %" if one.ratio is not None else ""
    return f"{one.task}{ratio} {one.metric}"
