"""How is a log of any size looked at? A window of lines that follows the end, or stands still.

`following` is the one thing to know: while it holds, the last line is the lowest on the screen, and
the next read goes to the end of the file. Whoever scrolls away from the end stops following, and
whoever reaches it follows again. Reading happens on a thread; what was read comes back as a
message, and is taken only where nothing else has been asked for since.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from textual import on
from textual.actions import SkipAction
from textual.binding import Binding
from textual.geometry import Size
from textual.message import Message
from textual.reactive import var
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.worker import get_current_worker

from cxrlab.harmless import harmless
from cxrlab.tui import sentences
from cxrlab.tui.asking import Asking
from cxrlab.tui.held import Held
from cxrlab.tui.tail import (
    ERRORS,
    PIECE,
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
from cxrlab.tui.widgets.log_line import drawn
from cxrlab.tui.words import tr

NEAR = 20
"""Lines from the first or the last one held at which more are read."""

AT_ONCE = 16 * PIECE
"""Bytes written since the last look that are shown while following; of more, the end alone."""


class LogView(ScrollView, can_focus=True, inherit_bindings=False):
    """Shows one file. Text in it is drawn as it is; nothing in it is executed."""

    BINDINGS = [
        Binding("up,k", "lines(-1)", "Up", show=False, tooltip="One line up; stops following."),
        Binding("down,j", "lines(1)", "Down", show=False),
        Binding("pageup,ctrl+b", "pages(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "pages(1)", "Page down", show=False),
        Binding("left,h", "columns(-8)", "Left", show=False),
        Binding("right,l", "columns(8)", "Right", show=False),
        Binding("home,g", "top", "Top", show=False, tooltip="The log's first line."),
        Binding("end,G", "follow", "End", show=False, tooltip="To the end, and follow it."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """What was asked for; `error` says why there is nothing."""

        number: int
        place: str
        piece: Piece
        widest: int = 0
        error: str = ""

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

    following = var(True)
    said = var("")
    """What there is to say of the search, or of a file that cannot be read."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.path: Path | None = None
        self.held = Held()
        self.empty = ""
        """What is said where there is no line, if not that the log is empty."""
        self._reading = False
        self._reads = 0
        self._trouble = ""
        self._widest = 0
        self._needle: Needle | None = None
        self._match: int | None = None
        self._marked: int | None = None
        self._searching = False
        self._searches = 0
        self._asking = Asking(self, self._fetch)
        self._asking_search = Asking(self, self._seek)

    # -- reading

    def open(self, path: Path) -> None:
        """Show the end of `path` and follow it."""
        self.path, self.held, self.following = path, Held(), True
        self._read("end")

    def poll(self) -> None:
        """Look for new lines; called by the screen's timer."""
        if self._reading:
            return
        if self.following or self._near_end:
            self._read("after")
        else:
            self._read_near()

    @property
    def _near_end(self) -> bool:
        return bool(self.max_scroll_y - self.scroll_offset.y < NEAR)

    def _read_near(self) -> None:
        """Read what is next to the lines held, where one is near to an end of them."""
        if self._reading:
            return
        if self.held.start > 0 and self.scroll_offset.y < NEAR:
            self._read("before")
        elif not self.held.whole and not self.following and self._near_end:
            self._read("after")

    def _read(self, place: str) -> None:
        """Read what stands before or after the lines held, or at another place in their stead."""
        if self.path is None:
            return
        self._reads, self._reading = self._reads + 1, True
        at = {"before": self.held.start, "after": self.held.end, "match": self._match}.get(place)
        self._asking.ask(self._reads, self.path, place, at or 0, self.following)

    def _wait_no_longer(self) -> None:
        """Let what was asked for come to nothing."""
        self._reads, self._reading = self._reads + 1, False

    def _fetch(self, number: int, path: Path, place: str, at: int, follow: bool) -> Read:
        """Read a piece, on a thread."""
        try:
            if place == "end":
                piece = last_piece(path)
            elif place == "before":
                piece = piece_before(path, at)
            elif place == "after":
                piece = next_piece(path, at, AT_ONCE if follow else PIECE, follow=follow)
            else:
                piece = piece_around(path, at)
        except OSError as error:
            return self.Read(number, place, Piece([], at, at), error=_unreadable(path, error))
        texts = (line.text for line in piece.shown)
        widest = max((len(t) if t.isascii() else cell_len(t) for t in texts), default=0)
        return self.Read(number, place, piece, widest)

    @on(Read)
    def _take(self, message: Read) -> None:
        if message.number != self._reads:
            return  # something else has been asked for since
        self._reading = False
        if message.error or self._trouble:
            self._trouble = self.said = message.error
            self.refresh()
        piece, place = message.piece, message.place
        skips = place == "after" and piece.anew and piece.start > self.held.end
        if message.error or (skips and not self.following):
            return
        row = self.scroll_offset.y
        if place == "before":
            self.held.add_before(piece)
            row += len(piece.lines)
        elif place == "after" and not piece.anew:
            if not piece.lines and piece.unfinished == self.held.unfinished:
                self.held.whole = piece.whole
                self._stay_at_end()
                return
            self.held.add_after(piece)
        else:
            self.held, self._widest, row = Held.of(piece), 0, 0
            if place == "after" and not skips:  # the file was written anew
                self.following, self._match, self._marked = True, None, None
        count = self.held.count
        row -= self.held.trim(count if self.following else row)
        self._widest = max(self._widest, message.widest)
        self.virtual_size = Size(self._widest, self.held.count)
        self.refresh()
        if place == "match":
            self._show_match()
        else:
            self._put(self.held.count if self.following else row)
        if piece.lines and self.held.count == count:
            self._read_near()

    # -- drawing

    def render_line(self, y: int) -> Strip:
        """Draw one line of the view."""
        style, width = self.rich_style, self.size.width
        line = self.held.line(y + int(self.scroll_offset.y))
        if line is None and y == 0 and not self.held.count:
            unread = self._reads <= self._reading  # nor has the first answer come
            nothing = self._trouble or self.empty or tr("the log is empty so far")
            line = Line(-1, tr("reading …") if unread else nothing)
        if line is None:
            return Strip.blank(width, style)
        marked = line.offset == self._marked
        if marked:
            style = self.get_component_rich_style("log--match")
        strip = drawn(line, style, self.app.console, self._needle if marked else None)
        x = int(self.scroll_offset.x)
        return strip.crop(x, x + width).extend_cell_length(width, style)

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
        return True

    def _look_for(self, sought: Needle, *, newer: bool = False) -> None:
        if self.path is None:
            return
        self._needle, self._searching = sought, True
        self._searches += 1
        self.said = tr("searching, `Esc` stops")
        self._asking_search.ask(self._searches, self.path, sought, self._match, newer)

    def _seek(
        self, number: int, path: Path, sought: Needle, match: int | None, newer: bool
    ) -> Found:
        """Search the file, on a thread, until something else is searched or nothing any more."""
        worker = get_current_worker()

        def stopped() -> bool:
            return number != self._searches or worker.is_cancelled

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
            return self.Found(number, None, none, _unreadable(path, error))
        return self.Found(number, found, none)

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
        if self.held.covers(message.offset):
            self._wait_no_longer()
            self._show_match()
        else:
            self._read("match")

    def _show_match(self) -> None:
        """Scroll to the line of the match, and to the match within it."""
        row = self.held.row_of(self._match or 0)
        line = self.held.line(row)
        if self._match is None or self._needle is None or line is None:
            return
        self._marked = line.offset
        start, end = next(iter(self._needle.spans(line.text)), (0, 0))
        left, right = cell_len(line.text[:start]), cell_len(line.text[:end])
        width = self.size.width
        self._put(row - self.size.height // 3, 0 if right <= width else left - width // 3)
        self.following = False
        self.refresh()

    # -- moving

    def _put(self, row: int, x: int | None = None) -> None:
        """Let a line be the first on the screen, or as near to that as there are lines."""
        # also where no scroll bar is shown yet: that waits for the next layout
        self.scroll_to(x, row, animate=False, force=True)

    def _stay_at_end(self) -> None:
        if self.following:
            self._put(self.held.count)

    def on_resize(self) -> None:
        self._stay_at_end()  # before the next key, which may well leave it
        self.call_after_refresh(self._stay_at_end)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Follow where the end is reached, and no more where it is left; by whatever means."""
        super().watch_scroll_y(old_value, new_value)
        if self.is_vertical_scroll_end:
            self.following = self.following or self.held.whole
        elif new_value < old_value:
            self.following = False
        self._read_near()

    def action_lines(self, count: int) -> None:
        self.scroll_relative(y=count, animate=False)
        self._settle(count)

    def action_pages(self, count: int) -> None:
        self.scroll_relative(y=count * max(1, self.size.height - 1), animate=False)
        self._settle(count)

    def _settle(self, count: int) -> None:
        """Follow again where one goes down and is at the end already."""
        if count > 0 and self.is_vertical_scroll_end and self.held.whole:
            self.following = True

    def action_columns(self, count: int) -> None:
        if not self.max_scroll_x:
            raise SkipAction  # no line is wider than the screen; the curves take the key
        self.scroll_relative(x=count, animate=False)

    def action_top(self) -> None:
        self.following = False
        self._wait_no_longer()
        if self.held.start > 0:
            self._read("start")
        else:
            self._put(0, 0)
            self.following = False

    def action_follow(self) -> None:
        self.cancel()
        self.following = True
        self.said, self._match, self._marked = "", None, None
        if self.held.whole:
            self._stay_at_end()
        self._read("after")
        self.refresh()


def _unreadable(path: Path, error: OSError) -> str:
    why = sentences.said(error.strerror or str(error))
    return harmless(tr("cannot read {file}: {why}").format(file=path.name, why=why))
