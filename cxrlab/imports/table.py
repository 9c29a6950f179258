"""What does a table that `cxrlab export` wrote say, and how do its numbers come into this lab?

They come as numbers without a run behind them, marked foreign and never mixed with the lab's own;
the papers' numbers in it as such. Reading the same table again changes nothing.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import columns, tabular
from cxrlab.errors import BadInput, CxrlabError, NotFound, unknown_name
from cxrlab.grid import FOREIGN_MARK
from store import notebook
from store.db import Database
from store.notebook import Number
from trainers.catalog import METHODS

_NEEDED = ("method", "task", "ratio", "metric", "value")


class Read(NamedTuple):
    """What a table says."""

    source: str
    numbers: list[Number]
    empty: int
    """How many of its cells hold no number."""


class Brought(NamedTuple):
    """What bringing it in did."""

    new: int
    changed: int


def read(path: Path, source: str = "") -> Read:
    """Return the numbers of a csv table or a JSON document of `cxrlab export`.

    Args:
        path: the file.
        source: what to know it by; empty for the file's name.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no such table, or a cell cannot be; the message names its place.
    """
    source = source or path.name
    numbers: list[Number] = []
    places: dict[tuple[object, ...], str] = {}
    empty = 0
    for line, where, row in _rows(path, _text(path)):
        found = _numbers(row, where, source, line)
        for number in found:
            first = places.setdefault((*number.cell, number.origin), where)
            if first != where:
                raise BadInput(f"{where}: the same cell stands in {first}", "leave one of them")
        numbers += found
        empty += not found
    return Read(source, numbers, empty)


def bring_in(db: Database, read: Read) -> Brought:
    """Make what is known of a table what it says now, and return what that changed.

    Raises:
        BadInput: something else of that name was brought in, whose rows would be lost.
    """
    if any(row.source == read.source for row in notebook.rows(db)):
        raise BadInput(
            f"`{read.source}` is a notebook that was brought in",
            "give the table another `--source`",
        )
    return Brought(*notebook.bring_in(db, read.source, [], read.numbers))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise NotFound(f"there is no file `{path}`") from None
    except IsADirectoryError:
        raise BadInput(f"`{path}` is a folder", "name a csv or JSON file") from None
    except UnicodeDecodeError as error:
        hint = "a workbook is not read; export csv or JSON" if path.suffix == ".xlsx" else ""
        raise BadInput(f"{path} is not UTF-8: {error.reason} at byte {error.start}", hint) from None


def _rows(path: Path, text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    """Yield the line or number of each cell, its place in words, and the cell."""
    if text.lstrip()[:1] in ("{", "["):
        yield from _of_json(path, text)
    else:
        yield from _of_csv(path, text)


def _of_json(path: Path, text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}:{error.lineno}: no JSON: {error.msg}") from None
    # `cxrlab grid --json` prints the cells alone
    told = document if isinstance(document, list) else document.get("cells")
    if isinstance(document, dict) and document.get("form", tabular.FORM) != tabular.FORM:
        raise BadInput(f"{path}: its `form` is `{document['form']}`, expected `{tabular.FORM}`")
    if isinstance(document, dict) and document.get("version", 1) != tabular.VERSION:
        version = document["version"]
        raise BadInput(f"{path}: version {version} of the form is not known", "upgrade cxrlab")
    if not isinstance(told, list) or not all(isinstance(cell, dict) for cell in told):
        raise BadInput(f"{path}: no list `cells`", "write it by `cxrlab export --format json`")
    for number, cell in enumerate(told, start=1):
        where = f"{path}: cell {number}"
        _check_keys(cell, where)
        yield number, where, cell


def _of_csv(path: Path, text: str) -> Iterator[tuple[int, str, Mapping[str, Any]]]:
    rows = csv.DictReader(io.StringIO(text, newline=""), restkey="")
    try:
        _check_keys(dict.fromkeys(rows.fieldnames or ()), f"{path}:1")
        for row in rows:
            where = f"{path}:{rows.line_num}"
            if "" in row or None in row.values():
                raise BadInput(f"{where}: not as many cells as headings")
            yield rows.line_num, where, {key: _read(key, cell) for key, cell in row.items()}
    except csv.Error as error:
        raise BadInput(f"{path} is no csv table: {error}") from None


def _read(key: str, cell: str) -> Any:
    if key in ("value", "sd", "low", "high", "paper", "ratio", "n"):
        return cell.strip() or None
    return tabular.text_of(cell)


def _check_keys(row: Mapping[str, Any], where: str) -> None:
    lacking = [key for key in _NEEDED if key not in row]
    if lacking:
        names = ", ".join(f"`{key}`" for key in lacking)
        hint = "write it by `cxrlab export --format csv`"
        raise BadInput(f"{where}: {names} {'is' if len(lacking) == 1 else 'are'} missing", hint)


def _numbers(row: Mapping[str, Any], where: str, source: str, line: int) -> list[Number]:
    """Return the own number of a cell and the paper's, those that are there."""
    ratio = _whole(row, "ratio", where)
    column = _column(row, ratio, where)
    value, paper = _real(row, "value", where), _real(row, "paper", where)
    for key, number in (("value", value), ("paper", paper)):
        if number is not None and column.unit == "share" and not 0 <= number <= 1:
            raise BadInput(f"{where}: `{key}` is {number:g}", "a share is from 0 to 1, not percent")
    base = Number(
        method=row["method"],
        task=column.task,
        ratio=ratio,
        metric=column.metric,
        origin="own",
        value=0.0,
        said=str(row.get("text") or "").replace(FOREIGN_MARK, ""),
        source=source,
        line=line,
    )
    found = []
    if value is not None:
        found.append(base._replace(value=value, **_spread(row, where)))
    if paper is not None:
        cited = str(row.get("paper_source") or "")
        found.append(base._replace(origin="paper", value=paper, cited=cited))
    return found


def _spread(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    n = _whole(row, "n", where)
    if n is not None and n < 0:
        raise BadInput(f"{where}: `n` is {n}, expected a count")
    sd = _real(row, "sd", where)
    if sd is not None and sd < 0:
        raise BadInput(f"{where}: `sd` is {sd:g}, expected no less than 0")
    low, high = _real(row, "low", where), _real(row, "high", where)
    return {"sd": sd, "n": n or None, "low": low, "high": high, "flaws": tuple(_flaws(row))}


def _flaws(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield what to know before believing a number, as its own lab marked it."""
    given = row.get("flaws") or []
    yield from map(str, given) if isinstance(given, list) else tabular.parted(str(given))
    if row.get("preset") == "quick":
        yield "made with preset `quick`, toy sizes"
    if row.get("stale"):
        yield f"stale in its own lab: {row['stale']}"


def _column(row: Mapping[str, Any], ratio: int | None, where: str) -> columns.Column:
    """Return the column that a cell stands in.

    Raises:
        NotFound: no method or task is called so.
        BadInput: the task has no such metric or ratio.
    """
    method, task, metric = (str(row[key] or "") for key in ("method", "task", "metric"))
    if method not in METHODS:
        error = unknown_name("method", method, METHODS)
        raise NotFound(f"{where}: {error.message}", error.hint)
    word = ":".join([task, *([] if ratio is None else [str(ratio)]), metric])
    try:
        found = columns.read(word)
    except CxrlabError as error:
        raise type(error)(f"{where}: {error.message}", error.hint) from None
    if len(found) != 1:
        raise BadInput(f"{where}: a cell of `{task}` needs a ratio")
    return found[0]


def _real(row: Mapping[str, Any], key: str, where: str) -> float | None:
    given = row.get(key)
    if given is None or given == "":
        return None
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(f"{where}: `{key}` is `{given}`, expected a number")
    return number


def _whole(row: Mapping[str, Any], key: str, where: str) -> int | None:
    number = _real(row, key, where)
    if number is not None and not number.is_integer():
        raise BadInput(f"{where}: `{key}` is {number:g}, expected a whole number")
    return None if number is None else int(number)
