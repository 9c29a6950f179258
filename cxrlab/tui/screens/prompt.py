"""What shall it be? One line to type, asked for by whoever needs it."""

from __future__ import annotations

from collections.abc import Callable

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from cxrlab.errors import CxrlabError
from cxrlab.harmless import harmless
from cxrlab.tui import answers
from cxrlab.tui.words import tr


class Prompt(ModalScreen[str | None]):
    """Dismissed with what was typed, once `check` has nothing against it, or with None."""

    BINDINGS = [Binding("escape", "leave", "Back", tooltip="Leave everything as it is.")]

    def __init__(
        self, title: str, text: str, *, typed: str = "", check: Callable[[str], object] = len
    ) -> None:
        super().__init__()
        self._title = title
        self._text = text
        self._typed = typed
        self._check = check

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(self._title)
            yield Static(Content(self._text))
            yield Input(self._typed, id="prompt", compact=True, select_on_focus=False)
            yield Static(id="prompt-wrong")
            yield Static(Content(tr("Enter  take     Esc  back")), classes="keys")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    @on(Input.Changed)
    def forget_what_was_wrong(self) -> None:
        self.query_one("#prompt-wrong", Static).update("")

    @on(Input.Submitted)
    def take(self, message: Input.Submitted) -> None:
        try:
            self._check(message.value)
        except CxrlabError as error:
            said = "\n".join(map(harmless, answers.in_full(error).splitlines()))
            self.query_one("#prompt-wrong", Static).update(Content(said))
        else:
            self.dismiss(message.value)

    def action_leave(self) -> None:
        self.dismiss(None)
