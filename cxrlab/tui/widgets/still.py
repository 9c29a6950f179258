"""Words that stay still: nothing is laid out anew unless they say something else and grow."""

from __future__ import annotations

from textual.visual import VisualType
from textual.widgets import Static


class Still(Static):
    """A text that is told again and again what it says.

    Textual's own lays the whole screen out whenever it is told anything.
    """

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show `content` in place of what is shown."""
        style = getattr(content, "style", None)  # which a text leaves out when it is compared
        if content != self.content or style != getattr(self.content, "style", None):
            super().update(content, layout=layout and self._grows)

    @property
    def _grows(self) -> bool:
        """Whether its words decide how large it is, or how far it can be scrolled."""
        styles = self.styles
        return styles.auto_dimensions or "auto" in (styles.overflow_x, styles.overflow_y)
