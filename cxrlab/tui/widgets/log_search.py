"""What is the log searched for? A line to type it in, there only while one types."""

from __future__ import annotations

from textual import on
from textual.binding import Binding
from textual.widgets import Input

from cxrlab.tui.widgets.log import LogView
from cxrlab.tui.words import tr


class LogSearch(Input):
    """Where it is typed what the log is searched for; hidden but while one types."""

    DEFAULT_CSS = """
    LogSearch { display: none; height: 1; border: none; padding: 0 1; background: $panel; }
    LogSearch:focus { border: none; background: $primary 15%; }
    """
    BINDINGS = [Binding("escape", "leave", "Back", show=False, tooltip="Search nothing.")]

    def __init__(self) -> None:
        super().__init__(
            id="log-search", compact=True, placeholder=tr("search the log upwards; Esc leaves")
        )
        self.cursor_blink = False

    def begin(self) -> None:
        """Show the field, with what was typed last ready to be typed over."""
        self.display = True
        self.screen.set_focus(self)  # at once: the next key may be there already

    @on(Input.Submitted)
    def _search(self, message: Input.Submitted) -> None:
        message.stop()
        self.action_leave()
        if message.value:
            self.screen.query_one(LogView).search(message.value)

    def action_leave(self) -> None:
        self.display = False
        self.screen.query_one(LogView).focus()

    def on_blur(self) -> None:
        if self.app.app_focus:  # else another window has the keyboard, and gives it back
            self.display = False
