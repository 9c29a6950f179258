"""The headings of a table say what its columns hold, or that nobody knows."""

from __future__ import annotations

import pytest

from cxrlab import columns
from cxrlab.imports.heads import Column, Head, metric_of, read_head, task_of
from cxrlab.imports.html_tables import Place
from trainers.catalog import TASKS


def head_of(*rows: list[str]) -> Head:
    head = read_head([[Place(text, 1) for text in row] for row in rows])
    assert head is not None
    return head


def test_a_column_is_known_by_its_heading_and_the_one_over_it() -> None:
    head = head_of(["", "分类任务(NIH Chest X-Ray)", "|", "医疗报告补充实验"],
                   ["方法", "10%(LR)", "|", "RG-L"])  # fmt: skip
    assert head.columns == {
        0: Column(fixed="name"),
        1: Column(task="nih", ratio=10, metric="AUROC"),
        3: Column(task="report", ratio=100, metric="ROUGE-L"),
    }
    assert (head.separators, head.width, head.rows, head.unread) == ({2}, 4, 2, {})


def test_a_heading_of_the_methods_that_reaches_down_is_one_heading() -> None:
    head = head_of(["Method", "NIH", "NIH"], ["Method", "1%", "100%"])
    assert head.rows == 2
    assert [column.ratio for column in head.columns.values()] == [0, 1, 100]


def test_the_notebooks_words_are_known_in_english_too() -> None:
    words = ["No.", "Method", "Description", "Pre-training time", "Pre-training log", "Status"]
    assert [c.fixed for c in head_of(words).columns.values()] == [
        "number", "name", "description", "time", "log", "status",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "task"),
    [
        ("分类任务(NIH Chest X-Ray)", "nih"),
        ("NIH分类", "nih"),
        ("ChestX-ray14", "nih"),
        ("分割任务(SIIM ACR Pneumothorax)", "siim_legacy"),
        ("检测任务(RSNA Pneumonia)", "rsna"),
        ("COVID-19", "covid"),
        ("Shenzhen lung segmentation", "shenzhen_lungs"),
        ("医疗报告补充实验", "report"),
        ("Report generation", "report"),
        ("finish time", ""),
        ("", ""),
    ],
)
def test_a_task_is_known_by_what_people_call_it(text: str, task: str) -> None:
    assert task_of(text) == task


@pytest.mark.parametrize("column", columns.of_tasks(TASKS)[2:], ids=lambda column: column.word)
def test_every_column_of_the_grid_is_known_by_its_own_heading(column: columns.Column) -> None:
    head = read_head([[Place("", 1), Place(column.heading()[0], 1)],
                      [Place("Method", 1), Place(column.heading()[1], 1)]])  # fmt: skip
    assert head is not None
    assert head.columns[1] == Column(task=column.task, ratio=column.ratio, metric=column.metric)


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_that_a_task_measures_is_known_by_its_name(task: str) -> None:
    for metric in columns.measured(task):
        head = head_of(["Method", f"{task} {metric} 10 %"])
        assert head.columns[1] == Column(task=task, ratio=10, metric=metric)


@pytest.mark.parametrize(
    ("above", "below", "task", "metric"),
    [
        ("检测任务(rsna mAP)", "AP50 10%(LR)", "rsna", "AP50"),
        ("检测任务(rsna mAP)", "10%(LR)", "rsna", "mAP"),
        ("分割任务(SIIM ACR Pneumothorax)", "Dice_unseen 10%(LR)", "siim_legacy", "Dice_unseen"),
        ("分割任务(siim Dice)", "10%(LR)", "siim", "Dice"),
        ("Classification (NIH Chest X-Ray)", "AUROC/Hernia 10%(LR)", "nih", "AUROC/Hernia"),
        ("分类任务(shenzhen AUROC)", "accuracy 10%(LR)", "shenzhen", "accuracy"),
        ("Report generation", "P_micro 10%", "report", "P_micro"),
    ],
)
def test_a_metric_by_its_own_name_is_not_taken_for_another(above, below, task, metric) -> None:
    head = head_of(["", above], ["方法", below])
    assert head.columns[1] == Column(task=task, ratio=10, metric=metric)


@pytest.mark.parametrize("task", TASKS)
def test_every_task_is_known_by_its_own_name_and_title(task: str) -> None:
    assert task_of(task) == task_of(TASKS[task].title) == task


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("BL-1", "BLEU-1"), ("BLEU-4", "BLEU-4"), ("BLEU 2", "BLEU-2"), ("MTR", "METEOR"),
        ("RG-L", "ROUGE-L"), ("P", "P"), ("R", "R"), ("F1", "F1"), ("AUC", "AUROC"),
        ("dice socre", "Dice"), ("average acc", "accuracy"), ("准确率", "accuracy"),
        ("10%(LR)", ""), ("process", ""), ("indices", ""), ("BL-5", ""),
    ],
)  # fmt: skip
def test_a_metric_is_known_by_what_people_call_it(text: str, metric: str) -> None:
    assert metric_of(text) == metric


def test_an_accuracy_is_read_as_auroc_and_the_flaw_is_kept() -> None:
    head = head_of(["方法", "NIH average acc 1%"])
    assert head.columns[1].metric == "AUROC"
    assert head.columns[1].flaws == (
        "the heading `NIH average acc 1%` calls the metric `accuracy`; read as AUROC, which the "
        "papers report",
    )


@pytest.mark.parametrize(
    ("heading", "reason"),
    [
        ("lucky number", "no task"),
        ("NIH", "percent of the labels"),
        ("NIH 0%", "percent of the labels"),
        ("NIH 10% Dice", "measured in AUROC"),
        ("report XYZ", "no metric of reports"),
    ],
)
def test_a_column_that_is_not_known_tells_why(heading: str, reason: str) -> None:
    head = head_of(["方法", heading])
    assert list(head.columns) == [0]
    assert reason in head.unread[1]


def test_a_column_without_a_heading_is_no_trouble() -> None:
    assert head_of(["方法", ""]).unread == {}


def test_a_table_of_something_else_has_no_head() -> None:
    assert read_head([[Place("a", 1), Place("b", 1)], []]) is None
