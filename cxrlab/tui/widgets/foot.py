"""Which keys are there? The last line of a screen, built anew only when it says something else."""

from __future__ import annotations

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
        for part in super().compose():
            if isinstance(part, FooterKey):
                part.description = tr(part.description)
                if isinstance(part.tooltip, str):
                    part.tooltip = tr(part.tooltip)
            yield part

    def bindings_changed(self, screen: Screen[Any]) -> None:
        shown = [
            (binding.key, binding.description, enabled, tooltip)
            for _, binding, enabled, tooltip in screen.active_bindings.values()
            if binding.show
        ]
        if shown != self._said or not self._bindings_ready:
            if screen.app.app_focus and screen is self.screen:
                self._said = shown
            super().bindings_changed(screen)
