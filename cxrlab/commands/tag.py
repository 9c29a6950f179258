"""`cxrlab tag`: give runs tags, take them away, or list them."""

from __future__ import annotations

from typing import Annotated

import typer

from cxrlab import completion
from cxrlab.access import AsJson, named, opened

app = typer.Typer(add_completion=False, rich_markup_mode=None)


# `-y` is a tag to take away and no option
@app.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": True})
def tag(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="RUN... [+TAG] [-TAG]",
            help="Runs, and what to give them (`+x`) or to take away (`-x`).",
            autocompletion=completion.run_ids,
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Give runs tags, take them away, or list them.

    `cxrlab tag k7f2qa +baseline -draft` changes them, `cxrlab tag k7f2qa` lists a run's, and
    `cxrlab tag` lists all. `cxrlab runs --filter tag:baseline` finds what has one.
    """
    from cxrlab import console, tagging
    from cxrlab.errors import Usage
    from store import tags

    said = tagging.read(words or [])
    if not said.rest and (said.add or said.drop):
        raise Usage("no run is named", "such as `cxrlab tag k7f2qa +baseline`")
    with opened(ctx) as (_, db):
        if not said.rest:
            every = tags.counts(db)
            if as_json:
                console.facts(every)
            elif every:
                rows = [[name, str(count)] for name, count in every.items()]
                for line in console.table(("tag", "runs"), rows, right=(1,)):
                    console.fact(line)
            else:
                console.say("no run has a tag yet; `cxrlab tag RUN +NAME` gives one")
            return
        chosen = [run.id for run in named(db, list(said.rest))]
        if said.add or said.drop:
            tags.change(db, chosen, add=said.add, drop=said.drop)
        found = tags.of(db, chosen)
    if as_json:
        console.facts([{"id": id, "tags": found.get(id, ())} for id in chosen])
        return
    for id in chosen:
        console.fact(f"{id}  {' '.join(f'#{each}' for each in found.get(id, ())) or 'no tag'}")
