"""Which keys are there? The last line of a screen.

Textual's own footer is a widget for each key, all made again when the focus moves: two thirds of
the time that going into a field took. This is one line, drawn again where it says something else.

A screen leaves out of it what can do nothing now by naming the actions as its `idle`; their keys
still say why.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from rich.text import Text
from textual import events
from textual.reactive import reactive
from textual.screen import Screen
from textual.widget import Widget

from cxrlab.tui.words import tr


class Key(NamedTuple):
    """A key, how it is written, what it does in a word and in a sentence."""

    key: str
    sign: str
    word: str
    sentence: str
    enabled: bool

    @property
    def width(self) -> int:
        """How many columns it takes."""
        return self.text().cell_len

    def text(self, sign: Any = "", word: Any = "") -> Text:
        """Return it as it stands in the line, in the styles given."""
        return Text.assemble((f" {self.sign} ", sign), (f"{self.word} " if self.word else "", word))


class Foot(Widget):
    """The keys of the screen. A click presses one."""

    COMPONENT_CLASSES = {"foot--key", "foot--word", "foot--pointed"}
    ALLOW_SELECT = False

    pointed: reactive[int | None] = reactive(None)
    """The key under the mouse."""

    def __init__(self) -> None:
        super().__init__()
        self._keys: tuple[Key, ...] = ()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self.bindings_changed)

    def bindings_changed(self, screen: Screen[Any]) -> None:
        """Show the keys there are now; while another window has the keyboard they stay."""
        if not screen.app.app_focus or screen is not self.screen:
            return
        idle = getattr(screen, "idle", ())
        found: dict[str, Key] = {}
        for _, binding, enabled, tooltip in screen.active_bindings.values():
            if binding.show and binding.action not in idle:
                sign, word = self.app.get_key_display(binding), tr(binding.description)
                key = Key(binding.key, sign, word, tr(tooltip) if tooltip else word, enabled)
                found.setdefault(binding.action, key)
        if tuple(found.values()) != self._keys:
            self._keys = tuple(found.values())
            self.pointed = None
            self.refresh()

    def render(self) -> Text:
        line = Text(no_wrap=True, overflow="crop", end="")
        style = self.get_component_rich_style
        for at, key in enumerate(self._keys):
            said = key.text(style("foot--key"), style("foot--word"))
            if at == self.pointed:
                said.stylize(style("foot--pointed"))
            if not key.enabled:
                said.stylize("dim")
            line.append_text(said)
        return line

    # -- mouse

    def _key_at(self, x: int) -> int | None:
        for at, key in enumerate(self._keys):
            x -= key.width
            if x < 0:
                return at
        return None

    def on_mouse_move(self, event: events.MouseMove) -> None:
        self.pointed = self._key_at(event.x)
        self.tooltip = None if self.pointed is None else self._keys[self.pointed].sentence

    def on_leave(self) -> None:
        self.pointed = None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        at = self._key_at(event.x)
        if at is not None and self._keys[at].enabled:
            self.app.simulate_key(self._keys[at].key)
        elif at is not None:
            self.app.bell()
