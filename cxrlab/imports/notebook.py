"""What does a lab notebook hold, and how does it come into the registry?

Its table gives rows and numbers, which stand beside the lab's own and are never mixed with them;
its prose gives entries. What cannot be read is told with its line. Reading the same file again
changes nothing; a notebook is known by its file's name.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab.errors import BadInput, NotFound
from cxrlab.grid.published import read_published
from cxrlab.imports import heads, html_tables, launch_line, notebook_table, prose
from cxrlab.imports.prose import Unread
from store import notebook as registry
from store import notes
from store.db import Database, writing
from store.notebook import Number, Row
from store.notes import NewEntry

_ENCODINGS = ("utf-8-sig", "gb18030")


class Launch(NamedTuple):
    """A launch line and where it stands."""

    line: int
    read: launch_line.LaunchLine


class Notebook(NamedTuple):
    """All that a notebook was understood to say."""

    source: str
    rows: list[Row]
    numbers: list[Number]
    entries: list[NewEntry]
    launches: list[Launch]
    unread: list[Unread]
    told: list[str]
    """What had to be assumed in reading it."""


class Brought(NamedTuple):
    """What an import did to the registry."""

    new: int
    changed: int
    unchanged: int
    kept: int
    """Entries that were left as a person here has set them."""
    missing: int
    """Entries of an earlier import that the file no longer has."""


class _Undo(Exception):
    """Ends a transaction that was only made to see what it would do."""


def read(path: Path, source: str = "") -> Notebook:
    """Return what the notebook at `path` says.

    Args:
        path: Markdown with tables of HTML, or HTML.
        source: what to know it by; empty for the file's name.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no text, or holds neither a table nor a list.
    """
    lines, told = _lines(path)
    source = source or path.name
    if _is_html(path, lines):
        tables = html_tables.find_tables(lines, anywhere=True)
        text = prose.Prose([], [], [], 0)
    else:
        tables = html_tables.find_tables(prose.mask_code(lines))
        text = prose.read_prose(lines, [(t.first_line, t.last_line) for t in tables])
    if not tables and not text.lists:
        raise BadInput(
            f"`{path}` holds neither a table nor a list",
            "a notebook is Markdown with a table of HTML, as `cxrlab export --style notebook` "
            "writes it, and lists of notes",
        )
    entries = [entry._replace(source=source) for entry in text.entries]
    context = notebook_table.Context(source, _declared(entries), read_published())
    results = notebook_table.read_results(tables, context)
    return Notebook(
        source,
        results.rows,
        results.numbers,
        entries,
        _launches(entries),
        sorted([*results.unread, *text.unread]),
        [*told, *text.told, *_assumed(results.numbers)],
    )


def bring_in(db: Database, read: Notebook, *, dry_run: bool = False) -> Brought:
    """Bring a notebook into the registry, all of it or nothing, and return what that changed.

    With `dry_run` the registry is left as it was.
    """
    given: list[Row | Number] = [*read.rows, *read.numbers]
    try:
        with writing(db):
            before: list[Row | Number] = [*registry.rows(db), *registry.numbers(db)]
            known = {each._replace(line=0) for each in before}
            new, changed = registry.bring_in(db, read.source, read.rows, read.numbers)
            entries = notes.bring_in(db, read.source, read.entries)
            if dry_run:
                raise _Undo
    except _Undo:
        pass
    same = sum(each._replace(line=0) in known for each in given)
    return Brought(
        new=new + entries.new,
        changed=changed + entries.changed,
        unchanged=same + entries.unchanged,
        kept=entries.kept,
        missing=entries.missing,
    )


def _lines(path: Path) -> tuple[list[str], list[str]]:
    """Return the lines of a file, and what had to be assumed to decode it."""
    told: list[str] = []
    try:
        raw = path.read_bytes()
    except FileNotFoundError as problem:
        raise NotFound(f"there is no file `{path}`") from problem
    except IsADirectoryError as problem:
        raise BadInput(f"`{path}` is a folder", "name the notebook's file") from problem
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        text = raw.decode("utf-16", errors="replace")
    else:
        text, told = _decoded(path, raw)
    if "\0" in text:
        raise BadInput(f"`{path}` is no text", "a notebook is Markdown or HTML")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n"), told


def _decoded(path: Path, raw: bytes) -> tuple[str, list[str]]:
    for encoding in _ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        told = [] if encoding == _ENCODINGS[0] else [f"the file is no UTF-8; read as {encoding}"]
        return text, told
    raise BadInput(f"`{path}` is neither UTF-8 nor GB18030", "save it as UTF-8")


def _is_html(path: Path, lines: Sequence[str]) -> bool:
    first = next((line.strip().casefold() for line in lines if line.strip()), "")
    return path.suffix.casefold() in (".html", ".htm") or first.startswith(("<!doctype", "<html"))


def _declared(entries: Sequence[NewEntry]) -> dict[str, str]:
    """Return what to say of a task's own numbers because a fact calls its metric an accuracy.

    Such a fact ends in the metric: `NIH Chest X-Ray [average acc]`.
    """
    found = {}
    for entry in entries:
        said = re.search(r"\[([^\[\]]+)\]\s*$", entry.text)
        task = heads.task_of(entry.text)
        if said and task and heads.metric_of(said[1]) == heads.ACCURACY:
            found[task] = heads.accuracy_flaw("the notebook", said[1])
    return found


def _launches(entries: Sequence[NewEntry]) -> list[Launch]:
    return [
        Launch(entry.line or 0, line)
        for entry in entries
        if entry.kind == "command"
        for line in launch_line.read_launch_lines(entry.text)
    ]


def _assumed(numbers: Sequence[Number]) -> list[str]:
    if any(number.task == "siim_legacy" for number in numbers):
        return ["numbers on SIIM are read as `siim_legacy`, MRM's lists, which its paper is on"]
    return []
