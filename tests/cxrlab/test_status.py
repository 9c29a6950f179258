"""The status column writes itself from the cells of a row."""

from __future__ import annotations

import pytest

from cxrlab.grid import Cell, status


def cell(place: str, state: str = "succeeded", progress: float | None = None) -> Cell:
    """`nih:10` as a cell in some state; `AUROC` and `Dice` do not matter here."""
    task, _, ratio = place.partition(":")
    return Cell(
        method="mrm",
        task=task,
        ratio=int(ratio) if ratio else None,
        metric="x",
        value=0.5 if state in ("succeeded", "stale", "foreign") else None,
        state=state,
        stale="replaced" if state == "stale" else "",
        progress=progress,
    )


def row(**states: str) -> list[Cell]:
    """The notebook's row: pre-training, NIH at three shares, SIIM at two, reports."""
    places = {
        "pre": "pretrain",
        "nih1": "nih:1",
        "nih10": "nih:10",
        "nih100": "nih:100",
        "siim10": "siim_legacy:10",
        "siim100": "siim_legacy:100",
        "report": "report:100",
    }
    return [cell(place, states.get(key, "empty")) for key, place in places.items()]


NIH = dict.fromkeys(("nih1", "nih10", "nih100"), "succeeded")


def test_the_notebooks_own_words_come_out() -> None:
    cells = row(pre="succeeded", siim10="succeeded", **NIH)
    assert status.status(cells, "zh") == "预训练完成 分类完成 分割100%待验证"
    said = "pre-training done, classification done, segmentation 100 % to be verified"
    assert status.status(cells) == said
    assert status.status(row(pre="foreign", **NIH), "zh") == "预训练完成 分类完成"


@pytest.mark.parametrize(
    ("states", "english", "chinese"),
    [
        ({}, "not started", "未开始"),
        ({"pre": "queued"}, "pre-training queued", "预训练排队"),
        ({"pre": "failed"}, "pre-training failed", "预训练失败"),
        ({"pre": "stopped"}, "pre-training stopped", "预训练已停止"),
        ({"pre": "lost"}, "pre-training lost", "预训练中断"),
        (
            {"pre": "succeeded"},
            "pre-training done, downstream tasks to be verified",
            "预训练完成 下游任务待验证",
        ),
        (
            {"pre": "running", "siim10": "blocked", "siim100": "blocked"},
            "pre-training running, segmentation waiting for others",
            "预训练进行中 分割等待",
        ),
        (
            {"pre": "succeeded", "nih1": "queued", "nih10": "queued", "nih100": "failed"},
            "pre-training done, classification 1 % 10 % queued, classification 100 % failed",
            "预训练完成 分类1% 10%排队 分类100%失败",
        ),
        (
            {"pre": "succeeded", "siim10": "stale", "siim100": "succeeded"},
            "pre-training done, segmentation 10 % stale",
            "预训练完成 分割10%已过期",
        ),
        (
            {"report": "succeeded"},
            "pre-training not started, report generation done",
            "预训练未开始 报告生成完成",
        ),
    ],
)
def test_what_is_not_done_is_said_by_share_and_state(
    states: dict[str, str], english: str, chinese: str
) -> None:
    assert status.status(row(**states)) == english
    assert status.status(row(**states), "zh") == chinese


def test_a_running_one_says_how_far_it_is() -> None:
    cells = [cell("pretrain"), cell("siim:10", "running", 0.43), cell("siim:100")]
    assert status.status(cells) == "pre-training done, segmentation 10 % running 43 %"
    assert status.status(cells, "zh") == "预训练完成 分割10%进行中 43%"


def test_several_tasks_of_one_kind_are_named() -> None:
    cells = [cell("nih:1"), cell("covid:100", "failed"), cell("shenzhen:100", "empty")]
    said = "classification covid 100 % failed, classification shenzhen 100 % to be verified"
    assert status.status(cells) == said


def test_several_metrics_of_one_run_are_spoken_of_once() -> None:
    cells = [cell("report:100"), cell("report:100", "empty"), cell("report:100")]
    assert status.status(cells) == "report generation done"


def test_a_baseline_has_no_pre_training_to_speak_of() -> None:
    assert status.status([cell("pretrain", "none"), cell("nih:1")]) == "classification done"
    assert status.status([cell("pretrain", "none")]) == ""
