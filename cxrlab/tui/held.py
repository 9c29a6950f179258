"""Which lines of a log are held? Consecutive ones, near to where one stands in it."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field

from cxrlab.tui.tail import Line, Piece

MOST = 8 << 20
"""What the lines that are held may take, by their bytes in the file and `EACH` besides."""

EACH = 200
"""What a line takes beside its text (bytes)."""


@dataclass
class Held:
    """The lines from one offset of the file to another; the last may have no newline yet."""

    lines: list[Line] = field(default_factory=list)
    unfinished: Line | None = None
    start: int = 0
    end: int = 0
    """Where the line begins that has no newline yet."""
    whole: bool = True
    """False where the file is known to go on behind them."""

    @classmethod
    def of(cls, piece: Piece) -> Held:
        """Return the lines of one piece alone."""
        return cls(list(piece.lines), piece.unfinished, piece.start, piece.end, piece.whole)

    @property
    def count(self) -> int:
        """How many lines there are, with the one that has no newline yet."""
        return len(self.lines) + (self.unfinished is not None)

    def line(self, row: int) -> Line | None:
        """Return a line by its row; nothing below the last."""
        if row < len(self.lines):
            return self.lines[row]
        return self.unfinished if row == len(self.lines) else None

    def covers(self, offset: int) -> bool:
        """Say whether the line that begins at `offset` is held."""
        last = self.unfinished is not None and offset == self.end
        return self.start <= offset < self.end or last

    def row_of(self, offset: int) -> int:
        """Return the row of the line that `offset` lies in, or of the nearest one."""
        row = bisect_right(self.lines, offset, key=lambda line: line.offset) - 1
        if self.unfinished is not None and offset >= self.end:
            row += 1
        return max(0, row)

    def add_before(self, piece: Piece) -> None:
        """Put a piece before the lines that ends where they begin."""
        self.lines[:0] = piece.lines
        self.start = piece.start

    def add_after(self, piece: Piece) -> None:
        """Put a piece behind the lines that begins where they end."""
        self.lines += piece.lines
        self.unfinished, self.end, self.whole = piece.unfinished, piece.end, piece.whole

    def trim(self, row: int) -> int:
        """Let go of what is too much, far from `row`; return how many lines went from the top."""
        count = len(self.lines)
        most = self._weight(count)
        if most <= MOST:
            return 0
        low = max(0, min(self._weight(row) - MOST // 2, most - MOST))
        first = bisect_left(range(count), low, key=self._weight)
        last = bisect_right(range(count + 1), low + MOST, key=self._weight) - 1
        if last < count:
            self.end, self.unfinished, self.whole = self.lines[last].offset, None, False
        self.start = self.lines[first].offset
        self.lines = self.lines[first:last]
        return first

    def _weight(self, row: int) -> int:
        """Return what the lines above `row` take (bytes)."""
        row = min(row, len(self.lines))
        at = self.lines[row].offset if row < len(self.lines) else self.end
        return at - self.start + EACH * row
