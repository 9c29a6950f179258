"""How is a csv table read that somebody may have opened in a spreadsheet?

A byte-order mark, `;` or a tab between fields, gzip, and blanks around column names are taken as
they come. What cannot be right is refused with file and line.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import hashlib
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TextIO

from trainers.config import InputError, MissingError

DELIMITERS = (",", ";", "\t")
LONGEST_WORD = 64
"""Letters of a value that an error message may quote."""


def rows(path: Path, required: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield each row of the table at `path` with the line it begins on.

    Args:
        path: a csv file, or one packed with gzip (`.gz`).
        required: columns that must be there; the others are yielded as well.

    Raises:
        MissingError: no such file.
        InputError: it is no such table: a column or a field is missing or too many, or it is not
            UTF-8. The message names file and line.
    """
    try:
        with _open(path) as file:
            yield from _rows(path, file, required)
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 text (byte {error.start} is {error.object[error.start]:#04x}); "
            "save it as `CSV UTF-8`"
        ) from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} cannot be unpacked: {error}".lower()) from None
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror or error}") from None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def _rows(
    path: Path, file: TextIO, required: Sequence[str]
) -> Iterator[tuple[int, dict[str, str]]]:
    first = file.readline()
    if not first.strip():
        raise InputError(f"{path} is empty; expected a header with {', '.join(required)}")
    delimiter = max(DELIMITERS, key=first.count)
    names = [name.strip() for name in next(csv.reader([first], delimiter=delimiter))]
    _check_header(path, names, required)
    reader = csv.reader(file, delimiter=delimiter)
    line = 2
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            raise InputError(f"{path}:{line}: {error}") from None
        if fields is None:
            return
        if fields and len(fields) != len(names):
            raise InputError(
                f"{path}:{line}: {len(fields)} fields; expected {len(names)} "
                f"({', '.join(names)}); a field with `{delimiter}` in it needs quotes"
            )
        if fields:
            yield line, dict(zip(names, fields, strict=True))
        line = reader.line_num + 2


def _check_header(path: Path, names: Sequence[str], required: Sequence[str]) -> None:
    twice = {name for name in names if name and names.count(name) > 1}
    if twice:
        raise InputError(f"{path}:1: column {quoted(min(twice))} is there twice")
    for name in required:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1)
            hint = f"; did you mean {quoted(near[0])}?" if near else ""
            there = ", ".join(map(quoted, names))
            raise InputError(f"{path}:1: no column `{name}` among {there}{hint}")


def quoted(text: str) -> str:
    """Return `text` as an error message may quote it: itself if it is one word, else its length.

    A table whose columns are not what they should be may hold a report in any of them, and no log
    may quote one.
    """
    text = text.strip()
    if len(text) <= LONGEST_WORD and len(text.split()) <= 1:
        return f"`{text}`"
    return f"(a text of {len(text)} letters)"


def sha256(path: Path) -> str:
    """Return the SHA-256 of the file at `path`, in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
