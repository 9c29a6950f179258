"""`cxrlab tui`: open the dashboard."""

from __future__ import annotations

import sys

import typer

from cxrlab.access import IncludeRestricted, lab_of


def tui(ctx: typer.Context, include_restricted: IncludeRestricted = None) -> None:
    """Open the dashboard: the grid, the runs, a run's log and curves, the GPUs, all live.

    Closing it stops nothing.
    """
    from cxrlab import restricted
    from cxrlab.errors import Usage

    lab = restricted.including(lab_of(ctx), include_restricted)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Usage("the dashboard needs a terminal", "`cxrlab runs` and `cxrlab grid` do not")
    from cxrlab.tui.app import run_tui

    run_tui(lab)
