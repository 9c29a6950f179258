"""The grid in the notebook's own form is its table, cell for cell; the lab's numbers fill it."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from cxrlab.exports import notebook as exported
from cxrlab.grid import Cell
from cxrlab.grid.cells import read_grid
from cxrlab.imports import notebook as imported
from cxrlab.settings import GridSettings
from store import intake, notebook, runs
from trainers.events import EventLog

TABLE = Path(__file__).with_name("notebook_table.html")
"""The table of the notebook that the form was made for, as it stands there."""

FACTS = "1. 分类数据集 -- NIH Chest X-Ray (14分类) [average acc]\n\n"


class Seen(NamedTuple):
    """One cell as a browser would show it."""

    colspan: int
    text: str


class Table(HTMLParser):
    """Reads the cells of a table, row by row, and their titles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.rows: list[list[Seen]] = []
        self.titles: dict[str, str] = {}
        self._texts: list[str] | None = None
        self._attributes: dict[str, str | None] = {}
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self._texts, self._attributes = [], dict(attrs)

    def handle_data(self, data: str) -> None:
        if self._texts is not None:
            self._texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        if tag == "td" and self._texts is not None:
            text = " ".join("".join(self._texts).split())
            self.rows[-1].append(Seen(int(self._attributes.get("colspan") or 1), text))
            if title := self._attributes.get("title"):
                self.titles[text] = title
            self._texts = None


@pytest.fixture
def brought_in(db: Any, tmp_path: Path) -> Any:
    """Bring in a notebook with this table and return the number of things that changed."""

    def bring(table: str) -> int:
        path = tmp_path / "notebook.md"
        path.write_text(FACTS + table, encoding="utf-8")
        done = imported.bring_in(db, imported.read(path))
        return done.new + done.changed

    return bring


def written(db: Any, settings: GridSettings | None = None, lang: str = "zh") -> str:
    shown = read_grid(db, exported.settings_for(settings or GridSettings()), lang)
    return exported.html_table(shown, lang=lang)


def test_a_notebook_that_was_brought_in_comes_out_as_it_was_cell_for_cell(
    db: Any, brought_in: Any
) -> None:
    original = TABLE.read_text(encoding="utf-8")
    brought_in(original)
    before, after = Table(original).rows, Table(written(db)).rows
    assert len(before) == len(after) == 8
    differences = [
        (row, place, there, here)
        for row, (old, new) in enumerate(zip(before, after, strict=True))
        for place, (there, here) in enumerate(zip(old, new, strict=True))
        if there != here
    ]
    assert differences == []


def test_what_was_written_is_read_again_as_the_same_and_written_the_same(
    db: Any, brought_in: Any
) -> None:
    brought_in(TABLE.read_text(encoding="utf-8"))
    once, numbers = written(db), notebook.numbers(db)
    assert brought_in(once) == 0
    assert [n._replace(line=0) for n in notebook.numbers(db)] == [
        n._replace(line=0) for n in numbers
    ]
    assert written(db) == once


def test_the_english_table_is_read_as_the_same_numbers(db: Any, brought_in: Any) -> None:
    brought_in(TABLE.read_text(encoding="utf-8"))
    english = written(db, lang="en")
    assert {"Classification (NIH Chest X-Ray)", "Pre-training time", "Status"} <= {
        seen.text for row in Table(english).rows for seen in row
    }
    assert brought_in(english) == 0


def test_what_is_wrong_with_a_number_is_told_where_it_stands(db: Any, brought_in: Any) -> None:
    brought_in(TABLE.read_text(encoding="utf-8"))
    titles = Table(written(db)).titles
    assert "has no unit" in titles["70.09 (72.1%)"]
    assert "average acc" in titles["79.2% (79.4%)"]
    assert "it is that of `mrm`" in titles["(79.4%)"]


@pytest.fixture
def finish(db: Any, new_run: Any) -> Any:
    """Let a run end well with some results."""

    def end(values: dict[str, float], seconds: float | None = None, **asked: Any) -> runs.Run:
        run = new_run(**asked)
        events = EventLog(Path(run.folder))
        told = {} if seconds is None else {"train_seconds": seconds}
        events.result(values=values, **told)
        events.end("succeeded")
        intake.take_in(db, run.id, Path(run.folder))
        runs.change_state(db, run.id, "succeeded")
        return run

    return end


def row_of(source: str, name: str) -> list[str]:
    return next(
        [seen.text for seen in row]
        for row in Table(source).rows
        if len(row) > 1 and row[1].text == name
    )


def test_the_labs_own_numbers_take_their_places_and_the_status_writes_itself(
    db: Any, brought_in: Any, finish: Any
) -> None:
    brought_in(TABLE.read_text(encoding="utf-8"))
    for seed, dice in enumerate((0.92, 0.93)):
        finish({"test/Dice": dice, "val/Dice": dice}, task="siim_legacy", ratio=100, seed=seed)
    trained = finish({"val/loss": 1.0}, seconds=222_600 + 3_600, recipe="p")
    shown = row_of(written(db), "mrm")
    assert shown[3] == "62(h)50(m)"
    assert shown[4] == str(Path(trained.folder) / "log.txt")
    assert shown[5] == "79.2% (79.4%)"
    assert shown[9] == "92.5±0.7% (91.4%)"
    assert shown[-1] == "预训练完成 分类完成 分割完成"
    assert row_of(written(db), "refers")[-1] == "预训练完成 分类完成"
    # a lab's own number stands beside the paper's, also where the notebook did not cite it
    finish({"test/AUROC": 0.5, "val/AUROC": 0.5}, task="nih", ratio=1, method="convirt")
    assert row_of(written(db), "convirt")[5:7] == ["50.0% (77.0%)", ""]


def test_a_lab_without_a_notebook_fills_the_same_form(db: Any, finish: Any) -> None:
    finish({"val/loss": 1.0}, seconds=61 * 3_600 + 50 * 60)
    rows = Table(written(db, GridSettings(("mrm", "refers_mrm", "random")))).rows
    assert [seen.text for seen in rows[3]][:5] == [
        "(1)", "mrm", "", "61(h)50(m)", rows[3][4].text,
    ]  # fmt: skip
    assert [seen.text for seen in rows[3]][5:10] == [
        "(79.4%)", "(84.0%)", "(85.9%)", "(73.2%)", "(91.4%)",
    ]  # fmt: skip
    assert rows[3][-1].text == "预训练完成 下游任务待验证"
    assert [row[1].text for row in rows[4:]] == ["refers(mrm)", "random"]
    assert [row[3].text for row in rows[4:]] == ["xx(h)xx(m)", "-"]
    assert [row[0].text for row in rows[3:]] == ["(1)", "(2)", "(3)"]


def test_further_columns_stand_in_blocks_of_their_own_and_are_read_again(
    db: Any, brought_in: Any, finish: Any
) -> None:
    words = ("notebook", "siim:1", "rsna:10", "covid")
    finish({"test/mAP": 0.321, "val/mAP": 0.3}, task="rsna", ratio=10)
    finish({"test/Dice": 0.654, "val/Dice": 0.6}, task="siim", ratio=1)
    source = written(db, GridSettings(("mrm",), words))
    heads = [(seen.colspan, seen.text) for seen in Table(source).rows[1] if seen.text]
    assert heads == [
        (3, "分类任务(NIH Chest X-Ray)"),
        (2, "分割任务(SIIM ACR Pneumothorax)"),
        (1, "|"),
        (9, "医疗报告补充实验"),
        (1, "|"),
        (1, "分割任务(siim Dice)"),
        (1, "检测任务(rsna mAP)"),
        (1, "分类任务(covid AUROC)"),
        (1, "|"),
    ]
    brought_in(source)
    told = {n.cell[1:]: n.value for n in notebook.numbers(db) if n.origin == "own"}
    assert told["rsna", 10, "mAP"] == 0.321
    assert told["siim", 1, "Dice"] == 0.654


def test_a_text_that_looks_like_markup_stays_text(db: Any) -> None:
    row = notebook.Row("mrm", "(1)", "<b>mrm</b>", "a & b", None, "", "<script>", "", "n.md", 1)
    notebook.bring_in(db, "n.md", [row], [])
    shown = written(db)
    assert "<b>" not in shown
    assert "<script>" not in shown
    assert row_of(shown, "<b>mrm</b>")[2] == "a & b"


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0(s)"), (59.0, "59(s)"), (14_100.0, "3(h)55(m)"), (222_629.0, "61(h)50(m)")],
)
def test_times_are_written_as_the_notebook_writes_them(seconds: float, said: str) -> None:
    cell = Cell(method="mrm", task="pretrain", ratio=None, metric="time", unit="s", value=seconds)
    assert exported.said(cell) == said
