"""`cxrlab init`: make a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cxrlab.access import AsJson


def init(
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="The folder; made where it is missing.")
    ] = Path(),
    as_json: AsJson = False,
) -> None:
    """Make a lab: a folder for settings, runs and results.

    A folder that is a lab already is completed; nothing in it is overwritten.
    """
    from cxrlab import console
    from cxrlab.lab import SETTINGS_NAME, make_lab
    from store.db import open_store

    there = (folder / SETTINGS_NAME).exists()
    lab = make_lab(folder)
    open_store(lab.registry).conn.close()
    if as_json:
        console.facts({"lab": str(lab.root), "made": not there})
        return
    console.fact(f"{lab.root} is a lab already" if there else f"made a lab at {lab.root}")
    if not there:
        console.say(f"next: say in {lab.settings_file} where your data lies, or")
        console.say("      make some: `cxrlab data generate --use`")
        console.say("then: `cxrlab launch mrm --task siim --ratio 10`")
