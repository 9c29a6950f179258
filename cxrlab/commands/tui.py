"""`cxrlab tui`: open the dashboard, in the terminal or in a browser."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from cxrlab.access import IncludeRestricted, lab_of

if TYPE_CHECKING:
    from cxrlab.lab import Lab


def tui(
    ctx: typer.Context,
    include_restricted: IncludeRestricted = None,
    web: Annotated[
        bool,
        typer.Option(
            "--web", help="Serve it to a browser on this machine, behind a one-time link."
        ),
    ] = False,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", help="With --web: where to listen.")
    ] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="With --web: the port; the first free one from 8765 by default."
        ),
    ] = None,
    allow_remote: Annotated[
        bool,
        typer.Option("--allow-remote", help="With --web: let --host be reached by other machines."),
    ] = False,
) -> None:
    """Open the dashboard: the grid, the runs, a run's log and curves, the GPUs, all live.

    Closing it stops nothing.
    """
    from cxrlab import restricted
    from cxrlab.errors import Usage

    lab = restricted.including(lab_of(ctx), include_restricted)
    if web:
        _serve(lab, include_restricted or [], host=host, port=port, allow_remote=allow_remote)
        return
    in_browser = "TEXTUAL_DRIVER" in os.environ
    if not in_browser and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Usage("the dashboard needs a terminal", "`cxrlab runs` and `cxrlab grid` do not")
    if not in_browser and not sys.stderr.isatty():
        raise Usage("the dashboard draws on stderr, which is no terminal here", "leave out `2>`")
    from cxrlab.access import registry_of
    from cxrlab.tui.app import run_tui

    with registry_of(lab, look=False):  # it may have been moved
        pass
    run_tui(lab)


def _serve(lab: Lab, shown: list[str], *, host: str, port: int | None, allow_remote: bool) -> None:
    """Serve dashboards of `lab` until interrupted."""
    from cxrlab.tui import web

    web.check(host, remote=allow_remote)
    listening = web.listen(host, port)
    at = listening.getsockname()[1]
    names = _names(host)

    def say(token: str) -> None:
        print(f"http://{names[0]}:{at}/?token={token}", flush=True)

    arguments = [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), "tui"]
    arguments += [word for each in shown for word in ("--include-restricted", each)]
    gate = web.Gate(arguments, lab=lab.root.name, hosts=names, say=say)
    sys.stderr.write("each link opens the dashboard in one browser, once; Ctrl+C ends it\n")
    say(gate.token)
    web.serve(gate, listening)


def _names(host: str) -> list[str]:
    """Return what the machine may be called by in an address, the best to type first."""
    import socket

    from cxrlab.tui.web import is_everywhere, is_loopback

    own = f"[{host}]" if ":" in host else host
    if is_loopback(host):
        return [own]
    others = [socket.gethostname(), socket.getfqdn()]
    return others if is_everywhere(host) else [own, *others]
