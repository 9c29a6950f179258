"""Which columns and rows a lab chooses, by its settings and on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, columns, lab
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.exports import facts
from cxrlab.exports.layout import arranged
from cxrlab.exports.markdown import markdown
from cxrlab.exports.plain import page
from cxrlab.grid import remarks
from cxrlab.grid.cells import grid_settings, read_grid
from cxrlab.settings import GridSettings
from store import intake, runs
from trainers import catalog, metrics
from trainers.events import EventLog


def words(*asked: str) -> list[str]:
    return [column.word for column in columns.chosen(asked).columns]


def test_a_word_asks_for_a_task_a_ratio_a_metric_or_all_three() -> None:
    first = ["pretrain:time", "pretrain:loss"]
    assert words("siim") == [*first, "siim:10:Dice", "siim:100:Dice"]
    assert words("siim:1") == [*first, "siim:1:Dice"]
    assert words("report:BLEU-1") == [*first, "report:100:BLEU-1"]
    assert words("rsna:10:AP50") == [*first, "rsna:10:AP50"]
    assert words("nih:1:AUROC/Hernia") == [*first, "nih:1:AUROC/Hernia"]


def test_a_column_asked_for_twice_stands_once_and_where_it_was_first() -> None:
    assert words("pretrain:time", "siim:100", "siim") == [
        "pretrain:time",
        "siim:100:Dice",
        "siim:10:Dice",
    ]


def test_the_notebooks_columns_are_exactly_its_own() -> None:
    chosen = columns.chosen(["notebook"])
    assert chosen.fields == ("number", "description", "log", "status")
    measured = [(column.task, column.ratio, column.metric) for column in chosen.columns]
    assert measured == [
        ("pretrain", None, "time"),
        *(("nih", ratio, "AUROC") for ratio in (1, 10, 100)),
        *(("siim_legacy", ratio, "Dice") for ratio in (10, 100)),
        *(("report", 100, f"BLEU-{n}") for n in (1, 2, 3, 4)),
        *(("report", 100, metric) for metric in ("METEOR", "ROUGE-L", "P", "R", "F1")),
    ]


def test_the_notebook_and_further_columns_go_together() -> None:
    chosen = columns.chosen(["notebook", "rsna:10", "covid"])
    assert [column.word for column in chosen.columns[-2:]] == ["rsna:10:mAP", "covid:100:AUROC"]


@pytest.mark.parametrize("task", [*catalog.TASKS, catalog.PRETRAIN])
def test_every_metric_that_a_task_can_show_has_a_meaning_and_a_better_end(task: str) -> None:
    assert columns.kind_of(task)
    for metric in columns.measured(task):
        known = metrics.find(metric)
        assert known is not None
        assert known.better in ("higher", "lower")
    if task != catalog.PRETRAIN:
        assert catalog.TASKS[task].metric in columns.measured(task)


@pytest.mark.parametrize(
    ("word", "error", "told"),
    [
        ("sim", NotFound, "siim"),
        ("noteboook", NotFound, "notebook"),
        ("mrm", NotFound, "methods"),
        ("siim:0", Usage, "1 to 100"),
        ("siim:101", Usage, "1 to 100"),
        ("siim:-3", Usage, "1 to 100"),
        ("siim:10:", Usage, "siim:10:Dice"),
        ("siim:Dise", Usage, "Dice"),
        ("nih:Dice", Usage, "AUROC"),
        ("siim:AUROC", Usage, "Dice"),
        ("siim:Dice_nothing", Usage, "how to read another number"),
        ("pretrain:10", Usage, "no column"),
        ("siim:10:Dice:x", Usage, "siim:10:Dice"),
    ],
)
def test_a_word_that_asks_for_nothing_is_refused_and_the_nearest_is_named(
    word: str, error: type[CxrlabError], told: str
) -> None:
    with pytest.raises(error) as refused:
        columns.chosen([word])
    assert told in f"{refused.value.message} {refused.value.hint}"


SETTINGS = """\
[grid]
methods = ["deep_mrm", "ours", "baselines"]
columns = ["number", "cheap", "report:BLEU-1"]

[grid.groups]
baselines = ["random", "imagenet"]
ours = ["mrm", "refers_mrm"]
cheap = ["siim:10", "covid"]
"""


@pytest.fixture
def settings(lab: lab.Lab) -> Callable[[str], GridSettings]:
    def write(source: str) -> GridSettings:
        lab.settings_file.write_text(source)
        return read(lab.settings_file).grid

    return write


read = lab.read_settings


def test_groups_of_a_lab_stand_for_rows_and_for_columns(settings: Any, db: Any) -> None:
    shown = read_grid(db, settings(SETTINGS))
    assert [(row.method, row.group) for row in shown.rows] == [
        ("deep_mrm", ""),
        ("mrm", "ours"),
        ("refers_mrm", "ours"),
        ("random", "baselines"),
        ("imagenet", "baselines"),
    ]
    assert [(column.word, column.group) for column in shown.columns] == [
        ("siim:10:Dice", "cheap"),
        ("covid:100:AUROC", "cheap"),
        ("report:100:BLEU-1", ""),
    ]
    assert shown.fields == ("number",)
    lines = page(shown, columns=200)
    assert [line.split()[0] for line in lines[2:9]] == [
        "deep_mrm", "ours", "mrm", "refers_mrm", "baselines", "random", "imagenet",
    ]  # fmt: skip


def test_a_set_of_columns_may_be_named_alone(settings: Any) -> None:
    assert settings('[grid]\ncolumns = "notebook"\n').columns == ("notebook",)


@pytest.mark.parametrize(
    ("source", "line", "told"),
    [
        ('[grid]\ncolumns = "notebok"\n', 2, "grid.columns"),
        ('[grid]\ncolumns = ["nih:Dice"]\n', 2, "AUROC"),
        ('[grid]\nmethods = ["all"]\n', 2, "no method is called `all`"),
        ('[grid]\nmethods = ["x"]\n[grid.groups]\nx = ["siim"]\n', 2, "no method"),
        ('[grid]\ncolumns = ["x"]\n[grid.groups]\nx = ["mrm"]\n', 2, "is a method"),
        ('[grid.groups]\nsiim = ["mrm"]\n', 2, "something else"),
        ("[grid.groups]\nx = []\n", 2, "empty"),
        ('[grid.groups]\nx = ["mrm", "mrn"]\n', 2, "did you mean `mrm`"),
    ],
)
def test_settings_that_cannot_be_shown_are_named_with_their_line(
    settings: Any, lab: lab.Lab, source: str, line: int, told: str
) -> None:
    with pytest.raises(Usage) as refused:
        settings(source)
    assert f"{lab.settings_file}:{line}: " in refused.value.message
    assert told in f"{refused.value.message} {refused.value.hint}"


def test_a_command_line_chooses_columns_in_place_of_the_settings() -> None:
    before = GridSettings(("mrm",), ("siim",), {"cheap": ("covid",)})
    after = grid_settings(before, None, ["cheap,nih:1", "status"])
    assert (after.methods, after.columns) == (("mrm",), ("cheap", "nih:1", "status"))
    assert after.groups == before.groups
    with pytest.raises(NotFound):
        grid_settings(before, ["mrn"], None)


def test_several_metrics_of_one_run_stand_in_columns_of_their_own(db: Any, new_run: Any) -> None:
    run = new_run(task="report", ratio=100)
    events = EventLog(Path(run.folder))
    events.result(values={"test/BLEU-1": 0.4, "test/BLEU-4": 0.1, "val/BLEU-4": 0.1})
    intake.take_in(db, run.id, Path(run.folder))
    runs.change_state(db, run.id, "succeeded")
    asked = GridSettings(("mrm",), ("report:BLEU-1", "report:BLEU-4", "report:F1"))
    cells = read_grid(db, asked).rows[0].cells[2:]
    assert [(cell.metric, cell.value) for cell in cells] == [
        ("BLEU-1", 0.4),
        ("BLEU-4", 0.1),
        ("F1", None),
    ]


def test_the_grid_command_prints_the_notebooks_columns(lab: lab.Lab) -> None:
    def cxrlab(*words: str) -> Any:
        return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])

    told = json.loads(cxrlab("grid", "--columns", "notebook", "--json").stdout)
    assert len({(cell["task"], cell["ratio"], cell["metric"]) for cell in told}) == 15
    printed = cxrlab("grid", "--columns", "notebook").stdout
    for word in ("number", "description", "log", "status", "METEOR"):
        assert word in printed


@pytest.mark.parametrize(("split", "comparable"), [("MRM's lists", True), ("official", False)])
def test_a_number_on_another_division_than_its_papers_says_so(
    lab: lab.Lab, db: Any, new_run: Any, split: str, comparable: bool
) -> None:
    run = new_run(method="mrm", task="nih", ratio=1)
    log = EventLog(Path(run.folder))
    log.start(0, total_steps=1)
    log.result(values={"test/AUROC": 0.8}, data={"split": split})
    log.end("succeeded")
    log.close()
    intake.take_in(db, run.id, Path(run.folder))
    runs.change_state(db, run.id, "succeeded")
    shown = read_grid(db, GridSettings(("mrm",), ("nih:1",)))
    (cell,) = [cell for cell in shown.cells() if cell.task == "nih"]
    assert (cell.value, cell.paper) == (0.8, 0.794)
    assert facts.of_cell(cell)["paper_comparable"] is comparable
    told = [note for note in remarks.notes(shown) if "not comparable with the paper" in note]
    assert bool(told) is not comparable
    assert ("on the division `official`" in markdown(arranged(shown, "en"))) is not comparable
    assert all("`official`: mrm nih 1 %" in note for note in told)
