"""`cxrlab init`: make a lab."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cxrlab.access import AsJson


class Share(StrEnum):
    """Who may read runs and registry."""

    PRIVATE = "private"
    GROUP = "group"


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder; made where it is missing.")
    ] = Path(),
    share: Annotated[
        Share | None,
        typer.Option(
            help="Who may read runs and registry: you alone, or the group of your files. "
            "[default: private]",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a lab: a folder for settings, runs and results.

    A folder that is a lab already is completed; nothing in it is overwritten. Others may read
    neither runs nor registry, unless `--share group` says so; that can be said later, too.
    """
    from cxrlab import console, ownership
    from cxrlab.access import registry_of
    from cxrlab.lab import SETTINGS_NAME, find_lab, make_lab, open_doors

    there = (folder / SETTINGS_NAME).exists()
    if there:
        ownership.check(find_lab(folder))
    lab = make_lab(folder, share=share.value if share else None)
    with registry_of(lab, look=False):
        pass
    open_doors(lab)
    shared = lab.settings.share
    if as_json:
        console.facts({"lab": str(lab.root), "made": not there, "share": shared})
        return
    console.fact(f"{lab.root} is a lab already" if there else f"made a lab at {lab.root}")
    if share:
        who = "the group of its files" if shared == "group" else "you alone"
        console.say(f"its runs and registry may be read by {who}")
    if not there:
        console.say(f"next: say in {lab.settings_file} where your data lies, or")
        console.say("      make some: `cxrlab data generate --use`")
        console.say("then: `cxrlab launch mrm --task siim --ratio 10`")
