"""What is to be written down? A form of a kind and a text."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Label, Static, TextArea

from cxrlab.harmless import harmless
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.words import tr

KINDS = ("todo", "idea", "note")


class Words(TextArea):
    """The text. Enter saves it; another line begins with Ctrl+J."""

    BINDINGS = [
        Binding("enter", "screen.save", "Save", priority=True, tooltip="Write it down."),
        Binding("ctrl+j", "new_line", "New line", tooltip="Begin another line."),
    ]

    def on_paste(self, event: events.Paste) -> None:
        """Make what is pasted harmless, before the text takes it in."""
        event.text = shown(event.text)

    def action_new_line(self) -> None:
        self.insert("\n")


class NoteForm(ModalScreen[tuple[str, str] | None]):
    """Dismissed with the kind and the words, or None where nothing is to be changed."""

    AUTO_FOCUS = "Words"
    BINDINGS = [
        Binding("enter", "save", "Save", tooltip="Write it down."),
        Binding("escape", "leave", "Back", tooltip="Leave everything as it is."),
    ]

    def __init__(self, title: str, kind: str, text: str = "", *, fixed: bool = False) -> None:
        super().__init__()
        self._title = title
        self._kind = kind
        self._before = shown(text)
        self._fixed = fixed

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(self._title)
            if not self._fixed:
                with Horizontal(classes="field"):
                    yield Label(tr("kind"))
                    yield Choice(KINDS, chosen=self._kind, id="note-kind", label=tr)
            yield Words(self._before, id="note-text", tab_behavior="focus", compact=True)
            yield Static(id="problem", markup=False)
            keys = tr("Enter  save     Ctrl+J  new line     Esc  back")
            keys = keys if self._fixed else f"{keys}     {tr('Tab  kind')}"
            yield Static(Content(keys), classes="keys")

    def on_mount(self) -> None:
        words = self.query_one(Words)
        words.cursor_blink = False
        words.move_cursor(words.document.end)
        self.query_one("#problem").display = False

    def action_save(self) -> None:
        text = self.query_one(Words).text.strip()
        if not text:
            problem = self.query_one("#problem", Static)
            problem.display = True
            problem.update(tr("an entry needs words"))
        elif text == self._before.strip():
            self.dismiss(None)
        else:
            kind = self._kind if self._fixed else self.query_one("#note-kind", Choice).value
            self.dismiss((kind, text))

    def action_leave(self) -> None:
        self.dismiss(None)


def shown(text: str) -> str:
    """Return the text line by line with its control characters as visible signs."""
    return "\n".join(harmless(line) for line in text.splitlines())
