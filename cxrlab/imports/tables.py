"""What does a table of curves hold: a csv file with a column of steps and one for each metric?

As this program, Lightning, Keras, and the download buttons of TensorBoard and W&B write them.
"""

from __future__ import annotations

import csv
from pathlib import Path

from cxrlab.errors import BadInput, NotFound
from cxrlab.imports.curves import Found

STEPS = ("step", "_step", "global_step", "trainer/global_step", "iteration", "epoch")
"""What the column of steps may be called; the first that is there is taken."""

TIMES = ("time", "wall time", "timestamp", "_timestamp", "wall_time")


def read(path: Path) -> Found:
    """Return the curves of a table, empty cells left out.

    Raises:
        NotFound: there is no such file.
        BadInput: it has no column of steps, or a cell is no number; the message names its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file)
            head = [name.strip() for name in next(rows, [])]
            found = Found("csv", path.stem, str(path.resolve()))
            step_at = _column(head, STEPS)
            if step_at is None:
                raise BadInput(
                    f"{path}:1: no column of steps", f"call it `step`; there is: {', '.join(head)}"
                )
            time_at = _column(head, TIMES)
            for row in rows:
                if any(cell.strip() for cell in row):
                    _take(row, head, found, f"{path}:{rows.line_num}", step_at, time_at)
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} is no csv table: {error}") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder", "name a csv file") from None
    return found


def _column(head: list[str], names: tuple[str, ...]) -> int | None:
    lowered = [name.lower() for name in head]
    return next((lowered.index(name) for name in names if name in lowered), None)


def _take(
    row: list[str], head: list[str], found: Found, where: str, step_at: int, time_at: int | None
) -> None:
    if len(row) > len(head):
        raise BadInput(f"{where}: {len(row)} cells under {len(head)} headings")
    numbers = {
        at: _number(cell, f"{where}: `{head[at]}`") for at, cell in enumerate(row) if cell.strip()
    }
    step = numbers.pop(step_at, None)
    if step is None or not step.is_integer():
        raise BadInput(f"{where}: `{head[step_at]}` is `{row[step_at]}`, expected a whole number")
    t = numbers.pop(time_at, None) if time_at is not None else None
    for at, value in numbers.items():
        found.add(head[at], int(step), value, t)


def _number(cell: str, where: str) -> float:
    try:
        return float(cell)
    except ValueError:
        raise BadInput(f"{where} is `{cell.strip()[:40]}`, expected a number") from None
