"""How is a log of any size looked at? A window of lines that follows the end, or stands still.

The view holds at most `MOST` lines and knows which bytes of the file they are. Reading happens on a
thread; what was read comes back as a message.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.segment import Segment
from textual import on, work
from textual.actions import SkipAction
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cxrlab.tui.tail import Line, Piece, last_piece, next_piece, piece_before
from cxrlab.tui.words import tr

MOST = 20_000
NEAR = 20
"""Lines from the top at which earlier ones are fetched."""


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows one file. Text in it is drawn as it is; nothing in it is executed."""

    BINDINGS = [
        Binding("up,k", "lines(-1)", "Up", show=False, tooltip="One line up; stops following."),
        Binding("down,j", "lines(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "pages(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("left,h", "columns(-8)", "Left", show=False),
        Binding("right", "columns(8)", "Right", show=False),
        Binding("home,g", "top", "Top", show=False, tooltip="The first line held."),
        Binding("end,G", "follow", "End", show=False, tooltip="To the end, and follow it."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """A piece of the file, and whether it goes before, after or in place of what is there."""

        piece: Piece
        place: str

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path: Path | None = None
        self.following = True
        self.lines: list[Line] = []
        self.unfinished = ""
        self._start = 0
        self._end = 0
        self._reading = False
        self._widest = 0

    def open(self, path: Path) -> None:
        """Show the end of `path` and follow it."""
        self.path = path
        self.following = True
        self.lines, self.unfinished, self._start, self._end = [], "", 0, 0
        self._read("end")

    def poll(self) -> None:
        """Look for new lines; called by the screen's timer."""
        self._stay_at_end()
        if self.path is not None and not self._reading and len(self.lines) < MOST * 2:
            self._read("after" if self._end or self.lines else "end")

    def _read(self, place: str) -> None:
        self._reading = True
        self._fetch(place, self._start, self._end)

    @work(thread=True, exclusive=True, group="log")
    def _fetch(self, place: str, start: int, end: int) -> None:
        if self.path is None:
            return
        try:
            if place == "before":
                piece = piece_before(self.path, start)
            elif place == "after":
                piece = next_piece(self.path, end)
            else:
                piece = last_piece(self.path)
        except OSError as error:
            piece = Piece(
                [],
                start,
                end,
                f"{tr('cannot read {file}').format(file=self.path)}: {error.strerror}",
            )
        self.post_message(self.Read(piece, place))

    @on(Read)
    def _take(self, message: Read) -> None:
        self._reading = False
        piece = message.piece
        if message.place == "before":
            self._take_before(piece)
            return
        unchanged = not piece.lines and piece.unfinished == self.unfinished
        if message.place == "after" and unchanged and not piece.shrunk:
            return
        if message.place == "end" or piece.shrunk:
            self.lines, self._start, self._widest = list(piece.lines), piece.start, 0
        else:
            self.lines += piece.lines
        self._end, self.unfinished = piece.end, piece.unfinished
        if self.following and len(self.lines) > MOST:
            del self.lines[: len(self.lines) - MOST]
            self._start = self.lines[0].offset
        self._measure([*(line.text for line in piece.lines), piece.unfinished])
        self._stay_at_end()

    def _stay_at_end(self) -> None:
        """Show the end where it is followed, also once the layout has changed."""
        if self.following and self.scroll_offset.y != self.max_scroll_y:
            self.scroll_to(y=self.max_scroll_y, animate=False)

    def on_resize(self) -> None:
        self.call_after_refresh(self._stay_at_end)

    def _take_before(self, piece: Piece) -> None:
        self.lines[:0] = piece.lines
        self._start = piece.start
        self._measure([line.text for line in piece.lines])
        self.scroll_to(y=self.scroll_offset.y + len(piece.lines), animate=False)

    def _measure(self, new: list[str]) -> None:
        self._widest = max([self._widest, *(cell_len(line) for line in new)])
        count = len(self.lines) + bool(self.unfinished)
        self.virtual_size = Size(self._widest, count)
        self.refresh()

    # -- drawing

    def render_line(self, y: int) -> Strip:
        """Draw one line of the view."""
        style = self.rich_style
        index = y + int(self.scroll_offset.y)
        width = self.size.width
        if index < len(self.lines):
            line = self.lines[index].text
        elif index == len(self.lines) and self.unfinished:
            line = self.unfinished
        elif y == 0 and not self.lines:
            line = tr("the log is empty so far")
        else:
            return Strip.blank(width, style)
        x = int(self.scroll_offset.x)
        strip = Strip([Segment(line, style)])
        return strip.crop(x, x + width).extend_cell_length(width, style)

    # -- moving

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if new_value < old_value:
            self.following = self.is_vertical_scroll_end
            if new_value < NEAR and self._start > 0 and not self._reading:
                self._read("before")

    def action_lines(self, count: int) -> None:
        self.scroll_relative(y=count, animate=False)
        self._settle(count)

    def action_pages(self, count: int) -> None:
        self.scroll_relative(y=count * max(1, self.size.height - 1), animate=False)
        self._settle(count)

    def _settle(self, count: int) -> None:
        """Follow again where moving down has reached the end."""
        if count < 0:
            self.following = False
        elif self.is_vertical_scroll_end:
            self.following = True

    def action_columns(self, count: int) -> None:
        if not self.max_scroll_x:
            raise SkipAction  # no line is wider than the screen; the curves take the key
        self.scroll_relative(x=count, animate=False)

    def action_top(self) -> None:
        self.following = False
        self.scroll_home(animate=False)

    def action_follow(self) -> None:
        self.following = True
        self._stay_at_end()
