"""`cxrlab export`: write the grid in another form."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlab.access import AsJson, opened


class Form(StrEnum):
    """What the grid can be written as."""

    markdown = "markdown"


def export(
    ctx: typer.Context,
    form: Annotated[Form, typer.Option("--format", help="What to write.")] = Form.markdown,
    into: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Replace what stands between `<!-- cxrlab:grid -->` and `<!-- /cxrlab:grid -->`.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write the grid as a Markdown table, as GitHub renders it."""
    from cxrlab import console
    from cxrlab.cells import read_grid
    from cxrlab.exports.markdown import markdown, put_into

    with opened(ctx) as (lab, db):
        text = markdown(read_grid(db, lab.settings.grid))
    changed = put_into(into, text) if into is not None else False
    if as_json:
        facts = {"format": form.value, "text": text}
        console.facts(facts | ({"file": str(into), "changed": changed} if into else {}))
    elif into is None:
        console.fact(text.rstrip("\n"))
    elif changed:
        console.say(f"wrote the grid into {into}")
    else:
        console.say(f"{into} has this very grid already")
