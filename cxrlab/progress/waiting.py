"""How does one wait for runs: bars on a terminal, a line for each change in a pipe?

Waiting changes nothing: whoever stops waiting leaves the runs as they are.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from cxrlab import advice, agent, console, text
from cxrlab.bell import bell
from cxrlab.cloning import configuration
from cxrlab.lab import Lab
from cxrlab.naming import what
from cxrlab.refresh import refresh
from store import runs
from store.db import Database
from store.runs import Run

LOOK_S = 0.5
"""How often the runs are looked at."""

AGENT_S = 5.0
"""How often the agent is looked after while something waits to be started."""

TELL_S = 30.0
"""How often a pipe is told how far a running run is."""


class View(Protocol):
    """Shows runs that are waited for."""

    def __enter__(self) -> View:
        """Begin to show."""

    def __exit__(self, *problem: object) -> None:
        """Leave the terminal as it was."""

    def show(self, found: Sequence[Run]) -> None:
        """Show the runs as they are now."""


def wait(lab: Lab, db: Database, ids: Sequence[str]) -> list[Run]:
    """Wait until none of the runs can get any further by itself, and return them.

    A run that waits for one that has failed, was stopped or was lost gets no further either.
    """
    wanted = lab.settings.notify.bell
    with (
        bell(wanted=wanted, ended=runs.ENDED) as ring,
        bars(ids) if console.coloured(sys.stderr) else Lines() as view,
    ):
        looked_after = time.monotonic()
        while True:
            refresh(lab, db)
            known = {run.id: run for run in everything_needed(db, ids)}
            found = [known[id] for id in ids]
            view.show(found)
            ring.look({run.id: run.state for run in found}, {run.id: what(run) for run in found})
            if not any(gets_further(run, known) for run in found):
                return found
            if time.monotonic() - looked_after > AGENT_S:
                agent.ensure_agent(lab)
                looked_after = time.monotonic()
            time.sleep(LOOK_S)


def everything_needed(db: Database, ids: Collection[str]) -> list[Run]:
    """Return the runs of these ids and all that they wait for, however far away."""
    known: dict[str, Run] = {}
    left = list(ids)
    while left:
        run = runs.get(db, left.pop())
        known[run.id] = run
        left += [need for need in run.needs if need not in known]
    return list(known.values())


def gets_further(run: Run, known: Mapping[str, Run]) -> bool:
    """Return whether a run is under way, or will be once those it waits for are done."""
    if run.state != "blocked":
        return run.state in ("queued", "running")
    return all(
        known[need].state == "succeeded" or gets_further(known[need], known) for need in run.needs
    )


def unhappy(found: Sequence[Run]) -> list[Run]:
    """Return the runs that did not succeed."""
    return [run for run in found if run.state != "succeeded"]


def tell_unhappy(found: Sequence[Run]) -> None:
    """Say on stderr which runs did not succeed, why, and where to look."""
    for run in unhappy(found):
        reason = f": {run.reason}" if run.reason else ""
        console.say(f"{run.id} ({what(run)}) {run.state}{reason}")
        if step := advice.next_step(run, configuration(run)):
            console.say(f"  {step}")


class Lines:
    """Says on stderr when a run changes its state, and now and then how far it is."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[str, str]] = {}
        self._told: dict[str, float] = {}

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *problem: object) -> None:
        return

    def show(self, found: Sequence[Run]) -> None:
        """Say what has changed since the last look."""
        now = time.monotonic()
        for run in found:
            reason = run.reason if run.state != "running" else ""
            if self._said.get(run.id) != (run.state, reason):
                self._said[run.id] = (run.state, reason)
                self._told[run.id] = now
                console.say(f"{run.id} {what(run)}: {state_told(run)}")
            elif run.state == "running" and now - self._told[run.id] > TELL_S:
                self._told[run.id] = now
                console.say(f"{run.id} {what(run)}: {progress_told(run)}")


def state_told(run: Run) -> str:
    """Return a run's state and why, in words."""
    return f"{run.state}, {run.reason}" if run.reason else run.state


def progress_told(run: Run) -> str:
    """Return how far a running run is: `running 43 %, 2m 05s left`."""
    if run.done is None or not run.total:
        return "running, starting up"
    left = f", {text.duration(run.eta_s)} left" if run.eta_s is not None else ""
    return f"running {100 * run.done / run.total:.0f} %{left}"


def bars(ids: Sequence[str]) -> View:
    """Return bars on the terminal, one for each run and one for all."""
    from cxrlab.progress.bars import Bars

    return Bars(ids)
