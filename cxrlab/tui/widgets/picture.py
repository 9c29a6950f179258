"""How is a picture drawn in a terminal: by kitty's protocol, by sixels, or by half blocks?

The terminal is never asked. Its answer can come after the dashboard has begun to read keys, over a
slow connection or through a multiplexer, and would be taken for keys. So it is known by the names
that terminals give themselves in the environment; those of no known name, and all inside a
multiplexer, are drawn in half blocks of 24-bit colour, which any terminal shows.
"""

from __future__ import annotations

import fcntl
import io
import os
import struct
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from cxrlab.tui.words import tr
from store import within

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from textual_image.widget._base import Image as Drawn

Way = Literal["kitty", "sixel", "half blocks"]

KITTY = ("xterm-kitty", "xterm-ghostty")
"""What `TERM` is in terminals that draw kitty's pictures between the text."""

SIXEL = ("foot", "foot-direct", "mlterm", "contour", "WezTerm", "iTerm.app")
"""What `TERM` or `TERM_PROGRAM` is in terminals that draw sixels."""

MULTIPLEXERS = ("TMUX", "STY", "ZELLIJ")

MOST_PX = 1600
"""Longest side that is kept of a picture; no terminal shows more."""

_importing = threading.Lock()


class Cells(NamedTuple):
    """A size in cells of the terminal."""

    width: int
    height: int


def way(environment: Mapping[str, str]) -> Way:
    """Return how pictures are drawn in a terminal of that environment."""
    names = {environment.get("TERM", ""), environment.get("TERM_PROGRAM", "")}
    if "TEXTUAL_DRIVER" in environment or any(each in environment for each in MULTIPLEXERS):
        return "half blocks"
    if names & set(KITTY):
        return "kitty"
    return "sixel" if names & set(SIXEL) else "half blocks"


def drawer(by: Way) -> type[Drawn]:
    """Return the widget that draws pictures in a way; imports what it needs, so on a thread.

    Raises:
        ImportError: what draws pictures is not installed.
    """
    with _importing, _terminal_left_alone(os.environ):
        from textual_image import widget
    kinds: dict[Way, type[Drawn]] = {
        "kitty": widget.TGPImage,
        "sixel": widget.SixelImage,
        "half blocks": widget.HalfcellImage,
    }
    return kinds[by]


@contextmanager
def _terminal_left_alone(environment: MutableMapping[str, str]) -> Iterator[None]:
    """Keep `textual_image` from asking the terminal while it is imported.

    It asks where the standard output is a terminal; else it takes the size of a cell, in pixels,
    from the environment. The kernel knows that size where the terminal has told it.
    """
    if "textual_image.widget" in sys.modules:
        yield
        return
    output, before = sys.__stdout__, dict(environment)
    wide, high = _cell_px(output)
    if wide and high:
        environment.update(TEXTUAL_CELL_WIDTH=str(wide), TEXTUAL_CELL_HEIGHT=str(high))
    sys.__stdout__ = io.StringIO()  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        sys.__stdout__ = output  # type: ignore[misc]
        for name in ("TEXTUAL_CELL_WIDTH", "TEXTUAL_CELL_HEIGHT"):
            environment.pop(name, None)
            if name in before:
                environment[name] = before[name]


def _cell_px(output: io.TextIOBase | None) -> tuple[int, int]:
    """Return width and height of a cell in pixels; 0 where the kernel does not know them."""
    try:
        told = fcntl.ioctl(output.fileno() if output else -1, termios.TIOCGWINSZ, b"\0" * 8)
    except (OSError, ValueError):
        return 0, 0
    rows, columns, wide, high = struct.unpack("HHHH", told)
    return (wide // columns, high // rows) if rows and columns else (0, 0)


def load(folder: Path, path: Path) -> Picture:
    """Read a picture of a run folder, no larger than a terminal can show.

    Raises:
        OSError: it cannot be read, is no picture, or is no file of that folder.
        ValueError: it is broken, or too large to be one.
    """
    from PIL import Image, UnidentifiedImageError

    if not path.is_relative_to(folder):
        raise within.Elsewhere(f"{path} is not in the run's folder")
    with within.open_file(folder, str(path.relative_to(folder))) as file:
        try:
            with Image.open(file) as found:
                found.thumbnail((MOST_PX, MOST_PX))
                return found.convert("RGB")
        except UnidentifiedImageError as error:  # whose words name a handle, and no file
            raise ValueError(tr("it is in no format that is known")) from error
        except OSError:
            raise
        except Exception as error:  # decoders raise whatever broken files make them stumble over
            raise ValueError(str(error)) from error


def fitted(picture: tuple[int, int], room: Cells, cell: tuple[int, int] = (1, 2)) -> Cells:
    """Return how many cells a picture takes that fills the room and keeps its proportions.

    Args:
        picture: its width and height in pixels.
        room: the cells there are.
        cell: width and height of a cell; most are twice as high as wide.
    """
    wide, high = picture[0] / cell[0], picture[1] / cell[1]
    scale = min(room.width / wide, room.height / high)
    return Cells(max(1, round(wide * scale)), max(1, round(high * scale)))
