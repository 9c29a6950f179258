"""Which columns shall the list of runs have, and in which order? A list to tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab.harmless import harmless
from cxrlab.tui.asking import Asking
from cxrlab.tui.run_columns import ALWAYS, CHOOSABLE, SETTING
from cxrlab.tui.widgets.rows import Column, Row
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr


class Columns(ModalScreen[tuple[str, ...] | None]):
    """Dismissed with the names of the columns chosen; none of them means the usual ones."""

    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("space", "tick", "Tick", tooltip="Show this column, or not."),
        Binding("J,shift+down", "move(1)", "Later", tooltip="Move the column to the right."),
        Binding("K,shift+up", "move(-1)", "Earlier", tooltip="Move the column to the left."),
        Binding("d", "usual", "Usual", tooltip="Back to the usual columns."),
        Binding("enter", "take", "Take", tooltip="Show the columns ticked, and remember them."),
        Binding("escape,q", "leave", "Back", tooltip="Leave everything as it is."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """The settings in which runs differ."""

        settings: tuple[str, ...]

    def __init__(self, chosen: Sequence[str], read: Callable[[], tuple[str, ...]]) -> None:
        super().__init__()
        self._ticked = [name for name in chosen if name not in ALWAYS]
        self._names = [*self._ticked]
        self._names += [n for n in CHOOSABLE if n not in (*ALWAYS, *self._names)]
        self._asking = Asking(self, lambda: self.Read(read()))

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(tr("Columns of the list of runs"))
            yield Table(cursor="row", frozen=1, id="columns")
            keys = tr("Space  tick   J K  move   d  usual   Enter  take   Esc  back")
            yield Static(Content(keys), classes="keys")

    def on_mount(self) -> None:
        self.draw()
        self._asking.ask()

    @on(Read)
    def take_settings(self, message: Read) -> None:
        known = set(self._names)
        self._names += [f"{SETTING}{n}" for n in message.settings if f"{SETTING}{n}" not in known]
        self.draw()

    def draw(self) -> None:
        rows: list[Row] = []
        for name in self._names:
            on = name in self._ticked
            entry = CHOOSABLE.get(name)
            title = (
                tr(entry.column.title, "column") if entry else harmless(name.removeprefix(SETTING))
            )
            about = tr(entry.about) if entry else tr("a setting in which runs differ")
            style = "strong" if on else "dim"
            rows.append([[("[x] " if on else "[ ] ", style), (title, style)], [(about, "dim")]])
        columns = [Column(tr("column"), 26), Column(tr("tells"), 40, grows=True)]
        self.query_one(Table).show(columns, rows, count=len(rows))

    @on(Table.Chosen)
    def action_tick(self) -> None:
        name = self._names[self.query_one(Table).row]
        if name in self._ticked:
            self._ticked.remove(name)
        else:
            self._ticked.append(name)
        self.draw()

    def action_move(self, by: int) -> None:
        table = self.query_one(Table)
        at, to = table.row, table.row + by
        if 0 <= to < len(self._names):
            self._names.insert(to, self._names.pop(at))
            self.draw()
            table.move_to(to)

    def action_usual(self) -> None:
        self.dismiss(())

    def action_take(self) -> None:
        ticked = tuple(name for name in self._names if name in self._ticked)
        self.dismiss((*ALWAYS, *ticked))

    def action_leave(self) -> None:
        self.dismiss(None)
