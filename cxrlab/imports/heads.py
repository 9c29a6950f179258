"""What does each column of a notebook's table hold, by its heading and the one over it?

The notebook's own words are known in Chinese and in English, shortened as people shorten them
(`BL-1`, `MTR`, `RG-L`), and so are the names that cxrlab has for tasks and metrics. What people
call SIIM is read as `siim_legacy`, MRM's lists: all numbers that papers give for it are on those.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

from cxrlab.columns import measured
from cxrlab.imports.html_tables import Place
from trainers.catalog import TASKS

Fixed = Literal["number", "name", "description", "time", "log", "status"]

ACCURACY = "accuracy"
"""What the notebook calls the metric of a classification, whose papers report AUROC."""

_FIXED: dict[Fixed, tuple[str, ...]] = {
    "number": ("序号", "编号", "no", "number", "nr", "index"),
    "name": ("方法", "模型", "method", "methods", "model"),
    "description": ("描述", "说明", "备注", "description"),
    "time": ("预训练时间", "训练时间", "pretrainingtime", "pretraintime", "time"),
    "log": ("预训练日志", "训练日志", "日志", "pretraininglog", "pretrainlog", "log"),
    "status": ("实验状态", "状态", "experimentstatus", "status", "state"),
}

_TASKS: tuple[tuple[str, str], ...] = (
    (r"siim|pneumothorax|气胸", "siim_legacy"),
    (r"(shenzhen|深圳).*(lung|segment|肺|分割)", "shenzhen_lungs"),
    (r"shenzhen|深圳", "shenzhen"),
    (r"(covid|新冠).*(viral|病毒)|viral.*bacterial", "covid_viral"),
    (r"covid|新冠", "covid"),
    (r"<rsna>", "rsna"),
    (r"<nih>|chest ?x-?ray ?-?14", "nih"),
    (r"<reports?>|报告", "report"),
)
"""What names a task; `<` and `>` stand where a word of Latin letters begins and ends."""

_METRICS: tuple[tuple[str, str], ...] = (
    (r"<(?:auroc|auc|roc)>", "AUROC"),
    (r"<dice>", "Dice"),
    (r"<map>", "mAP"),
    (r"<acc(?:uracy)?>|准确率", ACCURACY),
    (r"<bl(?:eu)? ?-? ?([1-4])>", "BLEU-"),
    (r"<mtr>|<meteor>", "METEOR"),
    (r"<(?:rg|rouge) ?-? ?l>", "ROUGE-L"),
    (r"<f1>", "F1"),
    (r"<p>|<precision>", "P"),
    (r"<r>|<recall>", "R"),
)


class Column(NamedTuple):
    """One column that is read: a word for a fixed one, or what its numbers measure."""

    fixed: Fixed | None = None
    task: str = ""
    ratio: int = 0
    metric: str = ""
    flaws: tuple[str, ...] = ()


class Head(NamedTuple):
    """The head of a table."""

    columns: dict[int, Column]
    separators: frozenset[int]
    """The columns that hold nothing but a line."""
    width: int
    rows: int
    """How many rows of the table are its head."""
    unread: dict[int, str]
    """Columns that are not known, with the reason."""


def read_head(rows: Sequence[Sequence[Place]]) -> Head | None:
    """Return what the columns of a table hold; None where no column names a method."""
    own = next((n for n, row in enumerate(rows) if _column_of(row, "name") is not None), None)
    if own is None:
        return None
    at = _column_of(rows[own], "name")
    while own + 1 < len(rows) and at is not None and _column_of(rows[own + 1], "name") == at:
        own += 1  # the heading of the methods reaches down to the row of the headings
    columns: dict[int, Column] = {}
    unread: dict[int, str] = {}
    separators = set()
    for number, place in enumerate(rows[own]):
        over = [row[number].text for row in rows[:own] if len(row) > number]
        if is_separator(place.text):
            separators.add(number)
        elif isinstance(column := _read_column(place.text, over), Column):
            columns[number] = column
        elif column:
            unread[number] = column
    return Head(columns, frozenset(separators), len(rows[own]), own + 1, unread)


def is_separator(text: str) -> bool:
    """Return whether a cell holds nothing but a line."""
    return bool(text) and not text.strip("|│｜")


def task_of(text: str) -> str:
    """Return the task that a heading or a sentence names; empty where it names none."""
    plain = _plain(text)
    titled = (name for name, entry in TASKS.items() if plain == _plain(entry.title))
    if name := next(titled, "") or _exact(text, TASKS):
        return name
    return next((task for words, task in _TASKS if _search(words, plain)), "")


def metric_of(text: str) -> str:
    """Return the metric that a heading or a sentence names; empty where it names none."""
    plain = _plain(text)
    for words, metric in _METRICS:
        if found := _search(words, plain):
            return metric + found[1] if metric == "BLEU-" else metric
    return ""


def _column_of(row: Sequence[Place], fixed: Fixed) -> int | None:
    return next((n for n, place in enumerate(row) if _fixed(place.text) == fixed), None)


def _fixed(text: str) -> Fixed | None:
    bare = "".join(sign for sign in _plain(text) if sign.isalnum())
    return next((name for name, words in _FIXED.items() if bare in words), None)


def _read_column(text: str, over: Sequence[str]) -> Column | str:
    """Return what a column holds, or why that is not known; empty for one without a heading."""
    fixed = _fixed(text)
    if fixed:
        return Column(fixed=fixed)
    whole = " ".join([*dict.fromkeys(over), text]).strip()
    if not whole:
        return ""
    task = task_of(text) or next(filter(None, map(task_of, reversed(over))), "")
    if not task:
        return f"no task is known by the heading `{whole}`"
    above = " ".join(over)
    known = measured(task)
    metric = _exact(text, known) or metric_of(text) or _exact(above, known) or metric_of(above)
    # where a heading has cxrlab's own names, it means by `accuracy` what cxrlab does
    return _measured(task, whole, metric, exact=bool(_exact(whole, TASKS)))


def _measured(task: str, heading: str, metric: str, *, exact: bool = False) -> Column | str:
    wanted = TASKS[task].metric
    flaws: tuple[str, ...] = ()
    if metric == ACCURACY and wanted == "AUROC" and not exact:
        flaws, metric = (accuracy_flaw(f"the heading `{heading}`", ACCURACY),), wanted
    if not metric and task == "report":
        return f"no metric of reports is known by the heading `{heading}`"
    if metric and metric.partition("/")[0] not in measured(task):
        return f"`{heading}` is in {metric}; `{task}` is measured in {wanted}"
    ratio = _ratio(heading, TASKS[task].ratios)
    if ratio is None:
        return f"`{heading}` does not tell the percent of the labels"
    return Column(task=task, ratio=ratio, metric=metric or wanted, flaws=flaws)


def accuracy_flaw(where: str, said: str) -> str:
    """Return what to say of a number whose metric is called an accuracy."""
    return f"{where} calls the metric `{said}`; read as AUROC, which the papers report"


def _ratio(heading: str, known: Sequence[int]) -> int | None:
    """Return the percent of the labels; where none is told, the only one that the task has."""
    found = [int(digits) for digits in re.findall(r"(\d{1,3}) ?%", _plain(heading))]
    if found:
        return found[-1] if 1 <= found[-1] <= 100 else None
    return known[0] if len(known) == 1 else None


def _exact(text: str, known: Collection[str]) -> str:
    """Return the first word of `text` that is one of `known`, or a class of one: `AUROC/Hernia`."""
    words = re.findall(r"[\w/]+(?:-\w+)*", text)
    return next((word for word in words if word.partition("/")[0] in known), "")


def _search(words: str, plain: str) -> re.Match[str] | None:
    # `\\b` would see no boundary between a Latin and a Chinese letter
    return re.search(words.replace("<", "(?<![a-z0-9])").replace(">", "(?![a-z0-9])"), plain)


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())
