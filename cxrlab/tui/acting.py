"""What is done to many runs at once, what is asked before, and what is said afterwards?

Each run is looked at again right before; one that refuses keeps none of the others from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from cxrlab import agent, text
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from cxrlab.queueing import steering
from cxrlab.tui import telling, words
from cxrlab.tui.words import tr
from store import runs
from store.db import Database, StoreError
from store.runs import Run

MOST_LISTED = 8
"""Runs that are named before they are removed."""
MOST_NAMED = 3
"""Refusals that are told with their reason."""


class Act(NamedTuple):
    """Something that can be done to runs; its words are English and are translated where told."""

    verb: str
    asks: str
    """The title of the question before it."""
    done: str
    """What is said of runs to which it was done."""
    refused: str
    """What is said where no run lets it be done."""
    states: tuple[str, ...]
    """The states in which a run lets it be done."""
    warning: str = ""
    """What is said before; nothing is asked where it is empty."""


ACTS = {
    "stop": Act(
        "stop",
        "Stop {what}?",
        "{runs} asked to stop",
        "only {states} runs can be stopped",
        ("running", *runs.WAITING),
        "Those that run finish their step and write a checkpoint; `r` lets them go on later.",
    ),
    "resume": Act(
        "resume",
        "Resume {what}?",
        "{runs} queued to go on",
        "only {states} runs can be resumed",
        ("stopped", "lost"),
    ),
    "retry": Act(
        "retry",
        "Retry {what}?",
        "{runs} queued to try again",
        "only {states} runs can be tried again",
        ("failed", "stopped", "lost"),
    ),
    "remove": Act(
        "remove",
        "Remove {what}?",
        "{runs} removed",
        "only {states} runs can be removed",
        (*runs.WAITING, *runs.ENDED),
        "Their rows and folders go for good, checkpoints included.",
    ),
}


def fitting(act: Act, chosen: Iterable[Run]) -> list[Run]:
    """Return the runs whose state lets it be done, newest first: a run goes before its parent."""
    return sorted((r for r in chosen if r.state in act.states), key=lambda run: -run.created)


def idle(chosen: Sequence[Run]) -> tuple[str, ...]:
    """Return what a foot leaves out where only these runs are chosen: none lets it be done."""
    return tuple(
        verb
        for verb in ("stop", "resume")
        if not any(run.state in ACTS[verb].states for run in chosen)
    )


def question(act: Act, chosen: Sequence[Run], size: int | None = None) -> tuple[str, str]:
    """Return the title and the text of what is asked before it is done.

    Args:
        act: what is to be done.
        chosen: the runs that a person has marked.
        size: bytes on the disk that would be freed; None where none are.
    """
    fit = fitting(act, chosen)
    counted = [
        f"{sum(run.state == state for run in fit):,} {tr(state)}"
        for state in runs.STATES
        if any(run.state == state for run in fit)
    ]
    lines = [words.joined(counted), tr(act.warning)]
    if size is not None:
        lines.insert(1, tr("{size} on the disk").format(size=text.size(size)))
    if act.verb == "remove" and len(fit) > 1:
        lines += [f"{run.id}  {telling.name(run)}" for run in fit[:MOST_LISTED]]
        lines += [tr("and {n} more").format(n=f"{len(fit) - MOST_LISTED:,}")] * (
            len(fit) > MOST_LISTED
        )
    left = len(chosen) - len(fit)
    if left:
        alone = (
            tr("{n} more is left alone: its state does not allow it.")
            if left == 1
            else tr("{n} more are left alone: their state does not allow it.")
        )
        lines.append(alone.format(n=f"{left:,}"))
    if len(fit) == 1:
        lines[0] = words.joined([telling.name(fit[0]), tr(fit[0].state)])
    which = fit[0].id if len(fit) == 1 else words.counted(len(fit), "run")
    return tr(act.asks).format(what=which), "\n".join(lines)


def refusal(act: Act, chosen: Sequence[Run]) -> str:
    """Return why it can be done to none of the runs."""
    which = tr("none fits")
    if len(chosen) == 1:
        state = tr(chosen[0].state)
        which = tr("{run} is {state}").format(run=chosen[0].id, state=state)
    states = words.joined([tr(state) for state in act.states])
    return f"{which}: {tr(act.refused).format(states=states)}"


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
        "resume": steering.resume,
        "retry": steering.retry,
        "remove": steering.remove,
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
    lines = [tr(act.done).format(runs=words.counted(done, "run"))]
    if refused:
        left = tr("{runs} not:").format(runs=words.counted(len(refused), "run"))
        lines += [left, *refused[:MOST_NAMED]]
    return "\n".join(lines)


def _as_they_are(db: Database, chosen: Iterable[Run]) -> Iterator[Run]:
    """Give the runs as the registry has them now; those that are gone are left out."""
    for run in chosen:
        with suppress(runs.NoSuchRun):
            yield runs.get(db, run.id)


def _stop(lab: Lab, db: Database, run: Run) -> None:
    """End a run that waits; ask one that runs, and wait for none: there may be many."""
    if run.state == "running":
        steering.ask_to_stop(db, run)
    else:
        steering.stop(lab, db, run)
