"""Which of these? A list of a few lines to choose one from."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab.harmless import harmless
from cxrlab.tui.widgets.rows import Column
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr


class Choose(ModalScreen[str | None]):
    """Dismissed with what was chosen, or None."""

    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("enter", "choose", "Choose", tooltip="Take the line under the cursor."),
        Binding("escape,q", "leave", "Back", tooltip="Leave everything as it is."),
    ]

    def __init__(self, title: str, options: Sequence[tuple[str, str]]) -> None:
        """Offer `options`, each a word for it and the text that is chosen."""
        super().__init__()
        self.title = title
        self._options = options

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Text(harmless(str(self.title)))
            yield Table(cursor="row", frozen=1, id="choose")
            yield Static(Text(tr("Enter  choose     Esc  back")), classes="keys")

    def on_mount(self) -> None:
        options = [(harmless(word), harmless(value)) for word, value in self._options]
        width = max(cell_len(word) for word, _ in options)
        rows = [[[(word, "dim")], [(value, "")]] for word, value in options]
        table = self.query_one(Table)
        table.show([Column("", width), Column("", 40, grows=True)], rows, count=len(rows))
        table.styles.height = len(rows) + 2

    @on(Table.Chosen)
    def action_choose(self) -> None:
        self.dismiss(self._options[self.query_one(Table).row][1])

    def action_leave(self) -> None:
        self.dismiss(None)
