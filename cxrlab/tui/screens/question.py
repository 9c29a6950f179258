"""Are you sure? Asked before anything that cannot be taken back lightly."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab.harmless import harmless
from cxrlab.tui.words import tr


class Question(ModalScreen[bool]):
    """Dismissed with True only by `y`; everything else that closes it means no."""

    BINDINGS = [
        Binding("y", "answer(True)", "Yes", tooltip="Do it."),
        Binding("n,escape,q", "answer(False)", "No", tooltip="Leave everything as it is."),
    ]

    def __init__(self, title: str, text: str) -> None:
        super().__init__()
        self._title = title
        self._text = text

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(harmless(self._title))
            yield Static(Content("\n".join(map(harmless, self._text.splitlines()))))
            yield Static(Content(tr("y  yes     n  no")), classes="keys")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)
