"""How far is a command that was started from here? Its words, as they come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab.harmless import harmless
from cxrlab.tui import errands
from cxrlab.tui.asking import Asking
from cxrlab.tui.words import tr

LOOK_S = 0.3


class ErrandScreen(ModalScreen[None]):
    """Follows the words of a command to their end; leaving does not stop it."""

    BINDINGS = [
        Binding("escape,q,enter", "back", "Back", tooltip="Back; the command goes on."),
        Binding("s", "stop", "Stop", tooltip="Stop the command; runs that it queued go on."),
        Binding("down,j", "scroll(1)", "Down", show=False, tooltip="A line down."),
        Binding("up,k", "scroll(-1)", "Up", show=False, tooltip="A line up."),
        Binding("pagedown,space", "scroll(10)", "Page down", show=False),
        Binding("pageup", "scroll(-10)", "Page up", show=False),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """The last words of the command."""

        lines: Sequence[str]

    def __init__(self, running: errands.Running) -> None:
        super().__init__()
        self.title = running.errand.title
        self._command = running
        self._lines: Sequence[str] | None = None
        self._on_its_way = False
        """Whether the page is being scrolled to its end, which waits for the next painting."""
        self._asking = Asking(self, lambda: self.Read(errands.words_of(running.file)))

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide") as box:
            box.border_title = Content(harmless(self._command.errand.title))
            yield Static(id="errand-state", markup=False)
            with VerticalScroll(id="errand", can_focus=False):
                yield Static(id="errand-words")
            yield Static(id="errand-keys", classes="keys")

    def on_mount(self) -> None:
        self.set_interval(LOOK_S, self.look)
        self.look()

    def look(self) -> None:
        self._asking.ask()
        self.query_one("#errand-state", Static).update(state_of(self._command))
        ended = self._command.code is not None
        keys = tr("Esc  back") if ended else tr("s  stop     Esc  back; it goes on")
        self.query_one("#errand-keys", Static).update(Content(keys))

    @on(Read)
    def draw(self, message: Read) -> None:
        if message.lines == self._lines:
            return  # following once more would undo a key that has just scrolled
        self._lines = message.lines
        page = self.query_one("#errand")
        follows = self._on_its_way or page.scroll_offset.y >= page.max_scroll_y
        self.query_one("#errand-words", Static).update(Text("\n".join(message.lines)))
        if follows:
            self._on_its_way = True
            page.scroll_end(animate=False)
            self.call_after_refresh(self._arrive)

    def _arrive(self) -> None:
        self._on_its_way = False

    def action_scroll(self, down: int) -> None:
        self._on_its_way = False
        self.query_one("#errand").scroll_relative(y=down, animate=False)

    def action_stop(self) -> None:
        self._command.stop()

    def action_back(self) -> None:
        self.dismiss()


def state_of(running: errands.Running) -> Text:
    """Return the command as it would be typed, and how it is."""
    if running.code is None:
        how = f"▶ {tr('running')}"
    elif running.stopped:
        how = f"■ {tr('stopped')}"
    elif running.code:
        how = f"✗ {tr('failed')}, {tr('exit')} {running.code}"
    else:
        how = f"✓ {tr('done')}"
    said = Text(how, "bold").append("  cxrlab ", "not bold")
    return said.append(harmless(" ".join(running.errand.argv)) + "\n", "not bold")
