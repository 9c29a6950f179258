"""`cxrlab doctor`: what is missing on this machine, and the line that fixes it."""

from __future__ import annotations

import typer

from cxrlab.access import AsJson, lab_of

INDENT = 27
"""Before what is said of a finding."""

STYLES = {"ok": "green", "note": "dim", "warning": "yellow", "missing": "red"}


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say what is missing on this machine, and the line that fixes it.

    Exits with 1 where something is missing without which nothing can run.
    """
    from cxrlab import checkup, console
    from cxrlab.errors import NotFound

    try:
        lab = lab_of(ctx)
    except NotFound:
        if ctx.find_root().params.get("lab"):
            raise
        lab = None
    found = []
    for finding in checkup.findings(lab):
        found.append(finding)
        if not as_json:
            sign = checkup.SIGNS[finding.level]
            state = console.paint(f"{sign} {finding.level:<8}", STYLES[finding.level])
            first, *more = console.wrapped(finding.says, indent=INDENT, columns=console.width())
            for line in (f"{state} {finding.what:<15} {first[INDENT:]}", *more):
                console.fact(line)
            if finding.fix:  # on one line, however long, since it is copied
                console.fact(f"{'':<{INDENT}}fix: {finding.fix}")
    if as_json:
        console.facts([finding._asdict() for finding in found])
    if any(finding.level == "missing" for finding in found):
        raise typer.Exit(1)
