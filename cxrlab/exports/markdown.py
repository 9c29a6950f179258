"""How the grid looks as a Markdown table on GitHub, and how it gets into a file of one's own.

Only what stands between the two markers is replaced, and the file is either the old or the new
one, never half of each.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from cxrlab.errors import BadInput, NotFound
from cxrlab.grid import Cell, Grid, notes, where

BEGIN = "<!-- cxrlab:grid -->"
END = "<!-- /cxrlab:grid -->"


def markdown(grid: Grid) -> str:
    """Return the grid as a table, with what a reader must know in a list below it.

    The same grid gives the same text, so that an export into a file under version control changes
    nothing when nothing has changed.
    """
    numbers = source_numbers(grid)
    head = ["method", *(escape(" ".join(column.heading())) for column in grid.columns)]
    lines = [line(head), line([":--", *("--:" for _ in grid.columns)])]
    for row in grid.rows:
        lines.append(line([escape(row.method), *(said(cell, numbers) for cell in row.cells)]))
    told = [f"- {escape_prose(note)}" for note in notes(grid)]
    for source, number in numbers.items():
        cells = [cell for cell in grid.cells() if cell.paper_source == source]
        names = ", ".join(f"`{where(cell)}`" for cell in cells)
        told.append(f"- <sup>{number}</sup> {names}: {escape_prose(source)}")
    return "\n".join([*lines, *(["", *told] if told else [])]) + "\n"


def source_numbers(grid: Grid) -> dict[str, int]:
    """Return each source of a paper's number with the number of its footnote, from 1."""
    found = dict.fromkeys(cell.paper_source for cell in grid.cells() if cell.paper is not None)
    return {source: number for number, source in enumerate(found, start=1)}


def said(cell: Cell, numbers: dict[str, int]) -> str:
    """Return a cell's text, with a footnote to the source of the paper's number."""
    note = f"<sup>{numbers[cell.paper_source]}</sup>" if cell.paper is not None else ""
    return escape(cell.text()) + note


def line(texts: list[str]) -> str:
    """Return one line of a table; `texts` are escaped already."""
    return "| " + " | ".join(texts) + " |"


def escape(text: str) -> str:
    """Return `text` so that Markdown shows it as it is, within a table or outside.

    An underscore within a word, as in `deep_mrm`, means nothing and is left alone.
    """
    return re.sub(r"[\\|`*\[\]<>#~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def escape_prose(text: str) -> str:
    """Return a sentence with its `code` kept, and all else shown as it is."""
    parts = text.split("`")
    return "`".join(part if i % 2 else escape(part) for i, part in enumerate(parts))


def put_into(path: Path, text: str) -> bool:
    """Replace what stands between the two markers in `path` by `text`; all else stays as it is.

    A link is followed, the file keeps its mode and its kind of line ends.

    Returns:
        False where the file said the same already and was not touched.

    Raises:
        NotFound: no such file.
        BadInput: it has not exactly one pair of markers, each on a line of its own.
    """
    target = path.resolve()
    try:
        old = target.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist", markers_hint()) from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder", "name a Markdown file") from None
    try:
        lines = old.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    first, last = marker_lines(path, lines)
    ending = "\r\n" if lines[first].endswith("\r\n") else "\n"
    body = [part + ending for part in ["", *text.rstrip("\n").split("\n"), ""]]
    new = "".join([*lines[: first + 1], *body, *lines[last:]]).encode("utf-8")
    if new == old:
        return False
    replace(target, new)
    return True


def marker_lines(path: Path, lines: list[str]) -> tuple[int, int]:
    """Return the indexes of the lines with the two markers."""
    found = []
    for marker in (BEGIN, END):
        at = [i for i, text in enumerate(lines) if text.strip() == marker]
        if not at:
            raise BadInput(f"{path} has no line `{marker}`", markers_hint())
        if len(at) > 1:
            where_ = ", ".join(str(i + 1) for i in at)
            raise BadInput(f"{path} has `{marker}` on lines {where_}", "leave one of them")
        found.append(at[0])
    first, last = found
    if last < first:
        raise BadInput(f"{path}:{last + 1}: `{END}` stands before `{BEGIN}`", markers_hint())
    return first, last


def markers_hint() -> str:
    """Return what a file must hold."""
    return f"put `{BEGIN}` and `{END}` on lines of their own where the grid shall stand"


def replace(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then put it in its place in one step."""
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(path.stat().st_mode & 0o7777)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_document(path: Path, title: str, text: str) -> None:
    """Put the grid into `path` between its markers; a file that is new gets a title."""
    if not path.exists():
        path.write_text(f"# {title}\n\n{BEGIN}\n{END}\n", encoding="utf-8")
    put_into(path, text)
