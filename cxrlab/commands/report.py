"""`cxrlab report`: write the lab as one HTML page."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlab.access import AsJson, IncludeRestricted, opened


class Language(StrEnum):
    """What the page can be written in."""

    en = "en"
    zh = "zh"


def report(
    ctx: typer.Context,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where to write it.")] = Path(
        "report.html"
    ),
    lang: Annotated[
        Language | None,
        typer.Option("--lang", help="The page's language.", show_default="the lab's"),
    ] = None,
    most_runs: Annotated[
        int, typer.Option("--runs", min=0, metavar="N", help="At most so many runs get a section.")
    ] = 200,
    picture_mib: Annotated[
        float,
        typer.Option("--pictures", min=0, metavar="MIB", help="How much its pictures may take."),
    ] = 6.0,
    include_restricted: IncludeRestricted = None,
    as_json: AsJson = False,
) -> None:
    """Write one HTML page with everything in it: the grid, and the runs behind its numbers.

    Of each run its curves, samples, results, origin and versions; then lines of descent, and what
    was noted down. It opens from disk without a network, prints, and is dark where the reader's
    screen is. Samples of restricted data sets are left out unless the set is named.
    """
    from cxrlab import console, restricted, text
    from cxrlab.errors import Usage
    from cxrlab.exports import report as making
    from cxrlab.exports.files import write_whole

    if out.is_dir():
        raise Usage(f"{out} is a folder", f"name a file: `--out {out / 'report.html'}`")
    with opened(ctx) as (lab, db):
        shown = restricted.including(lab, include_restricted)
        told = making.gather(shown, db, most_runs=most_runs, picture_bytes=int(picture_mib * 2**20))
    language = lang.value if lang else lab.settings.language
    content = making.page(told, "zh" if language == "zh" else "en").encode(errors="replace")
    write_whole(out, content)
    kept_back = sorted({section.kept_back for section in told.sections if section.kept_back})
    if as_json:
        console.facts(
            {
                "file": str(out.resolve()),
                "bytes": len(content),
                "runs": [section.run.id for section in told.sections],
                "runs_left_out": {"too_many": told.beyond, "behind_no_cell": told.elsewhere},
                "pictures": len(told.pictures),
                "picture_bytes": told.picture_bytes,
                "pictures_missing": told.pictures_missing,
                "restricted": kept_back,
            }
        )
        return
    console.fact(
        f"{out}: {text.plural(len(told.sections), 'run')}, "
        f"{text.plural(len(told.pictures), 'picture')}, {text.size(len(content))}"
    )
    if told.beyond:
        console.say(f"{text.plural(told.beyond, 'run')} left out; `--runs N` takes in more")
    if told.pictures_missing:
        missing = text.plural(told.pictures_missing, "picture")
        console.say(f"{missing} unreadable or without room; `--pictures MIB` makes more of it")
    for name in kept_back:
        console.say(f"samples {restricted.told(name)}")
