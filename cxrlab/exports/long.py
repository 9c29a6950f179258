"""How does the grid look to a program: as csv with a row for each cell, or as one JSON document?

Numbers are written so that reading them gives the same ones again; `cxrlab import table` does.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from cxrlab.exports import facts
from cxrlab.exports.layout import Entry, Layout
from cxrlab.grid import ranking
from cxrlab.tabular import FORM, VERSION, written

KEYS = (
    "method", "task", "ratio", "metric", "value", "sd", "n", "low", "high", "paper", "state",
    "unit", "better", "progress", "others", "preset", "recipe", "foreign", "floor", "train_split",
    "test_split", "not_comparable", "differs", "stale", "flaws", "runs", "selection", "definition",
    "paper_source", "text", "rank", "notes",
)  # fmt: skip
"""The columns of the csv table, in this order."""

_RANKS = {ranking.BEST: "best", ranking.SECOND: "second"}


def cells(layout: Layout) -> list[dict[str, Any]]:
    """Return every cell with its rank in its column and the footnotes to it, in words."""
    return [
        _facts(entry, layout)
        for line in layout.lines
        for entry in line.entries
        if entry.cell is not None
    ]


def _facts(entry: Entry, layout: Layout) -> dict[str, Any]:
    assert entry.cell is not None
    notes = [layout.footnotes[number - 1] for number in entry.notes]
    return facts.of_cell(entry.cell) | {"rank": _RANKS.get(entry.rank), "notes": notes}


def document(layout: Layout) -> str:
    """Return one JSON document: the cells, the texts of the rows, the notes."""
    told = {
        "form": FORM,
        "version": VERSION,
        "lang": layout.lang,
        "rows": [
            {"method": line.method, "title": line.title, "group": line.group}
            | {
                head.below: entry.state
                for head, entry in zip(layout.heads, line.entries, strict=True)
                if head.column is None
            }
            for line in layout.lines
        ],
        "cells": cells(layout),
        "notes": list(layout.general),
    }
    return json.dumps(told, indent=2, ensure_ascii=False) + "\n"


def table(layout: Layout) -> str:
    """Return a csv table with a row for each cell, empty where nothing is known."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(KEYS)
    for cell in cells(layout):
        writer.writerow([written(cell[key]) for key in KEYS])
    return out.getvalue()
