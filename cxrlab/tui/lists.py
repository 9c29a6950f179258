"""What do the queue and the notes show, and how are they changed? From the registry, on a thread.

Each function that reads opens the registry for itself; each that changes something is given it.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from typing import NamedTuple

from cxrlab import agent, entries
from cxrlab.lab import Lab
from cxrlab.refresh import TURN
from cxrlab.tui import reading, reading_runs, telling
from cxrlab.tui.words import tr
from store import notes, queue, runs
from store.db import Database
from store.notes import Entry, NewEntry
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN, TASKS

KINDS: dict[str, tuple[str, ...]] = {
    "all": (),
    "todos": ("todo",),
    "ideas": ("idea",),
    "notes": ("note",),
    "others": ("fact", "reference", "command"),
}
"""What the notes can be narrowed to."""

TICKED = ("todo", "idea")
"""Kinds that can be open or done."""


class QueueView(NamedTuple):
    """A window of the runs that wait."""

    total: int
    held: int
    offset: int
    runs: tuple[Run, ...]
    agent: bool
    """Whether an agent lives, without which none of them starts."""


class NotesView(NamedTuple):
    """A window of the entries of some kinds."""

    shown: str
    """A key of `KINDS`."""
    counts: dict[str, int]
    """How many there are of each of `KINDS`."""
    offset: int
    entries: tuple[Entry, ...]


def read_queue(lab: Lab, offset: int, limit: int) -> QueueView:
    """Return `limit` of the runs that wait, in the order in which they come."""
    with reading.registry(lab) as db:
        found = queue.waiting(db)
    held = sum(run.held is not None for run in found)
    shown = tuple(found[offset : offset + limit])
    return QueueView(len(found), held, offset, shown, agent.status(lab).alive)


def read_notes(lab: Lab, shown: str, offset: int, limit: int) -> NotesView:
    """Return `limit` of the entries, what is open first, then newest first."""
    with reading.registry(lab) as db:
        found = notes.select(db)
    by_kind = Counter(entry.kind for entry in found)
    counts = {
        name: sum(by_kind[kind] for kind in kinds) if kinds else len(found)
        for name, kinds in KINDS.items()
    }
    kinds = KINDS[shown]
    fitting = [entry for entry in found if not kinds or entry.kind in kinds]
    fitting.sort(key=lambda entry: entry.state != "open")  # stable: newest first within each
    return NotesView(shown, counts, offset, tuple(fitting[offset : offset + limit]))


def hold_or_release(lab: Lab, db: Database, run: Run) -> None:
    """Hold a run that waits, or let go one that is held."""
    if run.held is None:
        queue.hold(db, [run.id])
    else:
        queue.release(db, [run.id], reason=TURN)
        agent.ensure_agent(lab)


class Subject(NamedTuple):
    """What an entry can be about, by its one name and in words."""

    name: str = ""
    said: str = ""


def find_subject(lab: Lab, typed: str) -> Subject:
    """Return what a person means by `typed`; nothing typed is nothing.

    Raises:
        NotFound: no method or task is called so.
        StoreError: no run, or several.
        Usage: it is no cell.
    """
    if not typed.strip():
        return Subject("", tr("nothing in particular"))
    with reading.registry(lab) as db:
        name = entries.about_of(db, typed.strip())
        with suppress(runs.NoSuchRun):
            return Subject(name, telling.name(runs.get(db, name)))
    if name in METHODS:
        return Subject(name, tr("the method {what}").format(what=METHODS[name].title))
    if entries.is_of_catalog(name):
        title = tr(PRETRAIN) if name == PRETRAIN else TASKS[name].title
        return Subject(name, tr("the task {what}").format(what=title))
    return Subject(name, tr("a cell of the grid") if ":" in name else tr("a run that is gone"))


def begun_so(lab: Lab, typed: str) -> str:
    """Return the first name that begins as `typed` and an entry can be about; empty for none."""
    known = entries.named(typed)
    if not known and typed.isalnum():
        known = [run.id for run in reading_runs.read_named(lab, typed, 1)]
    return next((name for name in known if name.startswith(typed)), "")


def add_note(db: Database, kind: str, text: str, about: str, *, at: float) -> None:
    """Write down an entry, dated now; todos and ideas begin open."""
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    state = "open" if kind in TICKED else ""
    notes.add(db, NewEntry(kind, text, state=state, written=written, about=about))


def tick(db: Database, entry: Entry) -> None:
    """Tick off an open entry, or open one again that is done."""
    notes.change_state(db, entry.id, "open" if entry.state == "done" else "done")


def rewrite_note(db: Database, entry: Entry, text: str, about: str) -> None:
    """Change the words of an entry, and what it is about."""
    notes.rewrite(db, entry.id, text, about)


def drop_note(db: Database, entry: Entry) -> None:
    """Remove an entry for good."""
    notes.remove(db, entry.id)
