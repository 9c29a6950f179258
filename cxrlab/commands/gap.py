"""`cxrlab gap`: tell how far cells are from their papers' numbers, and what might explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.gap import Gap

SHOWN = 4
"""How many differences of a cell are told where not all are asked for."""


def gap(
    ctx: typer.Context,
    method: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[METHOD...]",
            help="Only these methods. [default: all with a paper's number]",
            autocompletion=completion.methods,
            show_default=False,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every difference, and the cells without a number too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Tell how far each cell is from its paper's number, and what might explain the distance.

    The cell furthest behind comes first. Below it stand the differences between what was run here
    and the preset `paper`, the likeliest to matter first: preset, data, split, initial weights,
    architecture, normalisation, objective, batch and learning rate, schedule, optimiser,
    augmentation. That order is fixed and the same for all; nothing is proved by it.
    """
    from cxrlab import console
    from cxrlab.errors import unknown_name
    from cxrlab.gap import gaps
    from trainers.catalog import METHODS

    for name in method or ():
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
    with opened(ctx) as (lab, db):
        found = gaps(lab, db, method or ())
    if as_json:
        console.facts([facts(one) for one in found])
        return
    for line in page(found, columns=console.width(), everything=everything):
        console.fact(line)
    if not found:
        console.say(f"no paper's number of {', '.join(method or ())} is known")


def facts(one: Gap) -> dict[str, Any]:
    """Return a cell as `--json` gives it: shares in [0, 1], differences the likeliest first."""
    from dataclasses import asdict

    return {
        **asdict(one),
        "distance": one.distance,
        "differences": [each._asdict() for each in one.differences],
    }


def page(found: list[Gap], *, columns: int, everything: bool) -> list[str]:
    """Return the lines that tell of all cells."""
    from cxrlab import console

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
    from cxrlab import console, text
    from cxrlab.harmless import harmless
    from cxrlab.verdicts import signed

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
