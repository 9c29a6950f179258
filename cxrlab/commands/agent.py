"""`cxrlab agent`: start, stop or look at the lab's background process."""

from __future__ import annotations

import time
from typing import Any

import typer

from cxrlab.access import AsJson, lab_of, registry_of

START_S = 15.0
"""How long a new agent may take to come up."""

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def agent() -> None:
    """Start, stop or look at the lab's agent: it starts the runs that wait.

    Runs do not depend on it. It ends by itself when nothing waits or runs.
    """


@app.command()
def start(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Start the agent, unless one lives."""
    from cxrlab import agent as agents
    from cxrlab.errors import CxrlabError

    lab = lab_of(ctx)
    with registry_of(lab):  # an agent ends where there is no registry to look after
        there = agents.status(lab).alive
    agents.ensure_agent(lab)
    deadline = time.monotonic() + START_S
    while not (status := agents.status(lab)).alive:
        if time.monotonic() > deadline:
            raise CxrlabError("the agent does not come up", f"{lab.agent_log} may say why")
        time.sleep(0.05)
    tell(status, "is there already" if there else "started", as_json=as_json)


@app.command()
def stop(ctx: typer.Context, as_json: AsJson = False) -> None:
    """End the agent; what runs goes on, what waits goes on waiting."""
    from cxrlab import agent as agents

    lab = lab_of(ctx)
    there = agents.end(lab)
    tell(agents.status(lab), "ended" if there else "none lives", as_json=as_json)


@app.command("status")
def told(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say whether an agent lives."""
    from cxrlab import agent as agents

    status = agents.status(lab_of(ctx))
    tell(status, "lives" if status.alive else "none lives", as_json=as_json)


def tell(status: Any, what: str, *, as_json: bool) -> None:
    """Print the state of the agent."""
    from cxrlab import console, text

    if as_json:
        console.facts({"alive": status.alive, "pid": status.pid, "since": status.since})
        return
    where = (
        f" (pid {status.pid}, since {text.ago(status.since, time.time())})" if status.pid else ""
    )
    console.fact(f"agent: {what}{where}")
