"""How does an export get into a file: whole, or between two markers in a file of one's own?

A file is either the old or the new one, never half of each.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from cxrlab.errors import BadInput, NotFound


class Markers(NamedTuple):
    """The two lines that an export stands between."""

    begin: str
    end: str

    @property
    def hint(self) -> str:
        """What a file must hold."""
        return f"put `{self.begin}` and `{self.end}` on lines of their own where the grid shall be"


COMMENTS = Markers("<!-- cxrlab:grid -->", "<!-- /cxrlab:grid -->")
"""In Markdown and HTML."""

PERCENT = Markers("% cxrlab:grid", "% /cxrlab:grid")
"""In LaTeX."""


def put_into(path: Path, text: str, markers: Markers = COMMENTS) -> bool:
    """Replace what stands between the two markers in `path` by `text`; all else stays as it is.

    A link is followed, the file keeps its mode and its kind of line ends.

    Returns:
        False where the file said the same already and was not touched.

    Raises:
        NotFound: no such file.
        BadInput: it has not exactly one pair of markers, each on a line of its own.
    """
    if is_special(path):
        raise BadInput(f"{path} is a device or a pipe", "name a file")
    try:
        old = path.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", markers.hint) from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder", "name a file") from None
    try:
        lines = old.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    first, last = marker_lines(path, lines, markers)
    ending = "\r\n" if lines[first].endswith("\r\n") else "\n"
    body = [part + ending for part in ["", *text.rstrip("\n").split("\n"), ""]]
    return write(path, "".join([*lines[: first + 1], *body, *lines[last:]]).encode("utf-8"))


def marker_lines(path: Path, lines: list[str], markers: Markers) -> tuple[int, int]:
    """Return the indexes of the lines with the two markers.

    Raises:
        BadInput: there is not exactly one pair of them, in order.
    """
    found = []
    for marker in markers:
        at = [i for i, text in enumerate(lines) if text.strip() == marker]
        if not at:
            raise BadInput(f"{path} has no line `{marker}`", markers.hint)
        if len(at) > 1:
            numbers = ", ".join(str(i + 1) for i in at)
            raise BadInput(f"{path} has `{marker}` on lines {numbers}", "leave one of them")
        found.append(at[0])
    first, last = found
    if last < first:
        message = f"{path}:{last + 1}: `{markers.end}` stands before `{markers.begin}`"
        raise BadInput(message, markers.hint)
    return first, last


def write_document(path: Path, title: str, text: str) -> None:
    """Put Markdown into `path` between its markers; a file that is new gets a title."""
    if not path.exists():
        replace(path, f"# {title}\n\n{COMMENTS.begin}\n{COMMENTS.end}\n".encode())
    put_into(path, text)


def write(path: Path, content: bytes) -> bool:
    """Make `content` all that `path` holds, in one step; a link is followed, the mode kept.

    A device or a pipe is written to: to read it may never end, and to replace it breaks it.

    Returns:
        False where it held just that already and was not touched.

    Raises:
        NotFound: the folder it shall lie in does not exist.
        BadInput: it is a folder itself.
    """
    if is_special(path):
        replace(path, content)
        return True
    target = path.resolve()
    if target.is_dir():
        raise BadInput(f"{path} is a folder", "name a file")
    if not target.parent.is_dir():
        raise NotFound(f"{path}: there is no folder `{target.parent}`", "make it first")
    if target.exists() and target.read_bytes() == content:
        return False
    replace(target, content)
    return True


def is_special(path: Path) -> bool:
    """Return whether a device, a pipe or a socket is there, by itself or behind a link."""
    return path.exists() and not path.is_file() and not path.is_dir()


def replace(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then put it in its place in one step.

    A link is followed, and the mode of what is there kept; a device or a pipe is written to.
    """
    if is_special(path):
        with path.open("wb") as stream:
            stream.write(content)
        return
    path = path.resolve() if path.is_symlink() else path
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:100]}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o666 & ~_umask())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Write a file in one step, as `replace` does; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    replace(path, content)


def _umask() -> int:
    """Return the process's mask; it can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
