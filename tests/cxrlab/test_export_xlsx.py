from __future__ import annotations

import io
from dataclasses import replace

import pytest
from openpyxl import load_workbook

from cxrlab import columns, grid
from cxrlab.exports.layout import Layout, arranged
from cxrlab.exports.long import KEYS
from cxrlab.exports.words import Lang
from cxrlab.exports.xlsx import workbook
from cxrlab.grid.published import read_published
from store.cells import Group
from trainers.catalog import METHODS

FORMULAS = ("=1+1", "+1", "-1", "@x", "=HYPERLINK(1)\x00")


def laid_out(lang: Lang = "en", description: str = "") -> Layout:
    groups = [
        Group(m, "siim", 10, "Dice", m, "paper", v, sd, n, 0.7, 0.75, ("a",), 1)
        for m, v, sd, n in (
            ("mrm", 0.73, 0.004, 3),
            ("refers", 0.71, None, 1),
            ("mae", 0.6, 0.1, 2),
        )
    ]
    groups.append(
        Group(
            "mrm", "pretrain", None, "time", "r", "paper", 222_600.0, None, 1, None, None, ("b",), 1
        )
    )
    chosen = columns.chosen(["description", "pretrain", "siim", "siim_legacy:10"])
    made = grid.build(METHODS, chosen.columns, groups, [], published=read_published())
    rows = tuple(replace(row, group="all", description=description) for row in made.rows)
    return arranged(replace(made, rows=rows, fields=chosen.fields), lang)


def opened(layout: Layout):
    return load_workbook(io.BytesIO(workbook(layout)))


def place(sheet, method: str, above: str, below: str):
    """Return the cell of a method under two headings."""
    over = ""
    for at in range(2, sheet.max_column + 1):
        over = sheet.cell(1, at).value or over
        if (over, sheet.cell(2, at).value) == (above, below):
            row = next(r for r in range(3, sheet.max_row + 1) if sheet.cell(r, 1).value == method)
            return sheet.cell(row, at)
    raise LookupError(above, below)


def test_numbers_are_numbers_shown_in_percent() -> None:
    found = place(opened(laid_out()).worksheets[0], "mrm", "siim Dice", "10 %")
    assert (found.value, found.number_format) == (0.73, "0.0%")


def test_a_time_is_a_time_of_more_than_a_day() -> None:
    found = place(opened(laid_out()).worksheets[0], "mrm", "pre-training", "time")
    assert found.value.total_seconds() == pytest.approx(222_600)
    assert found.number_format.startswith("[h]")


def test_the_best_is_bold_and_the_second_underlined() -> None:
    sheet = opened(laid_out()).worksheets[0]
    fonts = [place(sheet, m, "siim Dice", "10 %").font for m in ("mrm", "refers", "mae")]
    assert [(bool(f.b), f.u) for f in fonts] == [
        (True, None), (False, "single"), (False, None),
    ]  # fmt: skip


def test_a_comment_tells_the_spread_the_footnotes_and_the_papers_source() -> None:
    sheet = opened(laid_out()).worksheets[0]
    assert "73.0 ±0.4 (3)" in place(sheet, "mrm", "siim Dice", "10 %").comment.text
    assert "single seed" in place(sheet, "refers", "siim Dice", "10 %").comment.text
    told = place(sheet, "mrm", "siim_legacy Dice", "10 %").comment.text
    assert "[73.2]" in told
    assert "leaks" in told


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_is_a_formula(text: str) -> None:
    sheet = opened(laid_out(description=text)).worksheets[0]
    found = sheet.cell(4, 2)
    assert found.data_type == "s"
    assert found.value == text.replace("\x00", "\u2400")
    assert found.quotePrefix


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_the_sheets_are_the_table_the_cells_and_the_notes(lang: Lang) -> None:
    layout = laid_out(lang)
    book = opened(layout)
    assert book.sheetnames == {
        "en": ["grid", "cells", "notes"], "zh": ["对比表", "单元格", "说明"],
    }[lang]  # fmt: skip
    cells = book.worksheets[1]
    assert [cell.value for cell in cells[1]] == list(KEYS)
    assert cells.max_row == 1 + sum(e.cell is not None for ln in layout.lines for e in ln.entries)
    told = [row[1].value for row in book.worksheets[2].iter_rows()]
    assert told == [*layout.footnotes, *layout.general]


def test_the_cells_of_the_second_sheet_hold_every_digit() -> None:
    sheet = opened(laid_out()).worksheets[1]
    rows = [dict(zip(KEYS, row, strict=True)) for row in sheet.iter_rows(2, values_only=True)]
    found = next(r for r in rows if (r["method"], r["task"], r["ratio"]) == ("mrm", "siim", 10))
    assert [found[key] for key in ("value", "sd", "n", "low", "high")] == [
        0.73,
        0.004,
        3,
        0.7,
        0.75,
    ]
