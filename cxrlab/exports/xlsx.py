"""How does the grid look as a workbook: the table, its cells one a row, and the notes?

Numbers are numbers, so that they can be worked with: shares shown as percent, times as hours. What
is text stays text, whatever sign it begins with.
"""

from __future__ import annotations

import io
from itertools import groupby
from typing import TYPE_CHECKING, Any

from openpyxl import Workbook
from openpyxl.comments import Comment
from openpyxl.styles import Alignment, Border, Font, Side
from openpyxl.utils import get_column_letter

from cxrlab import console
from cxrlab.exports import long
from cxrlab.exports.layout import Entry, Layout
from cxrlab.exports.spans import spans
from cxrlab.exports.words import say
from cxrlab.grid import ranking
from cxrlab.tabular import joined

if TYPE_CHECKING:
    from openpyxl.cell import Cell as Place
    from openpyxl.worksheet.worksheet import Worksheet

SHARE, HOURS, PLAIN = "0.0%", '[h]"h" mm"m"', "0.000"
_DAY_S = 86_400
_BOLD, _ITALIC = Font(bold=True), Font(italic=True)
_UNDERLINED = Font(underline="single")
_RULE = Border(bottom=Side(style="thin"))
_SHARES = ("value", "sd", "low", "high", "paper", "floor", "progress")


def workbook(layout: Layout) -> bytes:
    """Return the workbook as it lies in a file."""
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = say("grid", layout.lang)
    _grid(sheet, layout)
    _cells(book.create_sheet(say("cells", layout.lang)), layout)
    _notes(book.create_sheet(say("notes", layout.lang).lower()), layout)
    book.properties.title = layout.title
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _grid(sheet: Worksheet, layout: Layout) -> None:
    _put(sheet, 2, 1, say("method", layout.lang), _BOLD)
    for span in spans(layout.heads):
        first, last = span.first + 2, span.first + span.count + 1
        _put(sheet, 1, first, span.text, _BOLD).alignment = Alignment(horizontal="center")
        if span.count > 1:
            sheet.merge_cells(start_row=1, start_column=first, end_row=1, end_column=last)
    for at, head in enumerate(layout.heads, start=2):
        place = _put(sheet, 2, at, head.below, _BOLD)
        place.alignment = Alignment(horizontal="right" if head.column else "left")
    for at in range(1, len(layout.heads) + 2):
        sheet.cell(2, at).border = _RULE
    row = 2
    for group, lines in groupby(layout.lines, key=lambda line: line.group):
        if group:
            row += 1
            _put(sheet, row, 1, group, _ITALIC)
        for line in lines:
            row += 1
            _put(sheet, row, 1, line.method, _BOLD)
            for at, entry in enumerate(line.entries, start=2):
                _entry(sheet, row, at, entry, layout)
    sheet.freeze_panes = "B3"
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToHeight = 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    _fit(sheet, layout)


def _entry(sheet: Worksheet, row: int, at: int, entry: Entry, layout: Layout) -> None:
    cell = entry.cell
    if cell is None or cell.value is None:
        place = _put(sheet, row, at, entry.text)
        if cell is not None:
            place.alignment = Alignment(horizontal="right")
    else:
        place = sheet.cell(row, at, cell.value / _DAY_S if cell.unit == "s" else cell.value)
        place.number_format = {"share": SHARE, "s": HOURS}.get(cell.unit, PLAIN)
        if entry.rank:
            place.font = _BOLD if entry.rank == ranking.BEST else _UNDERLINED
    if comment := said(entry, layout):
        note = Comment(comment, "cxrlab", width=320, height=30 + 18 * (len(comment) // 42 + 1))
        place.comment = note


def said(entry: Entry, layout: Layout) -> str:
    """Return what the comment on a number says: its spread, state, notes, the paper's number."""
    if entry.cell is None or not (entry.number or entry.paper):
        return ""
    parts = [" ".join(filter(None, (entry.number, entry.spread)))]
    parts += [entry.state] if entry.number else []
    parts += [layout.footnotes[number - 1] for number in entry.notes]
    if entry.paper:
        sources = [layout.footnotes[number - 1] for number in entry.paper_notes]
        parts.append(": ".join([f"{say('paper', layout.lang)} {entry.paper}", *sources]))
    return "\n".join(filter(None, parts))


def _cells(sheet: Worksheet, layout: Layout) -> None:
    for at, key in enumerate(long.KEYS, start=1):
        _put(sheet, 1, at, key, _BOLD)
    for row, cell in enumerate(long.cells(layout), start=2):
        for at, key in enumerate(long.KEYS, start=1):
            value = cell[key]
            if isinstance(value, list):
                value = joined(value)
            if value is None or value == "":
                continue
            place = _put(sheet, row, at, value)
            if key in _SHARES and cell["unit"] == "share":
                place.number_format = SHARE
    sheet.freeze_panes = "B2"
    last = get_column_letter(len(long.KEYS))
    sheet.auto_filter.ref = f"A1:{last}{max(1, sheet.max_row)}"


def _notes(sheet: Worksheet, layout: Layout) -> None:
    wrap = Alignment(wrap_text=True, vertical="top")
    notes: list[tuple[int | None, str]] = [*enumerate(layout.footnotes, start=1)]
    notes += [(None, note) for note in layout.general]
    for row, (number, note) in enumerate(notes, start=1):
        _put(sheet, row, 1, number).alignment = Alignment(vertical="top")
        _put(sheet, row, 2, note).alignment = wrap
    sheet.column_dimensions["A"].width = 5
    sheet.column_dimensions["B"].width = 110


def _put(sheet: Worksheet, row: int, at: int, value: Any, font: Font | None = None) -> Place:
    """Write a value; a text never becomes a formula, now or when somebody edits it."""
    place = sheet.cell(row, at)
    if isinstance(value, str):
        place.value = value
        place.data_type = "s"
        if value.startswith(("=", "+", "-", "@")):
            place.quotePrefix = True
    elif value is not None:
        place.value = value
    if font is not None:
        place.font = font
    return place


def _fit(sheet: Worksheet, layout: Layout) -> None:
    """Make each column as wide as what it says, a long text apart."""
    texts = [[say("method", layout.lang), *(line.method for line in layout.lines)]]
    for at, head in enumerate(layout.heads):
        said_ = [line.entries[at].number or line.entries[at].text for line in layout.lines]
        texts.append([head.below, *said_])
    for at, column in enumerate(texts, start=1):
        width = min(48, 3 + max(map(console.length, column)))
        sheet.column_dimensions[get_column_letter(at)].width = width
