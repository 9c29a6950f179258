"""What can stand in a column of the grid, and what does a word such as `siim:10:Dice` ask for?

`[grid] columns` and `--columns` are lists of such words. A word is a task, a task with a ratio, a
metric or both (`nih`, `siim:10`, `report:BLEU-1`, `rsna:10:AP50`), one of the texts that a row has
(`FIELDS`), the name of a set (`notebook`), or that of a group of the lab's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from cxrlab import text
from cxrlab.errors import NotFound, Usage, nearest, unknown_name
from trainers import metrics
from trainers.catalog import METHODS, PRETRAIN, PRETRAIN_ENTRY, TASKS, TaskEntry

Kind = Literal["pretrain", "classification", "segmentation", "detection", "report"]
Unit = Literal["share", "nats", "s", "squared error", "pairs"]

FIELDS = ("number", "description", "log", "status")
"""What a row says besides its numbers: words that are columns by choice."""

NOTEBOOK = (
    "number",
    "description",
    f"{PRETRAIN}:time",
    "log",
    "nih",
    "siim_legacy",
    *(f"report:{name}" for name in ("BLEU-1", "BLEU-2", "BLEU-3", "BLEU-4", "METEOR", "ROUGE-L")),
    *(f"report:{name}" for name in ("P", "R", "F1")),
    "status",
)
"""The columns of the lab's notebook; its segmentation is on MRM's lists."""

SETS: Mapping[str, Sequence[str]] = {"notebook": NOTEBOOK}
"""Names that stand for several columns."""

_KINDS: dict[str, tuple[Kind, tuple[str, ...]]] = {
    "AUROC": ("classification", ("AUROC", "accuracy", "average_precision")),
    "Dice": ("segmentation", tuple(n for n in metrics.METRICS if n.startswith("Dice"))),
    "mAP": ("detection", ("mAP", "mAP_mgca", "AP50", "AP_coco")),
    "BLEU-4": (
        "report",
        tuple(n for n in metrics.METRICS if n[:4] in ("BLEU", "METE", "ROUG") or n[:1] in "PRF"),
    ),
}
"""By the metric of a task: what kind of task it is, and what such tasks measure."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measured thing: a task at a ratio, or what pre-training took and reached."""

    task: str
    ratio: int | None
    metric: str
    unit: Unit
    better: Literal["higher", "lower"]
    group: str = ""
    """The name that the lab's settings give to several columns."""

    def heading(self) -> tuple[str, str]:
        """Return two lines to stand over the column."""
        if self.task == PRETRAIN:
            return "pre-training", "time" if self.metric == "time" else f"val {self.metric}"
        return f"{self.task} {self.metric}", f"{self.ratio} %"

    @property
    def word(self) -> str:
        """The word that asks for this column and no other."""
        parts = [self.task, *([str(self.ratio)] if self.ratio is not None else []), self.metric]
        return ":".join(parts)


class Chosen(NamedTuple):
    """The columns that words ask for, each once, and the texts of a row."""

    columns: tuple[Column, ...]
    fields: tuple[str, ...] = ()


def kind_of(task: str) -> Kind:
    """Return what kind of task it is, by what it is judged by."""
    return "pretrain" if task == PRETRAIN else _KINDS[TASKS[task].metric][0]


def measured(task: str) -> tuple[str, ...]:
    """Return the metrics that can be a column of `task`; of one class by `AUROC/Hernia` besides."""
    if task == PRETRAIN:
        return ("time", PRETRAIN_ENTRY.metric)
    known = _KINDS[TASKS[task].metric][1]
    return tuple(name for name in known if metrics.METRICS[name].better != "neither")


def pretraining() -> tuple[Column, ...]:
    """Return what pre-training took and reached."""
    return tuple(_column(PRETRAIN, None, metric) for metric in measured(PRETRAIN))


def of_tasks(tasks: Mapping[str, TaskEntry]) -> tuple[Column, ...]:
    """Return the columns of a lab that names none: pre-training, then each task at each ratio."""
    return pretraining() + tuple(
        Column(task=name, ratio=ratio, metric=task.metric, unit=task.unit, better=task.better)
        for name, task in tasks.items()
        for ratio in task.ratios
    )


def chosen(words: Sequence[str], groups: Mapping[str, Sequence[str]] | None = None) -> Chosen:
    """Return what `words` ask for, in their order; all tasks where there are none.

    What pre-training took and reached comes first, unless a word asks for it, or for a text of the
    rows: such a table is laid out by hand.

    Raises:
        NotFound: no task, text, set or group is called so.
        Usage: a ratio or a metric that the task cannot have.
    """
    if not words:
        return Chosen(of_tasks(TASKS))
    found: dict[str, Column] = {}
    fields: dict[str, None] = {}
    for word, group in _spread(words, groups or {}):
        if word in FIELDS:
            fields[word] = None
            continue
        for column in read(word, groups or {}):
            found.setdefault(column.word, replace(column, group=group))
    by_hand = fields or any(column.task == PRETRAIN for column in found.values())
    first = () if by_hand else pretraining()
    return Chosen((*first, *found.values()), tuple(f for f in FIELDS if f in fields))


def read(word: str, groups: Iterable[str] = ()) -> tuple[Column, ...]:
    """Return the columns of one task that `word` asks for: all its ratios where it names none.

    Raises:
        NotFound: no task is called so; the nearest name of `groups` or anything else is told.
        Usage: a ratio or a metric that the task cannot have.
    """
    task, *rest = word.split(":")
    if task not in (PRETRAIN, *TASKS):
        known = (*TASKS, PRETRAIN, *FIELDS, *SETS, *groups)
        error = unknown_name("task", task, known)
        if task in METHODS:
            raise NotFound(f"`{task}` is a method, and no column", "write it under `methods`")
        raise error
    ratio = text.whole(rest[0]) if rest else None
    rest = rest if ratio is None else rest[1:]
    metric = rest.pop(0) if rest else None
    if rest or metric == "" or (ratio is not None and task == PRETRAIN):
        raise Usage(f"`{word}` is no column", "write `siim`, `siim:10`, `siim:10:Dice`")
    if ratio is not None and not 0 < ratio <= 100:
        raise Usage(f"`{word}`: {ratio} is no share of the labels", "from 1 to 100 percent")
    if metric is not None:
        _check(word, task, metric)
    if task == PRETRAIN:
        return pretraining() if metric is None else (_column(task, None, metric),)
    ratios = TASKS[task].ratios if ratio is None else (ratio,)
    return tuple(_column(task, share, metric or TASKS[task].metric) for share in ratios)


def methods_of(words: Sequence[str], groups: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the methods that `words` name, in their order, with the group of each, if any.

    Raises:
        NotFound: no method and no group of methods is called so.
    """
    found: dict[str, str] = {}
    for word in words:
        members = groups.get(word, ()) if word not in METHODS else (word,)
        if not members or any(member not in METHODS for member in members):
            ours = [name for name, each in groups.items() if set(each) <= set(METHODS)]
            raise unknown_name("method", word, (*METHODS, *ours))
        for member in members:
            found.setdefault(member, "" if word in METHODS else word)
    return found


def _spread(words: Sequence[str], groups: Mapping[str, Sequence[str]]) -> Iterable[tuple[str, str]]:
    """Yield each word with the group it stands in; sets and groups as the words they stand for."""
    for word in words:
        if word in SETS:
            yield from ((member, "") for member in SETS[word])
        elif word in groups:
            yield from ((member, word) for member in groups[word])
        else:
            yield word, ""


def _column(task: str, ratio: int | None, metric: str) -> Column:
    if task != PRETRAIN and metric == TASKS[task].metric:
        entry = TASKS[task]
        return Column(task=task, ratio=ratio, metric=metric, unit=entry.unit, better=entry.better)
    meaning = metrics.find(metric)
    assert meaning is not None, metric  # checked where it was given
    better: Literal["higher", "lower"] = "lower" if meaning.better == "lower" else "higher"
    return Column(task=task, ratio=ratio, metric=metric, unit=meaning.unit, better=better)


def _check(word: str, task: str, metric: str) -> None:
    """Refuse a metric that the task does not measure, for no number could ever stand there."""
    known = measured(task)
    head, _, one = metric.partition("/")
    if head in known and (not one or task != PRETRAIN):
        return
    if metric.lstrip("-").isdigit():
        raise Usage(f"`{word}`: {metric} is no share of the labels", "from 1 to 100 percent")
    meaning = metrics.METRICS.get(metric)
    if meaning is not None and meaning.better == "neither":
        raise Usage(f"`{word}`: `{metric}` tells how to read another number, and is no column")
    close = nearest(metric, known)
    hint = f"did you mean `{close}`?" if close else f"it has {', '.join(known)}"
    raise Usage(f"`{word}`: {task} does not measure `{metric}`", hint)
