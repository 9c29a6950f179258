"""One of a few, on one line: left and right choose; the chosen one stands in brackets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text
from textual import events
from textual.binding import Binding
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget


class Choice(Widget, can_focus=True):
    """Holds the index of what is chosen."""

    COMPONENT_CLASSES = {"choice--on", "choice--off"}
    BINDINGS = [
        Binding("left,h", "turn(-1)", "Before", show=False, tooltip="The choice before."),
        Binding("right,l,space", "turn(1)", "Next", show=False, tooltip="The next choice."),
    ]

    index: reactive[int] = reactive(0)

    @dataclass
    class Changed(Message):
        """Another one was chosen."""

        value: str

    def __init__(
        self,
        options: Sequence[str],
        *,
        chosen: str,
        id: str,
        label: Callable[[str], str] = str,
    ) -> None:
        """Offer `options`, each drawn as what `label` makes of it."""
        super().__init__(id=id)
        self._label = label
        self.options = tuple(options)
        self.set_reactive(Choice.index, self.options.index(chosen))

    @property
    def value(self) -> str:
        """The text of what is chosen."""
        return self.options[self.index]

    def render(self) -> Text:
        said = Text(no_wrap=True)
        for i, option in enumerate(self.options):
            on = i == self.index
            style = self.get_component_rich_style("choice--on" if on else "choice--off", partial=on)
            shown = self._label(option)
            said.append(f"[{shown}]" if on else f" {shown} ", style)
            said.append(" ")
        return said

    def action_turn(self, by: int) -> None:
        self.index = (self.index + by) % len(self.options)
        self.post_message(self.Changed(self.value))

    def on_click(self, event: events.Click) -> None:
        at = 0
        for i, option in enumerate(self.options):
            at += cell_len(self._label(option)) + 3
            if event.x < at:
                self.action_turn(i - self.index)
                return
