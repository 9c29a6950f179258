"""How are thousands of rows shown by holding a screenful of them?

A table knows how many rows there are and holds a window of them. When a row comes into view that it
does not hold, it posts `RowsWanted`; the screen reads them on a thread and calls `show`. The head
and the first columns stay in place while the rest scrolls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.timer import Timer

from cxrlab.harmless import cut
from cxrlab.tui.widgets.rows import Column, Line, Made, Part, Span

MARK = "●"

MOST_DRAWN = 1000
"""Lines kept as they were drawn."""

AROUND = 64
"""Rows asked for before and after those in view."""

PATIENCE_S = 0.1
"""How long a jump to rows that are not held leaves those before it on the screen."""


class _Look(NamedTuple):
    """All that a line is drawn by: lines of one look are drawn once, wherever they stand."""

    cells: tuple[tuple[object, ...], ...]
    mark: str
    width: int
    column: int | None
    """Where the cursor stands in it."""
    here: bool
    """The cursor is in it, and the keys go to this table."""


_STATES = ("running", "queued", "blocked", "succeeded", "failed", "stopped", "lost")
_STYLES = ("head", "group", "dim", "strong", "best", "paper", *_STATES)
_NAMES = ("cursor", "row", *_STYLES)
_FULL = {"cursor", "row", "head", "group"}
"""Styles with a background of their own; the others only colour the text."""


class Table(ScrollView, can_focus=True, inherit_bindings=False):
    """Rows under a fixed head, with a cursor on a cell or on a row."""

    COMPONENT_CLASSES = {f"table--{name}" for name in _NAMES}
    BINDINGS = [
        Binding("up,k", "move(-1, 0)", "Up", show=False),
        Binding("down,j", "move(1, 0)", "Down", show=False),
        Binding(
            "left,h,H",
            "move(0, -1)",
            "Left",
            show=False,
            tooltip="To the left; with Shift where `h` does something else.",
        ),
        Binding(
            "right,l,L",
            "move(0, 1)",
            "Right",
            show=False,
            tooltip="To the right; with Shift where `l` does something else.",
        ),
        Binding("pageup,ctrl+b", "page(-1)", "Page up", show=False),
        Binding("pagedown,ctrl+f", "page(1)", "Page down", show=False),
        Binding("home,g", "go_to(0)", "First", show=False),
        Binding("end,G", "go_to(-1)", "Last", show=False),
    ]

    row: reactive[int] = reactive(0, repaint=False)
    column: reactive[int] = reactive(0, repaint=False)

    @dataclass
    class RowsWanted(Message):
        """Rows are in view, or will be with the next page, that the table does not hold."""

        offset: int
        limit: int

    @dataclass
    class Moved(Message):
        """The cursor stands elsewhere."""

        row: int
        column: int

    @dataclass
    class Chosen(Message):
        """The cell or row under the cursor was clicked."""

        row: int
        column: int

    def __init__(
        self,
        *,
        cursor: Literal["cell", "row"] = "row",
        frozen: int = 1,
        id: str | None = None,
        without: str = "",
    ) -> None:
        """Leave the letters `without` to the screen, which has uses of its own for them."""
        super().__init__(id=id)
        for letter in without:
            del self._bindings.key_to_bindings[letter]
        self.columns: tuple[Column, ...] = ()
        self.count = 0
        self.empty = ""
        """What is said where there are no rows."""
        self.marked: frozenset[int] = frozenset()
        """Rows that bear a mark, in the gap before their first column."""
        self.sign = MARK
        self._cursor = cursor
        self._frozen = frozen
        self._rows: Sequence[Line] | Made = ()
        self._offset = 0
        """The row that the first of `_rows` is."""
        self._widths: list[int] = []
        self._asked = (-1, -1)
        self._late: Timer | None = None
        """Runs while the cursor has jumped to rows that are being read, and the view has not."""
        self._drawn: dict[_Look, Strip] = {}
        """Lines drawn since columns or styles last changed."""
        self._styles: dict[str, Style] = {}
        """By name, as they were when lines were drawn last."""

    @property
    def first_movable(self) -> int:
        """The leftmost column the cursor may stand on."""
        return self._frozen if self._cursor == "cell" else 0

    @property
    def head_height(self) -> int:
        """Two where columns share heads, else one."""
        return 2 if any(column.group for column in self.columns) else 1

    def show(
        self,
        columns: Sequence[Column],
        rows: Sequence[Line] | Made,
        *,
        offset: int = 0,
        count: int,
    ) -> None:
        """Hold `rows`, the first of them being row `offset` of `count`."""
        if tuple(columns) != self.columns:
            self.columns = tuple(columns)
            self._drawn.clear()
        self.count = count
        self._rows, self._offset = rows, offset
        self._asked = (-1, -1)
        self._measure()
        self.row = self._past_heads(max(0, min(self.row, count - 1)), 1)
        self.column = max(self.first_movable, min(self.column, len(self.columns) - 1))
        if self._late:
            self._follow_cursor()
        else:
            self._ask_for_missing()
        self.refresh()

    def _measure(self) -> None:
        widths = [column.width for column in self.columns]
        growing = [i for i, column in enumerate(self.columns) if column.grows]
        spare = self._room() - sum(widths) - len(widths)
        if growing and spare > 0:
            for i in growing:
                widths[i] += spare // len(growing)
        if widths != self._widths:
            self._widths = widths
            self._drawn.clear()
        self.virtual_size = Size(sum(widths) + len(widths), self.head_height + self.count)

    def _room(self) -> int:
        """Return the columns there are beside a scroll bar, be it drawn already or to come."""
        gutter = self.styles.gutter
        height = self.outer_size.height - gutter.height
        bar = self.styles.scrollbar_size_vertical if self.head_height + self.count > height else 0
        return self.outer_size.width - gutter.width - bar

    def on_resize(self, event: events.Resize) -> None:
        self._measure()
        self._keep_in_view()
        self._ask_for_missing()

    # -- drawing

    def render_lines(self, crop: Region) -> list[Strip]:
        """Return lines as they stand in `_drawn`, so that scrolling makes none of them anew.

        Textual keeps lines by their place on the screen, and makes all of them when one moves.
        """
        styles = {"": self.rich_style} | {name: self._style(name) for name in _NAMES}
        if styles != self._styles:
            self._styles = styles
            self._drawn.clear()
        if self.styles.gutter or self.opacity < 1:
            return super().render_lines(crop)
        filters, background = self.get_line_filters(), self.background_colors[1]
        strips = []
        for y in crop.line_range:
            strip = self.render_line(y)
            for each in filters:
                strip = strip.apply_filter(each, background)
            strips.append(strip.crop(*crop.column_span))
        return strips

    def render_line(self, y: int) -> Strip:
        """Draw one line of the view."""
        width = self.size.width
        index = y - self.head_height + int(self.scroll_offset.y)
        row = self._row_at(index)
        if row is None or y < self.head_height:
            return self._other_line(y, index, width)
        on = index == self.row
        mark = self.sign if index in self.marked else ""
        cells = tuple(row.parts) if isinstance(row, Span) else tuple(map(tuple, row))
        look = _Look(cells, mark, width, self.column if on else None, here=on and self.has_keys)
        strip = self._drawn.get(look)
        if strip is None:
            if len(self._drawn) >= MOST_DRAWN:
                self._drawn.clear()
            strip = self._drawn[look] = self._row_line(row, look)
        return strip

    def _other_line(self, y: int, index: int, width: int) -> Strip:
        """Draw a line of the head, or one where no row is or none is held."""
        base = self._styles[""]
        if not self.columns:
            return Strip.blank(width, base)
        if y < self.head_height:
            return self._fit(self._head(y), width, self._styles["head"])
        said = "…" if index < self.count else ""
        if not self.count and y == self.head_height + 1:
            said = self.empty
        if not said:
            return Strip.blank(width, base)
        return self._fit([[Segment(f" {said}", base + self._styles["dim"])]], width, base)

    def _row_line(self, row: Line, look: _Look) -> Strip:
        line = self._styles[""]
        if look.column is not None and self._cursor == "cell":
            line = self._styles["row"]
        elif look.here:
            line = self._styles["cursor"]
        if isinstance(row, Span):
            return Strip(self._cell(Column("", 0), look.width - 1, row.parts, line))
        cells = []
        for i, (column, parts) in enumerate(zip(self.columns, row, strict=True)):
            over = line
            if look.here and self._cursor == "cell" and i == look.column:
                over = self._styles["cursor"]
            cell = self._cell(column, self._widths[i], parts, over)
            if i == 0 and look.mark:
                cell[0] = Segment(look.mark, over if look.here else over + self._styles["running"])
            cells.append(cell)
        return self._fit(cells, look.width, line)

    @property
    def has_keys(self) -> bool:
        """True unless another widget of the screen has the keys."""
        return self.has_focus or self.screen.focused is None

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(f"table--{name}", partial=name not in _FULL)

    def _cell(
        self, column: Column, width: int, parts: Sequence[Part], over: Style
    ) -> list[Segment]:
        """Return a cell of `width` and the gap after it, cut where it does not fit."""
        segments: list[Segment] = []
        left = width
        here = over is self._styles["cursor"]  # colours vanish on the cursor's
        for text, name in parts:
            if not text.isascii() or len(text) > left:
                text = cut(text, left)
            left -= len(text) if text.isascii() else cell_len(text)
            plain = here or not name
            segments.append(Segment(text, over if plain else over + self._styles[name]))
        blank = Segment(" " * left, over)
        segments = [blank, *segments] if column.right else [*segments, blank]
        return [Segment(" ", over), *segments]

    def _head(self, y: int) -> list[list[Segment]]:
        style = self._styles["head"]
        if self.head_height == 2 and y == 0:
            return self._group_heads(self._styles["group"])
        cells = []
        for column, width in zip(self.columns, self._widths, strict=True):
            title = cut(column.title, width)
            pad = " " * (width - cell_len(title))
            text = pad + title if column.right else title + pad
            cells.append([Segment(" " + text, style)])
        return cells

    def _group_heads(self, style: Style) -> list[list[Segment]]:
        """Return the upper head: a name stands once over the columns that share it."""
        cells: list[list[Segment]] = []
        i = 0
        while i < len(self.columns):
            group = self.columns[i].group
            j = i + 1
            while j < len(self.columns) and group and self.columns[j].group == group:
                j += 1
            span = sum(self._widths[i:j]) + (j - i)
            name = set_cell_size(cut(group, span - 1), span - 1)
            head = Strip([Segment(" " + name, style)])
            at = 0
            for width in self._widths[i:j]:  # in pieces, so that it scrolls with its columns
                cells.append(list(head.crop(at, at + width + 1)))
                at += width + 1
            i = j
        return cells

    def _fit(self, cells: list[list[Segment]], width: int, style: Style) -> Strip:
        """Keep the first columns in place and scroll the others under them."""
        x = int(self.scroll_offset.x)
        if not x:
            return Strip(_joined(cells)).adjust_cell_length(width, style)
        kept = Strip(_joined(cells[: self._frozen]))
        moved = Strip(_joined(cells[self._frozen :]))
        room = max(0, width - kept.cell_length)
        moved = moved.crop(x, x + room).extend_cell_length(room, style)
        return Strip.join([kept, moved]).adjust_cell_length(width, style)

    # -- moving

    def action_move(self, down: int, right: int) -> None:
        if right and self._cursor == "row":
            self.scroll_relative(x=right * 8, animate=False)
            return
        self._go(self.row + down, self.column + right)

    def action_page(self, pages: int) -> None:
        step = max(1, self.size.height - self.head_height - 1)
        self._go(self.row + pages * step, self.column)

    def action_go_to(self, row: int) -> None:
        self._go(self.count - 1 if row < 0 else row, self.column)

    def move_to(self, row: int, column: int | None = None) -> None:
        """Put the cursor there, as far as there is such a place."""
        self._stand(row, self.column if column is None else column)

    def _go(self, row: int, column: int) -> None:
        """Put the cursor there, and bring it into view where it stands there already."""
        if not self._stand(row, column):
            self._follow_cursor()

    def _stand(self, row: int, column: int) -> bool:
        """Put the cursor there; return whether it stood elsewhere."""
        down = 1 if row >= self.row else -1
        row = self._past_heads(max(0, min(row, self.count - 1)), down)
        column = max(self.first_movable, min(column, len(self.columns) - 1))
        moved = (row, column) != (self.row, self.column)
        left, self.row, self.column = self.row, row, column
        if moved:
            self._follow_cursor()
            if not self._late:
                for at in {left, row}:
                    self.refresh_line(self.head_height + at)
            self.post_message(self.Moved(row, column))
        return moved

    def _past_heads(self, row: int, down: int) -> int:
        """Return the row, or where no cell is in it the next one that has cells."""
        if self._cursor == "row":
            return row
        behind = range(row, self.count if down > 0 else -1, down)
        before = range(row, -1 if down > 0 else self.count, -down)
        return next((at for at in (*behind, *before) if not self._is_head(at)), row)

    def _is_head(self, row: int) -> bool:
        return isinstance(self._row_at(row), Span)

    def _row_at(self, index: int) -> Line | None:
        """Return a row; None where it is not held."""
        at = index - self._offset
        return self._rows[at] if 0 <= at < len(self._rows) else None

    def _follow_cursor(self) -> None:
        """Scroll to the cursor, at once where the rows there are held, else when they come.

        They come so soon that painting lines without them first would be what takes longest.
        """
        top = self._top_for_cursor()
        self._ask_for_missing(top)
        if self._holds(top, min(self.count, top + self._height())):
            self._go_to_cursor()
        elif not self._late:
            self._late = self.set_timer(PATIENCE_S, self._go_to_cursor)

    def _go_to_cursor(self) -> None:
        if self._late:
            self._late.stop()
            self._late = None
        self._keep_in_view()

    def _height(self) -> int:
        """Return how many rows there is room for."""
        return self.scrollable_content_region.height - self.head_height

    def _top_for_cursor(self) -> int:
        """Return the first row of the view once the cursor is in it."""
        top, height = int(self.scroll_offset.y), self._height()
        first = self.row - (self._cursor == "cell" and self._is_head(self.row - 1))
        if first < top:
            return first
        return self.row - height + 1 if self.row >= top + height > top else top

    def _holds(self, first: int, end: int) -> bool:
        """Say whether all rows from `first` to before `end` are held."""
        return self._offset <= first and end <= self._offset + len(self._rows)

    def _keep_in_view(self) -> None:
        self.scroll_to(y=self._top_for_cursor(), animate=False)
        if self._cursor == "cell" and self._widths:
            edges = [width + 1 for width in self._widths]
            kept = sum(edges[: self._frozen])
            left = sum(edges[self._frozen : self.column])
            right = left + edges[self.column]
            room = self.scrollable_content_region.width - kept
            x = int(self.scroll_offset.x)
            if left < x:
                self.scroll_to(x=left, animate=False)
            elif right > x + room:
                self.scroll_to(x=right - room, animate=False)

    def watch_scroll_x(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_x(old_value, new_value)
        self._drawn.clear()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._ask_for_missing()

    def _ask_for_missing(self, top: int | None = None) -> None:
        """Ask for rows in view, or in what will be the view when `top` is its first row."""
        if top is None:
            top = int(self.scroll_offset.y)
        bottom = min(self.count, top + max(1, self.size.height))
        near = min(AROUND, bottom - top)  # a page, so that turning to it waits for nothing
        first, last = self._offset, self._offset + len(self._rows)
        if first <= max(0, top - near) and min(self.count, bottom + near) <= last:
            return
        wanted = (max(0, top - AROUND), bottom - top + 2 * AROUND)
        if wanted != self._asked:
            self._asked = wanted
            if self._holds(top, bottom):  # what is read for later waits until this is painted
                self.call_after_refresh(self.post_message, self.RowsWanted(*wanted))
            else:
                self.post_message(self.RowsWanted(*wanted))

    # -- mouse

    def on_click(self, event: events.Click) -> None:
        row = event.y - self.head_height + int(self.scroll_offset.y)
        if event.y < self.head_height or row >= self.count:
            return
        column = self._column_at(event.x)
        if (row, column) == (self.row, self.column) or (self._cursor == "row" and row == self.row):
            self.post_message(self.Chosen(row, column))
        self._stand(row, column)

    def _column_at(self, x: int) -> int:
        at = 0
        for i, width in enumerate(self._widths):
            if i == self._frozen and x >= at:
                x += int(self.scroll_offset.x)
            at += width + 1
            if x < at:
                return i
        return len(self._widths) - 1

    def row_region(self, row: int) -> Region:
        """Return where a row stands in the view."""
        y = self.head_height + row - int(self.scroll_offset.y)
        return Region(0, y, self.size.width, 1)


def _joined(cells: Sequence[Sequence[Segment]]) -> list[Segment]:
    """Return the segments of cells, neighbours of one style in one: whatever follows has fewer."""
    joined: list[Segment] = []
    said, style = "", None
    for text, of_it, _ in (segment for cell in cells for segment in cell):
        if of_it is not style and said:
            joined.append(Segment(said, style))
            said = ""
        said, style = said + text, of_it
    return [*joined, Segment(said, style)] if said else joined
