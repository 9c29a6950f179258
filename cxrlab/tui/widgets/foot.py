"""Which keys are there? The last line of a screen, built anew only when it says something else."""

from __future__ import annotations

from typing import Any

from textual.screen import Screen
from textual.widgets import Footer


class Foot(Footer):
    """Textual's footer, which makes all its keys again whenever the focus moves.

    That took two thirds of the time of a key that turns a page; most moves change no shown key.
    """

    def __init__(self) -> None:
        super().__init__(show_command_palette=False)
        self._said: list[tuple[Any, ...]] = []

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
