"""How is a log of any size looked at? A window of lines that follows the end, or stands still.

The view holds at most `MOST` lines and knows which bytes of the file they are. Reading happens on a
thread; what was read comes back as a message.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path

from rich.ansi import AnsiDecoder
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import on, work
from textual.actions import SkipAction
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import get_current_worker

from cxrlab.harmless import harmless
from cxrlab.tui.tail import (
    ERRORS,
    Line,
    Needle,
    Piece,
    last_piece,
    match_after,
    match_before,
    needle,
    next_piece,
    piece_around,
    piece_before,
)
from cxrlab.tui.words import tr

MOST = 20_000
NEAR = 20
"""Lines from the top at which earlier ones are fetched."""

SHOWN_AS = Style(bold=True, reverse=True)
"""How a match is drawn, in the log's own colours or none."""


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows one file. Text in it is drawn as it is; nothing in it is executed."""

    BINDINGS = [
        Binding("up,k", "lines(-1)", "Up", show=False, tooltip="One line up; stops following."),
        Binding("down,j", "lines(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "pages(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("left,h", "columns(-8)", "Left", show=False),
        Binding("right,l", "columns(8)", "Right", show=False),
        Binding("home,g", "top", "Top", show=False, tooltip="The first line held."),
        Binding("end,G", "follow", "End", show=False, tooltip="To the end, and follow it."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """A piece of the file, and whether it goes before, after or in place of what is there."""

        piece: Piece
        place: str
        number: int

    @dataclass
    class Found(Message, bubble=False):
        """Where the line begins that was searched; `error` says why there was no searching."""

        number: int
        offset: int | None
        none: str
        error: str = ""

    DEFAULT_CSS = """
    LogView > .log--match { background: $primary 25%; }
    """
    COMPONENT_CLASSES = {"log--match"}

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path: Path | None = None
        self.following = True
        self.lines: list[Line] = []
        self.unfinished = ""
        self._start = 0
        self._end = 0
        self.said = ""
        """What there is to say of the search."""
        self._reading = False
        self._widest = 0
        self._asked = 0
        self._whole = True
        self._needle: Needle | None = None
        self._match: int | None = None
        self._marked: int | None = None
        self._searching = False
        self._searches = 0

    def open(self, path: Path) -> None:
        """Show the end of `path` and follow it."""
        self.path = path
        self.following = True
        self.lines, self.unfinished, self._start, self._end = [], "", 0, 0
        self._read("end")

    def poll(self) -> None:
        """Look for new lines; called by the screen's timer."""
        self._stay_at_end()
        if self.path is None or self._reading:
            return
        near = self.max_scroll_y - self.scroll_offset.y < NEAR
        if self.following or near or (self._whole and len(self.lines) < MOST * 2):
            self._read("after" if self._end or self.lines else "end")

    def _read(self, place: str) -> None:
        self._reading = True
        self._asked += 1
        self._fetch(place, self._start, self._end, self._match or 0, self._asked)

    @work(thread=True, exclusive=True, group="log")
    def _fetch(self, place: str, start: int, end: int, match: int, number: int) -> None:
        if self.path is None:
            return
        try:
            if place == "before":
                piece = piece_before(self.path, start)
            elif place == "after":
                piece = next_piece(self.path, end)
            elif place == "match":
                piece = piece_around(self.path, match)
            else:
                piece = last_piece(self.path)
        except OSError as error:
            piece = Piece(
                [],
                start,
                end,
                f"{tr('cannot read {file}').format(file=self.path)}: {error.strerror}",
            )
        self.post_message(self.Read(piece, place, number))

    @on(Read)
    def _take(self, message: Read) -> None:
        if message.number != self._asked:
            return
        self._reading = False
        piece = message.piece
        if message.place == "before":
            self._take_before(piece)
            return
        unchanged = not piece.lines and piece.unfinished == self.unfinished
        self._whole = piece.whole
        if message.place == "after" and unchanged and not piece.shrunk:
            return
        if message.place != "after" or piece.shrunk:
            self.lines, self._start, self._widest = list(piece.lines), piece.start, 0
        else:
            self.lines += piece.lines
        if piece.shrunk:
            self._match = self._marked = None
        self._end, self.unfinished = piece.end, piece.unfinished
        dropped = self._drop_earliest()
        self._measure([*(line.text for line in piece.lines), piece.unfinished])
        if dropped and not self.following:
            self.scroll_to(y=self.scroll_offset.y - dropped, animate=False)
        self._stay_at_end()
        if message.place == "match":
            self._show_match()

    def _drop_earliest(self) -> int:
        """Let go of the lines that are too many; return how many."""
        near = self.max_scroll_y - self.scroll_offset.y < NEAR
        most = MOST if self.following else MOST * 2
        dropped = len(self.lines) - most if self.following or near else 0
        if dropped <= 0:
            return 0
        del self.lines[:dropped]
        self._start = self.lines[0].offset
        return dropped

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
            line = self.lines[index]
        elif index == len(self.lines) and self.unfinished:
            line = Line(self._end, self.unfinished)
        elif y == 0 and not self.lines:
            line = Line(-1, tr("the log is empty so far"))
        else:
            return Strip.blank(width, style)
        if line.offset == self._marked:
            style = self.get_component_rich_style("log--match")
        x = int(self.scroll_offset.x)
        return self._strip(line, style).crop(x, x + width).extend_cell_length(width, style)

    def _strip(self, line: Line, style: Style) -> Strip:
        """Return a whole line with its colours, and what was searched in it."""
        marked = line.offset == self._marked
        if not line.colours and not marked:
            return Strip([Segment(line.text, style)])
        text = Text(line.text, style=style, end="")
        colours = AnsiDecoder()
        ends = [*(at for at, _ in line.colours[1:]), len(line.text)]
        for (at, sgr), until in zip(line.colours, ends, strict=False):
            colours.decode_line(f"\x1b[{sgr}m")
            # what a log conceals is shown, and nothing blinks
            text.stylize(colours.style + Style(conceal=False, blink=False, blink2=False), at, until)
        if marked and self._needle is not None:
            for start, end in self._needle.spans(line.text):
                text.stylize(SHOWN_AS, start, end)
        return Strip(text.render(self.app.console))

    # -- searching

    def search(self, typed: str) -> None:
        """Look for what was typed, from the end of the file upwards."""
        self._match = None
        self._look_for(needle(typed))

    def search_error(self) -> None:
        """Look for the newest error, or for the next older where one is shown."""
        if self._needle is not ERRORS:
            self._match = None
        self._look_for(ERRORS)

    def search_on(self, step: int) -> None:
        """Look for the next older match where `step` is negative, else for the next newer."""
        if self._needle is None:
            self.said = tr("nothing searched yet, `/` searches")
        elif step < 0 or self._match is not None:
            self._look_for(self._needle, newer=step > 0)

    def cancel(self) -> bool:
        """Stop searching; say whether there was anything to stop."""
        if not self._searching:
            return False
        self._searching, self.said = False, tr("search stopped")
        self._searches += 1
        self.workers.cancel_group(self, "log-search")
        return True

    def _look_for(self, sought: Needle, *, newer: bool = False) -> None:
        if self.path is None:
            return
        self._needle, self._searching = sought, True
        self._searches += 1
        self.said = tr("searching, `Esc` stops")
        self._seek(self.path, sought, self._match, newer, self._searches)

    @work(thread=True, exclusive=True, group="log-search")
    def _seek(
        self, path: Path, sought: Needle, match: int | None, newer: bool, number: int
    ) -> None:
        worker = get_current_worker()

        def stopped() -> bool:
            return worker.is_cancelled

        if match is not None:
            none = tr("no newer match") if newer else tr("no older match")
        elif sought is ERRORS:
            none = tr("no error found")
        else:
            none = tr("not found: {words}").format(words=harmless(sought.words[0]))
        try:
            if newer and match is not None:
                found = match_after(path, sought, match, stopped)
            else:
                found = match_before(path, sought, match, stopped)
        except OSError as error:
            why = f"{tr('cannot read {file}').format(file=path)}: {error.strerror}"
            self.post_message(self.Found(number, None, none, why))
        else:
            self.post_message(self.Found(number, found, none))

    @on(Found)
    def _take_found(self, message: Found) -> None:
        if message.number != self._searches:
            return
        self._searching = False
        if message.offset is None:
            self.said = message.error or message.none
            return
        self.said = tr("`n` older, `N` newer")
        self.following = False
        self._match = message.offset
        held = [line.offset for line in self.lines[:1]]
        if held and not self._reading and held[0] <= message.offset <= self._end:
            self._show_match()
        else:
            self._read("match")

    def _show_match(self) -> None:
        """Scroll to the line of the match, and to the match within it."""
        if self._match is None or not (self.lines or self.unfinished):
            return
        shown = self.lines + ([Line(self._end, self.unfinished)] if self.unfinished else [])
        index = max(0, bisect_right(shown, self._match, key=lambda line: line.offset) - 1)
        line = shown[index]
        self._marked = line.offset
        spans = self._needle.spans(line.text) if self._needle is not None else []
        left, right = (cell_len(line.text[:at]) for at in (spans[0] if spans else (0, 0)))
        width = self.size.width
        x = 0 if right <= width else left - width // 3
        self.scroll_to(x=x, y=index - self.size.height // 3, animate=False)
        self.following = False
        self.refresh()

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
        elif self.is_vertical_scroll_end and self._whole:
            self.following = True

    def action_columns(self, count: int) -> None:
        if not self.max_scroll_x:
            raise SkipAction  # no line is wider than the screen; the curves take the key
        self.scroll_relative(x=count, animate=False)

    def action_top(self) -> None:
        self.following = False
        self.scroll_home(animate=False)

    def action_follow(self) -> None:
        self.cancel()
        self.following = True
        self.said, self._match, self._marked = "", None, None
        if not self._whole:
            self._read("end")
        self._stay_at_end()
        self.refresh()
