"""Which keys are there? The last line of a screen, built anew only when it says something else.

A screen leaves out of it what can do nothing now by naming the actions as its `idle`; their keys
still say why.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from textual.app import ComposeResult
from textual.screen import Screen
from textual.widgets import Footer
from textual.widgets._footer import FooterKey

from cxrlab.tui.words import tr


class Foot(Footer):
    """Textual's footer, which makes all its keys again whenever the focus moves.

    That took two thirds of the time of a key that turns a page; most moves change no shown key.
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)
        self._said: list[tuple[Any, ...]] = []

    def compose(self) -> ComposeResult:
        keys = [part for part in super().compose() if isinstance(part, FooterKey)]
        keys = [key for key in keys if key.action not in self._idle]
        self.styles.grid_size_columns = len(keys)
        for key in keys:
            key.description = tr(key.description)
            if isinstance(key.tooltip, str):
                key.tooltip = tr(key.tooltip)
            yield key

    @property
    def _idle(self) -> Collection[str]:
        return getattr(self.screen, "idle", ())

    def bindings_changed(self, screen: Screen[Any]) -> None:
        shown = [
            (binding.key, binding.description, enabled, tooltip)
            for _, binding, enabled, tooltip in screen.active_bindings.values()
            if binding.show and binding.action not in self._idle
        ]
        if shown != self._said or not self._bindings_ready:
            if screen.app.app_focus and screen is self.screen:
                self._said = shown
            super().bindings_changed(screen)
