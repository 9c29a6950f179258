"""What was noted: todos, ideas, dated notes, and what came from notebooks?"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from cxrlab import entries
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import lists, reading_run
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import (
    AskToDrop,
    Change,
    OpenCell,
    OpenNoteForm,
    OpenRun,
    OpenRuns,
    RegistryChanged,
)
from cxrlab.tui.widgets import below
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.below import Below
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Column, Row
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store.notes import Entry
from trainers.catalog import METHODS

WIDE = 120
FIRST = 128
"""Rows read when the screen opens."""

MARKS = {"": "", "open": "[ ]", "done": "[x]", "warning": "!", "endorsed": "+"}
KEYS = {"A": "all", "T": "todos", "I": "ideas", "N": "notes", "O": "others"}
"""Which key narrows the list to what."""


class NotesScreen(Screen[None]):
    """A list of entries, what is open first, and the whole text of one below it."""

    TITLE = "notes"
    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("space", "tick", "Tick off", tooltip="Tick a todo or idea off, or open it again."),
        Binding("a", "add", "Add", tooltip="Write down a todo, an idea or a note."),
        Binding("e", "edit", "Edit", tooltip="Change the words."),
        Binding("d", "drop", "Drop", tooltip="Drop it for good; asks first."),
        Binding("enter", "open", "Go there", tooltip="The run, cell or runs that it is about."),
        *below.KEYS,
        Binding("A", "narrow('all')", "All", show=False, tooltip="Show every kind."),
        Binding("T", "narrow('todos')", "Todos", show=False, tooltip="Show todos only."),
        Binding("I", "narrow('ideas')", "Ideas", show=False, tooltip="Show ideas only."),
        Binding("N", "narrow('notes')", "Notes", show=False, tooltip="Show notes only."),
        Binding("O", "narrow('others')", "Others", show=False,
                tooltip="Show facts, references and commands only."),
    ]  # fmt: skip

    @dataclass
    class Read(Message, bubble=False):
        """A window of the entries, freshly read."""

        view: lists.NotesView

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._view: lists.NotesView | None = None
        self._shown = "all"
        self._window = (0, FIRST)
        self._finding = Asking(self, lambda named: OpenCell(reading_run.find_cell(lab, named)))
        self._asking = Asking(self, lambda *asked: self.Read(lists.read_notes(lab, *asked)))

    def compose(self) -> ComposeResult:
        yield TopBar("notes", lab=self._lab.root.name)
        yield Still(id="notes-title", classes="line")
        yield Table(cursor="row", frozen=2, id="notes")
        yield Below(id="entry")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask(self._shown, *self._window)

    def on_screen_resume(self) -> None:
        self.read()

    @on(Table.RowsWanted)
    def read_window(self, message: Table.RowsWanted) -> None:
        self._window = (message.offset, message.limit)
        self.read()

    @on(Read)
    def draw(self, message: Read) -> None:
        before = self.selected
        same = self._view is not None and self._view.shown == message.view.shown
        self._view = view = message.view
        self.redraw()
        at = next((i for i, e in enumerate(view.entries) if before and e.id == before.id), None)
        if same and at is not None and self.query_one(Table).row:
            self.query_one(Table).move_to(view.offset + at)  # it stays on its entry
        self.describe()

    def redraw(self) -> None:
        """Draw what was read last."""
        view = self._view
        if view is None:
            return
        wide = self.size.width >= WIDE
        table = self.query_one(Table)
        table.empty = tr("nothing noted yet: `a` writes something down")
        if view.counts["all"] and not view.counts[view.shown]:
            table.empty = tr("no {kind}: `A` shows every kind").format(kind=tr(view.shown))
        rows = [row_of(entry, wide=wide) for entry in view.entries]
        table.show(columns_of(wide=wide), rows, offset=view.offset, count=view.counts[view.shown])
        self.query_one("#notes-title", Still).update(title_of(view))

    def on_resize(self) -> None:
        self.redraw()

    @on(Table.Moved)
    def describe(self) -> None:
        """Show the whole text of the entry under the cursor."""
        entry = self.selected
        said = detail_of(entry) if entry is not None else Text()
        self.query_one(Below).show(said)

    def action_scroll_below(self, lines: int) -> None:
        self.query_one(Below).turn(lines)

    @property
    def selected(self) -> Entry | None:
        """The entry under the cursor, where it has been read."""
        if self._view is None:
            return None
        at = self.query_one(Table).row - self._view.offset
        return self._view.entries[at] if 0 <= at < len(self._view.entries) else None

    # -- keys

    def action_narrow(self, shown: str) -> None:
        self._shown = shown
        self._window = (0, FIRST)
        self.query_one(Table).action_go_to(0)
        self.read()

    def action_tick(self) -> None:
        entry = self.selected
        if entry is None:
            return
        if entry.kind not in lists.TICKED:
            said = tr("a {kind} is never done: todos and ideas are").format(kind=tr(entry.kind))
            self.notify(harmless(said), markup=False)
            return
        self.post_message(Change(lambda db: lists.tick(db, entry)))

    def action_add(self) -> None:
        kind = self._shown.removesuffix("s") if self._shown in ("todos", "ideas") else "note"
        self.post_message(OpenNoteForm(None, kind if self._shown != "all" else "todo"))

    def action_edit(self) -> None:
        if self.selected is not None:
            self.post_message(OpenNoteForm(self.selected, self.selected.kind))

    def action_drop(self) -> None:
        if self.selected is not None:
            self.post_message(AskToDrop(self.selected))

    @on(Table.Chosen)
    def action_open(self) -> None:
        entry = self.selected
        if entry is None:
            return
        if ":" in entry.about:
            self._finding.ask(entry.about)
        elif entries.is_of_catalog(entry.about):
            kind = "method" if entry.about in METHODS else "task"
            self.post_message(OpenRuns(f"{kind}={entry.about}"))
        elif entry.about:
            self.post_message(OpenRun(entry.about))
        else:
            self.notify(tr("this entry is about no run and no cell"), markup=False)


def title_of(view: lists.NotesView) -> Text:
    """Return the kinds with their keys and counts; the one that is shown stands in brackets."""
    said = Text(no_wrap=True)
    for key, name in KEYS.items():
        word = f"{key} {tr(name)} {view.counts[name]:,}"
        on = name == view.shown
        said.append(f"[{word}]" if on else f" {word} ", "bold" if on else "dim").append(" ")
    return said


def columns_of(*, wide: bool) -> list[Column]:
    """Return the columns; 79 cells in all, more where there is room."""
    columns = [
        Column("", 3),
        Column(tr("no"), 4, right=True),
        Column(tr("kind"), 9),
        Column(tr("written"), 16 if wide else 10),
    ]
    if wide:
        columns += [Column(tr("about"), 20), Column(tr("source"), 20)]
    return [*columns, Column(tr("text"), 40, grows=True)]


def row_of(entry: Entry, *, wide: bool) -> Row:
    """Return an entry's cells; of the text its first line."""
    first, *rest = entry.text.strip().splitlines() or [""]
    more = " …" if rest else ""
    style = "dim" if entry.state == "done" else ""
    row: Row = [
        [(MARKS.get(entry.state, ""), "strong" if entry.state == "open" else style)],
        [(str(entry.id), "dim")],
        [(harmless(tr(entry.kind)), style)],
        [(harmless(entry.written)[: 16 if wide else 10], "dim")],
    ]
    if wide:
        row = [*row, [(harmless(entry.about), "")], [(harmless(entry.source), "dim")]]
    return [*row, [(harmless(first, 500) + more, style)]]


def detail_of(entry: Entry) -> Text:
    """Return all of an entry, where it came from and what it is about."""
    parts = [f"{tr(entry.kind)} {entry.id}", tr(entry.state), entry.written]
    if entry.about:
        parts.append(tr("about {what}").format(what=entry.about))
    if entry.source:
        line = "" if entry.line is None else f":{entry.line}"
        parts.append(tr("from {what}").format(what=f"{entry.source}{line}"))
    parts.append(entry.section)
    said = Text(" · ".join(harmless(part) for part in parts if part), "dim").append("\n")
    return said.append(
        Text("\n".join(harmless(line) for line in entry.text.strip().splitlines()), "not dim")
    )
