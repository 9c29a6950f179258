"""Which keys does this screen have? Read from the bindings themselves, so that none is missing."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Group
from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import ActiveBinding, Binding
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from cxrlab import text
from cxrlab.tui import sentences
from cxrlab.tui.words import padded, tr

NAMES = {
    "question_mark": "?",
    "slash": "/",
    "colon": ":",
    "up": "↑",
    "down": "↓",
    "left": "←",
    "right": "→",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "escape": "Esc",
    "enter": "Enter",
    "home": "Home",
    "end": "End",
    "space": "Space",
    "shift+up": "Shift+↑",
    "shift+down": "Shift+↓",
    "shift+left": "Shift+←",
    "shift+right": "Shift+→",
    "plus": "+",
    "minus": "-",
    "equals_sign": "=",
    "f2": "F2",
    "f3": "F3",
    "tab": "Tab",
    "shift+tab": "Shift+Tab",
}
HIDDEN = {"screen.copy_text", "app.help_quit", "help_quit", "app.suspend_process"}
WORDS = {
    "app.focus_next": "The next part of the screen.",
    "app.focus_previous": "The part before.",
    "command_palette": "Every command by name.",
}


class Help(ModalScreen[None]):
    """Every key of the screen it was called from, with what it does, and the signs of states."""

    BINDINGS = [
        Binding("escape,question_mark,q,enter", "close", "Close", tooltip="Back to the screen."),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("up,k", "scroll(-1)", "Up", show=False),
    ]

    def __init__(self, title: str, keys: list[tuple[str, str]]) -> None:
        super().__init__()
        self._title = title
        self._keys = keys

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = tr("Keys: {screen}").format(screen=tr(self._title or "this screen"))
            with VerticalScroll(id="help-text", can_focus=False):
                yield Static(Group(self._table(), self._signs()))
            yield Static(tr("Esc  back"), classes="keys")

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column()
        for keys, what in self._keys:
            table.add_row(Text(keys, "bold"), Text(tr(what)))
        return table

    def _signs(self) -> Text:
        lines = Text("\n")
        signs = [sentences.state(name) for name in text.STATES]
        states = Text(tr("States") + "  ", "bold")
        lines.append(states).append("   ".join(signs[:4]) + "\n")
        lines.append(" " * states.cell_len + "   ".join(signs[4:]) + "\n")
        lines.append(padded(tr("GPUs"), states.cell_len), "bold").append(
            tr("▶ a run of this lab   × somebody else's")
        )
        return lines

    def action_scroll(self, down: int) -> None:
        self.query_one("#help-text").scroll_relative(y=down, animate=False)

    def action_close(self) -> None:
        self.dismiss()


def keys_of(screen: Screen[object]) -> list[tuple[str, str]]:
    """Return (keys, what they do) of everything that works on `screen` now."""
    # the screen's own keys first, then those of every screen, then moving about in a widget
    of = {screen: 0, screen.app: 1}

    def place(item: ActiveBinding) -> int:
        return 3 if item.binding.action in WORDS else of.get(item.node, 2)

    return _merged(sorted(screen.active_bindings.values(), key=place))


def _merged(active: Iterable[ActiveBinding]) -> list[tuple[str, str]]:
    """Join the keys that do the same; keep their order."""
    keys: dict[tuple[str, str], list[str]] = {}
    for _, binding, enabled, tooltip in active:
        if not enabled or binding.action in HIDDEN or binding.key == "ctrl+q":
            continue
        what = WORDS.get(binding.action) or tooltip or binding.tooltip or binding.description
        if what:
            keys.setdefault((binding.action, what), []).append(
                binding.key_display or NAMES.get(binding.key, binding.key)
            )
    return [(" ".join(names), what) for (_, what), names in keys.items()]
