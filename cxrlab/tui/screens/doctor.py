"""What is missing on this machine, and which line fixes it? `cxrlab doctor`, as a screen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from cxrlab import checkup
from cxrlab.checkup import SIGNS, Finding, Level
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import sentences, words
from cxrlab.tui.widgets import below
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.below import Below
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Column, Row
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr

Look = Callable[[Lab], Iterator[Finding]]
"""What looks at the machine, thing after thing; it may take its time."""

STYLES = {"ok": "succeeded", "note": "dim", "warning": "stopped", "missing": "failed"}
WORST_FIRST: tuple[Level, ...] = ("missing", "warning", "note", "ok")


class Looked(NamedTuple):
    """What has been found so far, in the order in which it was looked at."""

    found: tuple[Finding, ...] = ()
    over: bool = False
    """True once everything has been looked at."""
    trouble: str = ""
    """Why looking ended early."""


class DoctorScreen(Screen[None]):
    """A line for each thing that was looked at, and what fixes the one under the cursor."""

    TITLE = "doctor"
    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("r", "look", "Look again", tooltip="Look at everything once more."),
        Binding("y", "copy", "Copy the fix", tooltip="Copy the line that fixes it."),
        Binding("n", "next", "Next fault", tooltip="Go to the next thing that is not well."),
        *below.KEYS,
    ]

    @dataclass
    class Read(Message, bubble=False):
        """Something more has been looked at."""

        turn: int
        looked: Looked

    def __init__(
        self, lab: Lab, *, clock: Callable[[], float], look: Look = checkup.findings
    ) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._look = look
        self._turn = 0
        self._at = 0.0
        self._looked = Looked()

    def compose(self) -> ComposeResult:
        yield TopBar("doctor", lab=self._lab.root.name)
        yield Still(id="doctor-title", classes="line", markup=False)
        yield Table(cursor="row", frozen=2, id="findings")
        yield Below(id="finding")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.action_look()

    def action_look(self) -> None:
        self._turn += 1
        self._at = self._clock()
        self._show(Looked())
        # a daemon: importing torch takes seconds, a hung disk for ever; neither keeps one here
        threading.Thread(target=self._work, args=(self._turn,), daemon=True).start()

    def _work(self, turn: int) -> None:
        found: tuple[Finding, ...] = ()
        trouble = ""
        try:
            for finding in self._look(self._lab):
                found = (*found, finding)
                self._tell(turn, Looked(found))
        except Exception as error:  # a check that fails is one more thing that is not well
            trouble = f"{type(error).__name__}: {error}"
        self._tell(turn, Looked(found, over=True, trouble=trouble))

    def _tell(self, turn: int, looked: Looked) -> None:
        if turn == self._turn and self.is_attached:
            self.post_message(self.Read(turn, looked))

    @on(Read)
    def draw(self, message: Read) -> None:
        if message.turn == self._turn:
            self._show(message.looked)

    def on_resize(self) -> None:
        self._show(self._looked)

    def _show(self, looked: Looked) -> None:
        self._looked = looked
        table = self.query_one(Table)
        table.empty = tr("looking …")
        rows = [row_of(finding) for finding in looked.found]
        table.show(columns_of(), rows, count=len(rows))
        self.query_one("#doctor-title", Still).update(title_of(looked))
        self.describe()

    @on(Table.Moved)
    def describe(self) -> None:
        """Say in full what was found, and what fixes it."""
        finding = self.selected
        said = detail_of(finding) if finding is not None else Text()
        self.query_one(Below).show(said)

    def action_scroll_below(self, lines: int) -> None:
        self.query_one(Below).turn(lines)

    @property
    def selected(self) -> Finding | None:
        """What is under the cursor."""
        row = self.query_one(Table).row
        return self._looked.found[row] if row < len(self._looked.found) else None

    # -- keys

    def action_copy(self) -> None:
        finding = self.selected
        if finding is None or not finding.fix:
            self.notify(tr("there is nothing to fix here"), markup=False)
            return
        self.app.copy_to_clipboard(finding.fix)
        self.notify(tr("the line is in the clipboard"), markup=False)

    def action_next(self) -> None:
        found = self._looked.found
        table = self.query_one(Table)
        after = [*range(table.row + 1, len(found)), *range(table.row + 1)]
        at = next((i for i in after if i < len(found) and found[i].level != "ok"), None)
        if at is None:
            self.notify(tr("everything is well"), markup=False)
        else:
            table.move_to(at)


def title_of(looked: Looked) -> Text:
    """Return how many things are how well, the worst first, in signs and words."""
    said = Text(no_wrap=True)
    for level in WORST_FIRST:
        number = sum(finding.level == level for finding in looked.found)
        if number:
            style = "bold" if level in ("missing", "warning") else ""
            said.append(f"{SIGNS[level]} {counted(level, number)}", style).append("   ")
    if looked.trouble:
        said.append(f"{SIGNS['missing']} {harmless(looked.trouble)}", "bold")
    elif not looked.over:
        said.append(tr("looking …"), "dim")
    return said


def counted(level: Level, number: int) -> str:
    """Return how many things are so well or ill: `1 warning`, `2 warnings`, `5 ok`."""
    if level == "warning":
        return words.counted(number, "warning")
    if level == "note":
        return words.counted(number, "note")
    return tr("{n} ok" if level == "ok" else "{n} missing").format(n=number)


def columns_of() -> list[Column]:
    """Return the columns; 79 cells in all, more where there is room."""
    return [
        Column(tr("state"), 9),
        Column(tr("what"), 15),
        Column(tr("how it is"), 52, grows=True),
    ]


def row_of(finding: Finding) -> Row:
    """Return a finding's cells; a sign and a word say how it is."""
    style = STYLES[finding.level]
    return [
        [(f"{SIGNS[finding.level]} {tr(finding.level, 'level')}", style)],
        [(harmless(finding.what), "strong" if finding.level in ("missing", "warning") else "")],
        [(harmless(sentences.said(finding.says)), "dim" if finding.level == "ok" else "")],
    ]


def detail_of(finding: Finding) -> Text:
    """Return a finding in full, and below it the line that fixes it."""
    said = Text()
    said.append(f"{harmless(finding.what)}  ", "bold")
    said.append(f"{SIGNS[finding.level]} {tr(finding.level, 'level')}\n", "dim")
    said.append(harmless(sentences.said(finding.says)))
    if finding.fix:
        said.append("\n\n").append(tr("fix"), "dim").append("  ")
        said.append(harmless(sentences.said(finding.fix)), "bold")
    return said
