"""Which lines of a log are to be shown? Reads from the end, so that gigabytes cost nothing.

A log is read in pieces whose bounds are byte offsets. Nothing here is called on the user
interface's thread.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from cxrlab.harmless import log_line
from store import within

PIECE = 64 * 1024
"""Bytes read at once. A line without an end is cut there."""


class Line(NamedTuple):
    """One line, and where it begins in the file."""

    offset: int
    text: str


class Piece(NamedTuple):
    """Consecutive lines. `start` and `end` are offsets; `unfinished` has no newline yet."""

    lines: list[Line]
    start: int
    end: int
    unfinished: str = ""
    shrunk: bool = False
    """True where the file is shorter than the offset asked for: it was written anew."""


def last_piece(path: Path, most: int = PIECE) -> Piece:
    """Return the end of the file, from a line's beginning on; nothing where there is no file."""
    try:
        with within.open_file(path.parent, path.name) as file:
            size = file.seek(0, os.SEEK_END)
            start = max(0, size - most)
            file.seek(start)
            data = file.read(most)
    except (FileNotFoundError, within.Elsewhere):
        return Piece([], 0, 0)
    if start > 0 and b"\n" in data[:-1]:
        skipped = data.index(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    return _piece(data, start)


def next_piece(path: Path, offset: int, most: int = 16 * PIECE) -> Piece:
    """Return what was written from `offset` on."""
    try:
        with within.open_file(path.parent, path.name) as file:
            if file.seek(0, os.SEEK_END) < offset:
                return last_piece(path)._replace(shrunk=True)
            file.seek(offset)
            data = file.read(most)
    except (FileNotFoundError, within.Elsewhere):
        return Piece([], 0, 0, shrunk=offset > 0)
    return _piece(data, offset)


def piece_before(path: Path, offset: int, most: int = PIECE) -> Piece:
    """Return the lines that end at `offset`."""
    start = max(0, offset - most)
    try:
        with within.open_file(path.parent, path.name) as file:
            file.seek(start)
            data = file.read(offset - start)
    except (FileNotFoundError, within.Elsewhere):
        return Piece([], 0, 0)
    if start > 0 and b"\n" in data[:-1]:
        skipped = data.index(b"\n") + 1
        start, data = start + skipped, data[skipped:]
    return _piece(data, start)._replace(end=offset)


def _piece(data: bytes, start: int) -> Piece:
    lines = []
    at = start
    *whole, rest = data.split(b"\n")
    for raw in whole:
        lines.append(Line(at, log_line(raw)))
        at += len(raw) + 1
    if len(rest) >= PIECE:  # a progress bar of hours, or no text at all
        lines.append(Line(at, log_line(rest)))
        at += len(rest)
        rest = b""
    return Piece(lines, start, at, log_line(rest) if rest else "")
