"""What crosses from threads to the user interface, and from widgets to screens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from textual.message import Message

if TYPE_CHECKING:
    from cxrlab import launch
    from cxrlab.gpus import Reading
    from cxrlab.gpus.whose import Card
    from cxrlab.grid import Cell
    from cxrlab.lab import Lab
    from cxrlab.tui.errands import Errand
    from store.db import Database
    from store.notes import Entry
    from store.runs import Run


@dataclass
class Beat(Message):
    """The registry was looked at; posted to the app twice a second."""

    under_way: dict[str, int] | None
    """How many runs are in each state that is not an end; None where nothing has changed."""


class Drawn(Message):
    """The home screen has been drawn for the first time."""


class RegistryChanged(Message, bubble=False):
    """Another connection has written to the registry; sent to the screen on top."""


@dataclass
class GpusRead(Message):
    """What the GPUs and the CPU slots are doing."""

    reading: Reading
    cpu_slots: int
    holders: dict[str, str]
    """Device (a GPU's UUID, or `cpu:N`) to what runs on it, in words."""
    ours: dict[int, str] = field(default_factory=dict)
    """Processes on the GPUs that are of this lab's runs, each with its run's folder."""
    cards: tuple[Card, ...] = ()
    """What each GPU is to this lab, those that have gone last."""


@dataclass
class Trouble(Message):
    """Something a person should read; the same text is not shown twice in a row."""

    text: str
    hint: str = ""
    unread: bool = False
    """Whether the registry cannot be read, which is shown until it can."""


@dataclass
class OpenRun(Message):
    """Show a run."""

    run_id: str


@dataclass
class OpenCell(Message):
    """Show what stands behind a cell."""

    cell: Cell


@dataclass
class OpenLaunch(Message):
    """Show the form that launches a cell, filled in."""

    method: str
    task: str
    ratio: int | None


@dataclass
class OpenFill(Message):
    """Show the form that fills the row or the column of a cell, or all of the grid."""

    method: str = ""
    task: str = ""
    ratio: int | None = None


class OpenExport(Message):
    """Show the form that writes the grid to a file."""


@dataclass
class OpenPage(Message):
    """Show what a piece of work comes to, which takes a while."""

    title: str
    work: Callable[[], Callable[[int], Sequence[str]]]
    """Called on a thread; returns the lines for a width."""


@dataclass
class OpenCopy(Message):
    """Ask which of some texts is to be copied, and copy it."""

    title: str
    options: Sequence[tuple[str, str]]
    """Each with a word for it."""


@dataclass
class StopRun(Message):
    """Stop a run, once a person has said yes."""

    run: Run


@dataclass
class ResumeRun(Message):
    """Let a stopped or lost run go on."""

    run: Run


@dataclass
class ActOnRuns(Message):
    """Do something to many runs; a person has said yes where that was to be asked."""

    verb: str
    """A key of `acting.ACTS`."""
    runs: Sequence[Run]


@dataclass
class OpenNoteForm(Message):
    """Show the form that changes an entry, or the empty one for a new entry of a kind."""

    entry: Entry | None
    kind: str
    about: str = ""
    """What a new entry is about, unless that is changed in the form."""


@dataclass
class OpenRuns(Message):
    """Show the runs that fit a filter."""

    typed: str


@dataclass
class AskToDrop(Message):
    """Drop an entry, once a person has said yes."""

    entry: Entry


@dataclass
class Begin(Message):
    """Start a command of cxrlab's beside the dashboard, once a person has said yes."""

    errand: Errand


@dataclass
class SettingsChanged(Message):
    """`cxrlab.toml` is another one than before; posted to the app with what it says now."""

    lab: Lab


@dataclass
class RunsEnded(Message):
    """Runs that were running have ended; posted to the app."""

    runs: list[Run]


@dataclass
class Change(Message):
    """Change something in the registry, on a thread."""

    action: Callable[[Database], object]
    told: str = ""
    """What is said once it is done."""


@dataclass
class Launched(Message):
    """What became of a launch."""

    launched: list[launch.Launched]


@dataclass
class Told(Message):
    """Something that was asked for has been done."""

    text: str
