"""How does the grid look as the lab's notebook has it: a table of HTML, cell for cell?

What was brought in from a notebook is written as it stood there, `70.09` without its unit too; what
is wrong with such a number is told by its cell's `title`.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from cxrlab import columns, text
from cxrlab.columns import Column, kind_of
from cxrlab.grid import Cell, Grid, Row
from cxrlab.settings import GridSettings
from trainers.catalog import PRETRAIN, TASKS

if TYPE_CHECKING:
    from store.notebook import Number

SEPARATOR = "|"
UNKNOWN_TIME = "xx(h)xx(m)"

_FIELDS: Mapping[str, tuple[str, str]] = {
    "number": ("No.", "序号"),
    "method": ("Method", "方法"),
    "description": ("Description", "描述"),
    "time": ("Pre-training time", "预训练时间"),
    "loss": ("Validation loss", "验证损失"),
    "log": ("Pre-training log", "预训练日志"),
    "status": ("Status", "实验状态"),
}
_KINDS: Mapping[str, tuple[str, str]] = {
    "classification": ("Classification", "分类任务"),
    "segmentation": ("Segmentation", "分割任务"),
    "detection": ("Detection", "检测任务"),
    "report": ("Report generation", "医疗报告补充实验"),
}
_SETS: Mapping[str, str] = {"nih": "NIH Chest X-Ray", "siim_legacy": "SIIM ACR Pneumothorax"}
_METRICS: Mapping[str, str] = {
    **{f"BLEU-{n}": f"BL-{n}" for n in range(1, 5)},
    "METEOR": "MTR",
    "ROUGE-L": "RG-L",
}


class Part(NamedTuple):
    """Neighbouring columns under one heading."""

    heading: str
    """Empty where there is none."""
    columns: tuple[str | Column, ...]
    """Texts of a row by name, `SEPARATOR`, or what is measured."""


def settings_for(settings: GridSettings) -> GridSettings:
    """Return what a lab shows with the notebook's columns, unless it lays a table out by hand."""
    chosen = columns.chosen(settings.columns, settings.groups)
    return settings if chosen.fields else replace(settings, columns=("notebook",))


def html_table(shown: Grid, rows: Sequence[Row] | None = None, *, lang: str = "zh") -> str:
    """Return the table as a notebook has it.

    Args:
        shown: a grid with the notebook's columns; see `settings_for`.
        rows: its rows; all where None.
        lang: of the headings, `en` or `zh`.
    """
    parts = parts_of(shown, lang)
    lines = ['<table style="text-align: center">', "    <tr></tr>"]
    lines += row_of(td for part in parts for td in merged(part))
    lines += row_of(td(below(column, lang)) for part in parts for column in part.columns)
    places = {column.word: at for at, column in enumerate(shown.columns)}
    for row in shown.rows if rows is None else rows:
        lines += row_of(entry(row, column, places) for part in parts for column in part.columns)
    return "\n".join([*lines, "</table>", ""])


def parts_of(shown: Grid, lang: str) -> list[Part]:
    """Return the columns of a table in the notebook's order, under their headings.

    A line stands before and behind the reports, and before the status.
    """
    first = tuple(column for column in shown.columns if column.task == PRETRAIN)
    before = [f for f in ("number", "method", "description") if f in (*shown.fields, "method")]
    log = [f for f in ("log",) if f in shown.fields]
    parts = [Part("", (*before, *first, *log))]
    blocks: dict[str, list[Column]] = {}
    for column in shown.columns:
        if column.task != PRETRAIN:
            blocks.setdefault(column.task, []).append(column)
    line = Part("", (SEPARATOR,))
    for task, block in blocks.items():
        apart = kind_of(task) == "report"
        if apart and parts[-1] != line:
            parts.append(line)
        parts.append(Part(above(task, block, lang), tuple(block)))
        if apart:
            parts.append(line)
    if "status" in shown.fields:
        parts += [line] if parts[-1] != line else []
        parts.append(Part("", ("status",)))
    return parts


def above(task: str, block: Sequence[Column], lang: str) -> str:
    """Return the heading over the columns of one task."""
    kind = _said(_KINDS[kind_of(task)], lang)
    if kind_of(task) == "report":
        return kind
    named = _SETS.get(task) or f"{task} {block[0].metric}"
    return f"{kind}({named})" if lang == "zh" else f"{kind} ({named})"


def below(column: str | Column, lang: str) -> str:
    """Return the heading of one column."""
    if isinstance(column, str):
        return _said(_FIELDS[column], lang) if column in _FIELDS else column
    if column.task == PRETRAIN:
        return _said(_FIELDS[column.metric], lang)
    metric = _METRICS.get(column.metric, column.metric)
    if kind_of(column.task) == "report":
        return metric if column.ratio == 100 else f"{metric} {column.ratio}%"
    usual = column.metric == TASKS[column.task].metric
    return f"{'' if usual else f'{metric} '}{column.ratio}%(LR)"


def entry(row: Row, column: str | Column, places: Mapping[str, int]) -> str:
    """Return one cell of the body."""
    if isinstance(column, str):
        if column == SEPARATOR:
            return td(SEPARATOR)
        return td(row.name or written(row.method) if column == "method" else row.text(column))
    cell = row.cells[places[column.word]]
    theirs = cited(cell)
    # an import takes a title for what is wrong with the own number, where there is one
    alone = theirs.flaws if theirs and cell.value is None else ()
    told = [*cell.flaws, *alone, *([f"stale: {cell.stale}"] if cell.stale else [])]
    return td(said(cell, imported=row.imported), title="; ".join(told))


def said(cell: Cell, *, imported: bool = False) -> str:
    """Return a cell as the notebook writes it: `79.2% (79.4%)`, `61(h)50(m)`, or nothing.

    Args:
        cell: the cell.
        imported: whether its row was brought in. Such a row keeps its own brackets, and gets a
            paper's number that it does not cite only beside a number of this lab.
    """
    if cell.unit == "s":
        return time_said(cell)
    told = cell.number_told
    own = own_part(told.said) if told else number(cell)
    theirs = cited(cell)
    if theirs is not None:
        paper = bracket(theirs.said) or f"({percent(theirs.value, cell)})"
    elif cell.paper is not None and (not imported or (cell.value is not None and told is None)):
        paper = f"({percent(cell.paper, cell)})"
    else:
        paper = ""
    return " ".join(filter(None, (own, paper)))


def cited(cell: Cell) -> Number | None:
    """Return the paper's number as a notebook cites it, if any does."""
    return next((n for n in reversed(cell.notebook) if n.origin == "paper"), None)


def number(cell: Cell) -> str:
    """Return this lab's number, `79.2%` or `79.2±0.4%`; empty where there is none."""
    if cell.value is None:
        return ""
    if cell.sd is None or cell.n < 2:
        return percent(cell.value, cell)
    mean, spread = (text.metric(value, cell.unit) for value in (cell.value, cell.sd))
    return f"{mean}±{spread}" + ("%" if cell.unit == "share" else "")


def percent(value: float, cell: Cell) -> str:
    """Return a number with its unit."""
    return text.metric(value, cell.unit) + ("%" if cell.unit == "share" else "")


def time_said(cell: Cell) -> str:
    """Return how long pre-training took, `61(h)50(m)`, with a place for it where none is known."""
    if cell.state == "none":
        return "-"
    if cell.value is None:
        return UNKNOWN_TIME
    if cell.number_told:
        return cell.number_told.said
    if cell.value < 60:
        return f"{cell.value:.0f}(s)"
    minutes = round(cell.value / 60)
    return f"{minutes // 60}(h){minutes % 60}(m)"


_BRACKET = re.compile(r"\s*[(（][^()（）]*[)）]\s*$")


def own_part(written: str) -> str:
    """Return what stands before the brackets in a notebook's cell."""
    return _BRACKET.sub("", written).strip()


def bracket(written: str) -> str:
    """Return the brackets at the end of a notebook's cell."""
    found = _BRACKET.search(written)
    return found[0].strip() if found else ""


def written(method: str) -> str:
    """Return a method as a notebook would write it: `refers(mrm)`, `deep mrm`."""
    return {"refers_mrm": "refers(mrm)"}.get(method, method.replace("_", " "))


def merged(part: Part) -> list[str]:
    """Return the cells of the first line of headings over one part."""
    if part.heading:
        return [td(part.heading, colspan=len(part.columns))]
    return [td(SEPARATOR if column == SEPARATOR else "") for column in part.columns]


def row_of(cells: Iterable[str]) -> list[str]:
    """Return the lines of one row."""
    return ["    <tr>", *(f"        {cell}" for cell in cells), "    </tr>"]


def td(content: str, *, colspan: int = 0, title: str = "") -> str:
    """Return one cell with `content` as text."""
    spans = f" colspan='{colspan}'" if colspan else ""
    told = f' title="{html.escape(title)}"' if title else ""
    return f"<td{spans}{told}> {html.escape(' '.join(content.split()), quote=False)} </td>"


def _said(words: tuple[str, str], lang: str) -> str:
    return words[lang == "zh"]
