"""`cxrlab agent`: start, stop or look at the lab's background process, or have systemd keep it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from cxrlab.access import AsJson, lab_of, registry_of

START_S = 60.0
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
    from cxrlab import console, unit

    lab = lab_of(ctx)
    there = agents.end(lab)
    tell(agents.status(lab), "ended" if there else "none lives", as_json=as_json)
    if unit.enabled(lab):
        console.say(f"systemd starts another; to end it for good: `{unit.disabling(lab)}`")


@app.command("status")
def told(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say whether an agent lives."""
    from cxrlab import agent as agents

    status = agents.status(lab_of(ctx))
    tell(status, "lives" if status.alive else "none lives", as_json=as_json)


@app.command()
def install(
    ctx: typer.Context,
    write: Annotated[
        bool, typer.Option("--write", help="Write it where a user's units lie.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print a systemd user unit that keeps the agent alive, also after a reboot.

    Nothing is enabled: the lines that do so are told. The agent needs no unit to work.
    """
    from cxrlab import console, unit

    lab = lab_of(ctx)
    content, path = unit.text_of(lab), unit.write(lab) if write else unit.path_of(lab)
    if as_json:
        told = {"unit": path.name, "path": str(path), "content": content, "written": write}
        console.facts({**told, "enabled": unit.enabled(lab), "enable": unit.enabling(lab)})
        return
    console.fact(f"wrote {path}" if write else content.rstrip("\n"))
    if not write:
        console.say(f"`cxrlab agent install --write` writes it to {path}")
    console.say(f"to start it now and at every login: `{unit.enabling(lab)}`")
    console.say("a user's units end when their last session does, and wait for their next login;")
    console.say(
        'to have them go on, and start when the machine does: `loginctl enable-linger "$USER"`'
    )


@app.command()
def uninstall(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Remove the unit that `install --write` wrote; it must not be enabled any more."""
    from cxrlab import console, unit

    path = unit.remove(lab_of(ctx))
    if as_json:
        console.facts({"unit": path.name, "path": str(path), "removed": True})
        return
    console.fact(f"removed {path}")
    console.say("`systemctl --user daemon-reload` has systemd forget it")


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
