"""How is one line of a log drawn? In the colours that it came with, and with what is sought."""

from __future__ import annotations

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual.strip import Strip

from cxrlab.tui.tail import Line, Needle

SHOWN_AS = Style(bold=True, reverse=True)
"""How a match is drawn, in the log's own colours or none."""


def drawn(line: Line, style: Style, console: Console, sought: Needle | None = None) -> Strip:
    """Return a whole line with its colours, and what is sought in it."""
    if not line.colours and sought is None:
        return Strip([Segment(line.text, style)])
    text = Text(line.text, style=style, end="")
    colours = AnsiDecoder()
    ends = [*(at for at, _ in line.colours[1:]), len(line.text)]
    for (at, sgr), until in zip(line.colours, ends, strict=False):
        colours.decode_line(f"\x1b[{sgr}m")
        # what a log conceals is shown, and nothing blinks
        text.stylize(colours.style + Style(conceal=False, blink=False, blink2=False), at, until)
    for start, end in sought.spans(line.text) if sought else ():
        text.stylize(SHOWN_AS, start, end)
    return Strip(text.render(console))
