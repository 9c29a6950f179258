"""In which forms can the grid be written, and between which markers does each stand in a file?"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

from cxrlab.exports.files import COMMENTS, PERCENT, Markers
from cxrlab.exports.layout import Layout


class Form(StrEnum):
    """What the grid can be written as."""

    markdown = "markdown"
    html = "html"
    latex = "latex"
    csv = "csv"
    json = "json"
    xlsx = "xlsx"


class Written(NamedTuple):
    """The grid in one form."""

    content: bytes
    """As it lies in a file of its own."""
    part: str | None
    """As it stands between markers in another file; None where it cannot."""
    markers: Markers | None


def write(layout: Layout, form: Form) -> Written:
    """Return the grid in a form; only what that form needs is imported."""
    return _WRITERS[form](layout)


def as_notebook(table: str) -> Written:
    """Return a notebook's table, which is HTML in Markdown as well."""
    return Written(table.encode(), table, COMMENTS)


def markers_of(form: Form) -> Markers | None:
    """Return the markers that a form stands between; None where it fills a file alone."""
    return {Form.markdown: COMMENTS, Form.html: COMMENTS, Form.latex: PERCENT}.get(form)


def _markdown(layout: Layout) -> Written:
    from cxrlab.exports.markdown import markdown

    text = markdown(layout)
    return Written(text.encode(), text, COMMENTS)


def _html(layout: Layout) -> Written:
    from cxrlab.exports import html

    return Written(html.page(layout).encode(), html.fragment(layout), COMMENTS)


def _latex(layout: Layout) -> Written:
    from cxrlab.exports.latex import table

    text = table(layout)
    return Written(text.encode(), text, PERCENT)


def _csv(layout: Layout) -> Written:
    from cxrlab.exports.long import table

    # spreadsheets take a file without this mark for one in their own encoding
    mark = "\ufeff" if layout.lang == "zh" else ""
    return Written((mark + table(layout)).encode(), None, None)


def _json(layout: Layout) -> Written:
    from cxrlab.exports.long import document

    return Written(document(layout).encode(), None, None)


def _xlsx(layout: Layout) -> Written:
    from cxrlab.exports.xlsx import workbook

    return Written(workbook(layout), None, None)


_WRITERS: dict[Form, Callable[[Layout], Written]] = {
    Form.markdown: _markdown,
    Form.html: _html,
    Form.latex: _latex,
    Form.csv: _csv,
    Form.json: _json,
    Form.xlsx: _xlsx,
}
