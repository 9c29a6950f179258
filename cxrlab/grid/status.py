"""How far is a method, in the words of a notebook's status column? Touches nothing.

The words follow from the cells of its row: "预训练完成 分类完成 分割100%待验证", or "pre-training
done, classification done, segmentation 100 % to be verified". What is finished of a kind of task
goes without saying while something of it is not; a kind that nobody has begun is not spoken of.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from cxrlab.columns import Kind, kind_of
from trainers.catalog import PRETRAIN

if TYPE_CHECKING:
    from cxrlab.grid import Cell

DONE, OPEN = "done", "open"

WORDS: dict[str, tuple[str, str]] = {
    "pretrain": ("pre-training", "预训练"),
    "classification": ("classification", "分类"),
    "segmentation": ("segmentation", "分割"),
    "detection": ("detection", "检测"),
    "report": ("report generation", "报告生成"),
    DONE: ("done", "完成"),
    OPEN: ("to be verified", "待验证"),
    "not begun": ("not started", "未开始"),
    "downstream": ("downstream tasks", "下游任务"),
    "queued": ("queued", "排队"),
    "blocked": ("waiting for others", "等待"),
    "running": ("running", "进行中"),
    "failed": ("failed", "失败"),
    "stopped": ("stopped", "已停止"),
    "lost": ("lost", "中断"),
    "stale": ("stale", "已过期"),
}
"""In English and in Chinese."""

LANGUAGES = ("en", "zh")


class Part(NamedTuple):
    """One share of one task: how far it is."""

    task: str
    ratio: int | None
    state: str
    """`done`, `open`, `stale`, or the state of the run under way."""
    progress: float | None
    """Share of the running run that is done, in [0, 1]."""


def status(cells: Sequence[Cell], lang: str = "en") -> str:
    """Return how far the method is whose row `cells` are; empty for a row without any.

    Args:
        cells: of one method.
        lang: `en` or `zh`.
    """
    kinds: dict[Kind, list[Part]] = {}
    for part in parts_of(cells):
        kinds.setdefault(kind_of(part.task), []).append(part)
    begun = {kind for kind, parts in kinds.items() if any(part.state != OPEN for part in parts)}
    if not kinds:
        return ""
    if not begun:
        return word("not begun", lang)
    said = [
        phrase
        for kind, parts in kinds.items()
        if kind in begun or kind == "pretrain"
        for phrase in phrases(kind, parts, lang)
    ]
    if begun == {"pretrain"} and len(kinds) > 1 and kinds["pretrain"][0].state == DONE:
        said.append(joined((word("downstream", lang), word(OPEN, lang)), lang))
    return {"en": ", ", "zh": " "}[lang].join(said)


def parts_of(cells: Iterable[Cell]) -> list[Part]:
    """Return how far each share of each task is; a cell that is never filled has no say.

    Of several metrics of one run the one that is furthest speaks.
    """
    found: dict[tuple[str, int | None], Part] = {}
    for cell in cells:
        if cell.state == "none":
            continue
        part = Part(cell.task, cell.ratio, state_of(cell), cell.progress)
        before = found.setdefault(part[:2], part)
        if before.state == OPEN or (part.state == DONE and before.state != DONE):
            found[part[:2]] = part
    return list(found.values())


def state_of(cell: Cell) -> str:
    """Return how far one cell is: a number from elsewhere counts, one that is stale does not."""
    if cell.under_way():
        return cell.state
    if cell.stale:
        return "stale"
    return OPEN if cell.value is None else DONE


def phrases(kind: Kind, parts: Sequence[Part], lang: str) -> list[str]:
    """Return what there is to say of one kind of task: that it is done, or what is not."""
    name = word(kind, lang)
    if all(part.state == DONE for part in parts):
        return [joined((name, word(DONE, lang)), lang)]
    tasks = dict.fromkeys(part.task for part in parts)
    states: dict[tuple[str, str], list[Part]] = {}
    for part in parts:
        if part.state != DONE:
            said = word("not begun", lang) if part.task == PRETRAIN and part.state == OPEN else ""
            key = said or state_words(part, lang)
            states.setdefault((part.task if len(tasks) > 1 else "", key), []).append(part)
    alone = len(states) == 1 and len(next(iter(states.values()))) == len(parts)
    return [
        joined((name, *places(task, [] if alone else some, lang), state), lang)
        for (task, state), some in states.items()
    ]


def places(task: str, parts: Sequence[Part], lang: str) -> list[str]:
    """Return which task and which shares of its labels are meant, where that must be said."""
    percent = {"en": "{} %", "zh": "{}%"}[lang]
    shares = [percent.format(part.ratio) for part in parts if part.ratio is not None]
    named = [f"({task})" if lang == "zh" else task] if task else []
    return [*named, *([" ".join(shares)] if shares else [])]


def state_words(part: Part, lang: str) -> str:
    """Return a state in words, with how much of a running one is done."""
    said = word(part.state, lang)
    percent = {"en": " %", "zh": "%"}[lang]
    return said if part.progress is None else f"{said} {part.progress * 100:.0f}{percent}"


def joined(parts: Iterable[str], lang: str) -> str:
    """Return words as one phrase."""
    return {"en": " ", "zh": ""}[lang].join(parts)


def word(key: str, lang: str) -> str:
    """Return one of `WORDS`."""
    return WORDS[key][LANGUAGES.index(lang)]
