"""Where am I? The line at the top of every screen: the lab, the places to go, what is under way."""

from __future__ import annotations

from rich.text import Text
from textual.widget import Widget

from cxrlab.harmless import cut, harmless
from cxrlab.tui.words import tr

PLACES = {
    "grid": "1 Grid",
    "runs": "2 Runs",
    "queue": "3 Queue",
    "gpus": "4 GPUs",
    "notes": "5 Notes",
    "doctor": "6 Doctor",
}


class TopBar(Widget):
    """One line. The app fills in the counts; it never reads anything itself."""

    COMPONENT_CLASSES = {"bar--name", "bar--here", "bar--place", "bar--lab", "bar--warning"}

    def __init__(self, place: str, *, lab: str) -> None:
        super().__init__()
        self._place = place
        self._lab = harmless(lab)
        self._under_way = self._short = ""
        self._warning = ""

    def say(self, under_way: str, *, short: str = "", warning: str = "") -> None:
        """Show how many runs are under way, and what keeps the screen from being up to date.

        Args:
            under_way: the counts in words.
            short: the same in signs, for where there is no room for words.
            warning: shown instead of the counts.
        """
        told = (under_way, short, warning)
        if told != (self._under_way, self._short, self._warning):
            self._under_way, self._short, self._warning = told
            self.refresh()

    def render(self) -> Text:
        style = self.get_component_rich_style
        name = Text(" cxrlab ", style("bar--name"))
        left = Text()
        for place, title in PLACES.items():
            here = place == self._place
            left.append(f" {tr(title)} ", style("bar--here" if here else "bar--place"))
        right = Text(self._warning or self._under_way, style("bar--lab"))
        if self._warning:
            right.stylize(style("bar--warning"))
        elif left.cell_len + right.cell_len + 2 > self.size.width:
            right = Text(self._short, style("bar--lab"))
        if name.cell_len + left.cell_len + right.cell_len + 2 <= self.size.width:
            left = name + left
        room = self.size.width - left.cell_len - right.cell_len - 4
        if room > 3:
            right = Text(cut(self._lab, room) + "  ", style("bar--lab")) + right
        gap = max(1, self.size.width - left.cell_len - right.cell_len - 1)
        return (left + Text(" " * gap) + right + Text(" ")).copy()
