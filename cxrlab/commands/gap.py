"""`cxrlab gap`: tell how far cells are from their papers' numbers, and what might explain it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from cxrlab import completion
from cxrlab.access import AsJson, opened

if TYPE_CHECKING:
    from cxrlab.comparing.gap import Gap


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
    from cxrlab.comparing import gap_page
    from cxrlab.comparing.gap import gaps
    from cxrlab.errors import unknown_name
    from trainers.catalog import METHODS

    for name in method or ():
        if name not in METHODS:
            raise unknown_name("method", name, METHODS)
    with opened(ctx) as (lab, db):
        found = gaps(lab, db, method or ())
    if as_json:
        console.facts([facts(one) for one in found])
        return
    for line in gap_page.page(found, columns=console.width(), everything=everything):
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
