"""Which lines of a log are to be shown? Reads from the end, so that gigabytes cost nothing.

A log is read in pieces whose bounds are byte offsets. Nothing here is called on the user
interface's thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from cxrlab.harmless import LONGEST, harmless, log_line
from store import within

PIECE = 64 * 1024
"""Bytes read at once. A line without an end is cut there."""

CHUNK = 4 * PIECE
"""Bytes searched at once: few enough that the user interface never waits for them."""

OVERLAP = 1024
"""Bytes of a line without an end that are searched twice, so that no bound cuts a match."""

_COLOUR = re.compile(r"\x1b\[([0-9;:]*)m")
_COLOUR_BYTES = re.compile(rb"\x1b\[[0-9;:]*m")
_LONGEST_COLOUR = 60


class Line(NamedTuple):
    """One line, and where it begins in the file."""

    offset: int
    text: str
    colours: tuple[tuple[int, str], ...] = ()
    """From which character on which SGR parameters hold."""


class Piece(NamedTuple):
    """Consecutive lines from one offset to another; `unfinished` is at `end`, without a newline."""

    lines: list[Line]
    start: int
    end: int
    unfinished: Line | None = None
    anew: bool = False
    """True where it is the file's end, not what stands at the offset asked for."""
    whole: bool = True
    """False where the file goes on beyond what was read."""

    @property
    def shown(self) -> list[Line]:
        """All lines, with the one that has no newline yet."""
        return [*self.lines, *([self.unfinished] if self.unfinished else [])]


class Needle(NamedTuple):
    """What is looked for: a line in which any of `words` is shown."""

    words: tuple[str, ...]
    fold: bool = False
    """True where capitals do not matter."""

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where in `text` it stands."""
        pattern = "|".join(map(re.escape, self.words))
        flags = re.IGNORECASE if self.fold else 0
        return [found.span() for found in re.finditer(pattern, text, flags)]

    def may_be_in(self, raw: bytes) -> bool:
        """Say quickly whether it is in some bytes of a log; wrong only in saying yes."""
        if b"\x1b" in raw:
            raw = _COLOUR_BYTES.sub(b"", raw)
        if self.fold:
            raw = raw.lower()
        return any((word.lower() if self.fold else word).encode() in raw for word in self.words)


ERRORS = Needle(("Traceback", "Error", "ERROR", "Exception", "CUDA out of memory", "FAILED"))


def needle(typed: str) -> Needle:
    """Return what `typed` looks for: capitals matter where there are some in it."""
    fold = typed == typed.lower()
    return Needle((typed,), fold)


def last_piece(path: Path, most: int = PIECE) -> Piece:
    """Return the end of the file, from a line's beginning on; nothing where there is no file."""
    try:
        with within.open_file(path.parent, path.name) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - most)
            file.seek(start)
            data = file.read(most)
    except FileNotFoundError:
        return Piece([], 0, 0)
    if start > 0 and b"\n" in data[:-1]:
        skipped = data.index(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    return _piece(data, start)


def next_piece(path: Path, offset: int, most: int = PIECE, *, follow: bool = False) -> Piece:
    """Return what was written from `offset` on; the file's end where it is shorter by now.

    Args:
        path: the file.
        offset: where a line begins.
        most: how many bytes are read.
        follow: whether the end is wanted, even if that leaves out what does not fit in `most`.
    """
    try:
        with within.open_file(path.parent, path.name) as file:
            size = file.seek(0, os.SEEK_END)
            if size < offset or (follow and size - offset > most):
                return last_piece(path)._replace(anew=True)
            file.seek(offset)
            data = file.read(most)
    except FileNotFoundError:
        return Piece([], 0, 0, anew=offset > 0)
    return _piece(data, offset)._replace(whole=offset + len(data) >= size)


def piece_before(path: Path, offset: int, most: int = PIECE) -> Piece:
    """Return the lines that end at `offset`."""
    start = max(0, offset - most)
    try:
        with within.open_file(path.parent, path.name) as file:
            file.seek(start)
            data = file.read(offset - start)
    except FileNotFoundError:
        return Piece([], 0, 0)
    if start > 0 and b"\n" in data[:-1]:
        skipped = data.index(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    # the last line may go on behind `offset`, where one without an end was cut
    return Piece(_piece(data, start).shown, start, offset)


def piece_around(path: Path, offset: int, most: int = PIECE) -> Piece:
    """Return the line at `offset` with what stands before and after it."""
    start = max(0, offset - most)
    try:
        with within.open_file(path.parent, path.name) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(start)
            data = file.read(offset - start + most)
    except FileNotFoundError:
        return Piece([], 0, 0)
    whole = start + len(data) >= size
    skipped = data.find(b"\n", 0, offset - start) + 1 if start > 0 else 0
    return _piece(data[skipped:], start + skipped)._replace(whole=whole)


# -- searching


def match_before(
    path: Path, sought: Needle, end: int | None, stopped: Callable[[], bool]
) -> int | None:
    """Return where the last line with a match begins that ends at `end` or before."""
    try:
        with within.open_file(path.parent, path.name) as file:
            size = file.seek(0, os.SEEK_END)
            at = size if end is None else min(end, size)
            while at > 0 and not stopped():
                start = max(0, at - CHUNK)
                file.seek(start)
                data = file.read(at - start)
                begun = data.find(b"\n", 0, -1) + 1 if start > 0 else 0
                found = list(_matches(data[begun:], sought))
                if found:
                    return start + begun + found[-1]
                at = start + (begun or (OVERLAP if start > 0 else 0))
    except FileNotFoundError:
        pass
    return None


def match_after(path: Path, sought: Needle, line: int, stopped: Callable[[], bool]) -> int | None:
    """Return where the next line with a match begins after the one that begins at `line`."""
    at, inside = line, True
    try:
        with within.open_file(path.parent, path.name) as file:
            while not stopped():
                file.seek(at)
                data = file.read(CHUNK)
                if inside:
                    skipped = data.find(b"\n") + 1
                    inside = not skipped
                    at += skipped or len(data)
                else:
                    goes_on = len(data) == CHUNK
                    cut = data.rfind(b"\n") + 1 if goes_on else len(data)
                    for found in _matches(data[:cut] if cut else data, sought):
                        return at + found
                    if not goes_on:
                        return None
                    at += cut or len(data) - OVERLAP
                if not data:
                    return None
    except FileNotFoundError:
        pass
    return None


def _matches(data: bytes, sought: Needle) -> Iterator[int]:
    """Yield where the lines begin that show a match; what was written over shows none."""
    if not sought.may_be_in(data):
        return
    at = 0
    for raw in data.split(b"\n"):
        if sought.may_be_in(raw):
            text = _last_written(raw)
            if sought.spans(harmless(text, len(text))):
                yield at
        at += len(raw) + 1


# -- lines


def _last_written(raw: bytes) -> str:
    return raw.decode("utf-8", errors="replace").rstrip("\r\n").rsplit("\r", 1)[-1]


def _line(at: int, raw: bytes) -> Line:
    """Return a line as it is shown, with its colours where it has some and is no monster."""
    if raw.isascii() and len(raw) <= LONGEST:  # nearly every one, in a tenth of the time
        text = raw.decode()
        if text.isprintable():
            return Line(at, text)
    if b"\x1b[" in raw and len(raw) <= LONGEST:
        return Line(at, *_coloured(_last_written(raw)))
    return Line(at, log_line(raw))


def _coloured(text: str) -> tuple[str, tuple[tuple[int, str], ...]]:
    """Return what `harmless` makes of a line, and from where on which colours hold in it."""
    shown, cells, colours = "", 0, []
    for part, sgr in zip(*(iter([*_COLOUR.split(text), ""]),) * 2, strict=True):
        # a tab reaches as far as it does in the line without its colours
        spread = (" " * (cells % 8) + part).expandtabs(8)[cells % 8 :]
        cells += len(spread)
        shown += harmless(spread, len(spread))
        if len(sgr) <= _LONGEST_COLOUR and ":" not in sgr:
            colours.append((len(shown), sgr))
    return shown, tuple(colours[:-1])


def _piece(data: bytes, start: int) -> Piece:
    lines = []
    at = start
    *whole, rest = data.split(b"\n")
    for raw in whole:
        lines.append(_line(at, raw))
        at += len(raw) + 1
    if len(rest) >= PIECE:  # a progress bar of hours, or no text at all
        lines.append(_line(at, rest))
        at += len(rest)
        rest = b""
    return Piece(lines, start, at, _line(at, rest) if rest else None)
