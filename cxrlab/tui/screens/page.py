"""What came of a long piece of work? A page that says it is being worked on until it is there."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab import text
from cxrlab.errors import CxrlabError
from cxrlab.harmless import harmless
from cxrlab.tui.asking import Asking
from cxrlab.tui.words import tr
from store.db import StoreError

Lines = Callable[[int], Sequence[str]]
"""The lines of a page for a width; the first one is its head."""


class Page(ModalScreen[None]):
    """Shows lines of text that a thread works out; leaving does not wait for it."""

    AUTO_FOCUS = "#page"
    BINDINGS = [
        Binding(
            "escape,q,backspace", "back", "Back", tooltip="Back; what is worked on is dropped."
        ),
        Binding("y", "copy", "Copy", tooltip="Copy the page as text; the terminal keeps it."),
        # arrows and pages are the text's own keys, which has the focus
        Binding("j", "scroll(1)", "Down", show=False),
        Binding("k", "scroll(-1)", "Up", show=False),
        Binding("space", "scroll(10)", "Page down", show=False),
    ]

    @dataclass
    class Worked(Message, bubble=False):
        """The work is done."""

        lines: Lines
        failed: bool = False

    def __init__(self, title: str, work: Callable[[], Lines]) -> None:
        super().__init__()
        self.title = title
        self._work = work
        self._lines: Lines | None = None
        self._failed = False
        self._drawn_for = 0
        self._began = time.monotonic()
        self._asking = Asking(self, self._work_out)

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide") as box:
            box.border_title = Text(harmless(str(self.title)))
            with VerticalScroll(id="page"):
                yield Static(id="page-text")
            yield Static(Text(tr("y  copy     ↑ ↓  scroll     Esc  back")), classes="keys")

    def on_mount(self) -> None:
        self._asking.ask()
        self.set_interval(1.0, self.draw)
        self.draw()

    def on_resize(self) -> None:
        self.draw()

    def _work_out(self) -> Worked:
        try:
            return self.Worked(self._work())
        except (CxrlabError, StoreError, OSError) as error:
            said = [str(error), *filter(None, [getattr(error, "hint", "")])]
            return self.Worked(lambda width: said, failed=True)

    @on(Worked)
    def take(self, message: Worked) -> None:
        self._lines, self._failed = message.lines, message.failed
        self.draw()

    @property
    def done(self) -> bool:
        """Whether the work is done."""
        return self._lines is not None

    def draw(self) -> None:
        """Show the lines, or for how long they have been worked on."""
        page = self.query_one("#page-text", Static)
        if self._lines is None:
            passed = text.duration(time.monotonic() - self._began)
            page.update(Text(f"{tr('working')} … {passed}", "dim"))
            return
        width = max(20, self.query_one("#page").size.width - 2)
        if width != self._drawn_for:
            self._drawn_for = width
            page.update(styled(self._lines(width), failed=self._failed))

    def action_scroll(self, down: int) -> None:
        self.query_one("#page").scroll_relative(y=down, animate=False)

    def action_copy(self) -> None:
        if self._lines is not None:
            self.app.copy_to_clipboard("\n".join(map(harmless, self._lines(100))))
            self.notify(tr("the page is in the clipboard"), markup=False)

    def action_back(self) -> None:
        self.dismiss()


def styled(lines: Sequence[str], *, failed: bool) -> Text:
    """Return the lines with their head in bold; nothing in them is markup."""
    said = Text()
    for number, line in enumerate(lines):
        said.append(f"{tr('error:')} " if failed and not number else "", "bold")
        said.append(harmless(line), "bold" if not number else "").append("\n")
    said.rstrip()
    return said
