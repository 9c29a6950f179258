"""What does the line under the cursor say in full? A text below a list, scrolled by keys."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll

from cxrlab.tui.widgets.still import Still
from cxrlab.tui.words import tr

KEYS = (
    Binding(
        "right_square_bracket",
        "scroll_below(3)",
        "Scroll",
        key_display="]",
        show=False,
        tooltip="Scroll the text below the list.",
    ),
    Binding(
        "left_square_bracket",
        "scroll_below(-3)",
        "Scroll back",
        key_display="[",
        show=False,
        tooltip="Scroll the text below the list back.",
    ),
)
"""For the screen that has one, whose list keeps the focus."""


class Below(VerticalScroll, can_focus=False):
    """Stays where it is read while it is told the same again."""

    def compose(self) -> ComposeResult:
        yield Still(Text())

    def show(self, said: Text) -> None:
        """Show a text from its beginning, unless it is the one that is shown."""
        still = self.query_one(Still)
        if said != still.content:
            still.update(said)
            self.scroll_home(animate=False)

    def turn(self, lines: int) -> None:
        """Scroll down by so many lines, or up; say so where there is nothing to scroll."""
        if self.max_scroll_y:
            self.scroll_relative(y=lines, animate=False)
        else:
            self.notify(tr("all of the text is shown"), markup=False)
