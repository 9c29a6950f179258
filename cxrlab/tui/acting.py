"""What is done to many runs at once, what is asked before, and what is said afterwards?

Each run is looked at again right before; one that refuses keeps none of the others from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sqlite_utils import Database

from cxrlab import agent, launch, text
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from cxrlab.tui import telling
from store import runs
from store.db import StoreError
from store.runs import Run

MOST_NAMED = 3
"""Refusals that are told with their reason."""


class Act(NamedTuple):
    """Something that can be done to runs."""

    verb: str
    past: str
    done: str
    states: tuple[str, ...]
    """The states in which a run lets it be done."""
    warning: str = ""
    """What is said before; nothing is asked where it is empty."""


ACTS = {
    "stop": Act(
        "stop",
        "stopped",
        "asked to stop",
        ("running", *runs.WAITING),
        "Those that run finish their step and write a checkpoint; `r` lets them go on later.",
    ),
    "resume": Act("resume", "resumed", "queued to go on", ("stopped", "lost")),
    "retry": Act("retry", "tried again", "queued to try again", ("failed", "stopped", "lost")),
    "remove": Act(
        "remove",
        "removed",
        "removed",
        (*runs.WAITING, *runs.ENDED),
        "Their rows and folders go for good, checkpoints included.",
    ),
}


def fitting(act: Act, chosen: Iterable[Run]) -> list[Run]:
    """Return the runs whose state lets it be done, newest first: a run goes before its parent."""
    return sorted((r for r in chosen if r.state in act.states), key=lambda run: -run.created)


def question(act: Act, chosen: Sequence[Run], size: int | None = None) -> tuple[str, str]:
    """Return the title and the text of what is asked before it is done.

    Args:
        act: what is to be done.
        chosen: the runs that a person has marked.
        size: bytes on the disk that would be freed; None where none are.
    """
    fit = fitting(act, chosen)
    counted = [
        f"{sum(run.state == state for run in fit):,} {state}"
        for state in runs.STATES
        if any(run.state == state for run in fit)
    ]
    lines = [", ".join(counted), act.warning]
    if size is not None:
        lines.insert(1, f"{text.size(size)} on the disk")
    left = len(chosen) - len(fit)
    if left:
        be = "is" if left == 1 else "are"
        lines.append(f"{left:,} more {be} left alone: their state does not allow it.")
    if len(fit) == 1:
        lines[0] = f"{telling.name(fit[0])}, {fit[0].state}"
    which = fit[0].id if len(fit) == 1 else text.plural(len(fit), "run")
    return f"{act.verb.capitalize()} {which}?", "\n".join(lines)


def freed(chosen: Iterable[Run], lab: Lab) -> int:
    """Return how many bytes removing the runs would free; a folder that lies elsewhere stays."""
    folders = [Path(run.folder) for run in fitting(ACTS["remove"], chosen)]
    inside = [folder for folder in folders if lab.runs_dir in folder.parents]
    return sum(
        path.lstat().st_size for folder in inside for path in folder.rglob("*") if path.is_file()
    )


def carry_out(lab: Lab, db: Database, act: Act, chosen: Iterable[Run]) -> str:
    """Do it to each run that allows it, and return in words how that went."""
    steps: dict[str, Callable[[Lab, Database, Run], object]] = {
        "stop": _stop,
        "resume": launch.resume,
        "retry": launch.retry,
        "remove": launch.remove,
    }
    done, refused = 0, []
    for run in fitting(act, _as_they_are(db, chosen)):
        try:
            steps[act.verb](lab, db, run)
            done += 1
        except (CxrlabError, StoreError, OSError) as error:
            refused.append(f"{run.id}: {error}")
    if done and act.verb in ("resume", "retry"):
        agent.ensure_agent(lab)
    lines = [f"{text.plural(done, 'run')} {act.done}"]
    if refused:
        lines += [f"{text.plural(len(refused), 'run')} not:", *refused[:MOST_NAMED]]
    return "\n".join(lines)


def _as_they_are(db: Database, chosen: Iterable[Run]) -> Iterator[Run]:
    """Give the runs as the registry has them now; those that are gone are left out."""
    for run in chosen:
        with suppress(runs.NoSuchRun):
            yield runs.get(db, run.id)


def _stop(lab: Lab, db: Database, run: Run) -> None:
    """End a run that waits; ask one that runs, and wait for none: there may be many."""
    if run.state == "running":
        launch.ask_to_stop(db, run)
    else:
        launch.stop(lab, db, run)
