"""Which run is meant? A list to choose one from."""

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
from cxrlab.tui import sentences, words
from cxrlab.tui.asking import Asking
from cxrlab.tui.widgets.rows import Column, Row
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store.runs import Run


class Pick(ModalScreen[str | None]):
    """Dismissed with the id of the run chosen, with `first` for the line above them, or None."""

    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("enter", "choose", "Choose", tooltip="Take the run under the cursor."),
        Binding("escape,q", "leave", "Back", tooltip="Leave everything as it is."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """The runs that there are to choose from."""

        runs: Sequence[Run]

    def __init__(
        self,
        title: str,
        read: Callable[[], Sequence[Run]],
        *,
        first: str,
        now: float,
    ) -> None:
        super().__init__()
        self._title = title
        self._first = first
        self._now = now
        self._runs: Sequence[Run] | None = None
        self._asking = Asking(self, lambda: self.Read(read()))

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(self._title)
            yield Table(cursor="row", frozen=1, id="pick")
            yield Static(Content(tr("Enter  choose     Esc  back")), classes="keys")

    def on_mount(self) -> None:
        self._asking.ask()

    @on(Read)
    def draw(self, message: Read) -> None:
        self._runs = message.runs
        rows: list[Row] = [[[(tr(self._first), "strong")], *[[("", "")]] * 5]]
        rows += [row_of(run, now=self._now) for run in message.runs]
        columns = [
            Column(tr("run"), 20),
            Column(tr("state"), 11),
            Column(tr("labels"), 6, right=True),
            Column(tr("seed"), 4, right=True),
            Column(tr("recipe"), 8),
            Column(tr("queued", "column"), 12, right=True),
        ]
        self.query_one(Table).show(columns, rows, count=len(rows))
        self.query_one(Table).row = min(1, len(rows) - 1)

    @on(Table.Chosen)
    def action_choose(self) -> None:
        if self._runs is not None:
            at = self.query_one(Table).row
            self.dismiss(self._runs[at - 1].id if at else self._first)

    def action_leave(self) -> None:
        self.dismiss(None)


def row_of(run: Run, *, now: float) -> Row:
    """Return the cells of a run that can be chosen."""
    return [
        [(run.id, "strong"), (f" {harmless(run.method)} {harmless(run.task)}", "")],
        [(sentences.state(run.state), run.state)],
        [("" if run.ratio is None else f"{run.ratio} %", "")],
        [(str(run.seed), "")],
        [(run.recipe[:8], "dim")],
        [(words.ago(run.created, now), "dim")],
    ]
