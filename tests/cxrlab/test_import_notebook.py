"""A lab notebook comes in whole, twice without harm, and what it does not say is not made up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.errors import BadInput, NotFound
from cxrlab.imports.notebook import Notebook, read
from cxrlab.lab import Lab
from store import notebook, notes

DESIGN = Path(__file__).parents[3] / "shared" / "design" / "notebook.md"

METRICS = ("BL-1", "BL-2", "BL-3", "BL-4", "MTR", "RG-L", "P", "R", "F1")
HEAD = ["序号", "方法", "描述", "预训练时间", "预训练日志", "1%(LR)", "10%(LR)", "100%(LR)",
        "10%(LR)", "100%(LR)", "|", *METRICS, "|", "实验状态"]  # fmt: skip
NOTHING = [""] * 9
LOG = "/workspace/log/temp"
ROWS = [
    ["(1)", "convirt", "", "xx(h)xx(m)", LOG, *[""] * 5, "|", *NOTHING, "|", "代码完成"],
    ["(3)", "mrm", "", "61(h)50(m)", LOG, "79.2% (79.4%)", "84.1% (84.0%)", "86.0% (85.9%)",
     "72.9% (73.2%)", "      (91.4%)", "|", *NOTHING, "|", "分割100%数据未验证"],
    ["(4)", "refers(mrm)", "", "3(h)55(m)", LOG, "76.6% (76.7%)", "80.7% (80.9%)",
     "83.8% (84.7%)", "70.09 (72.1%)", "(89.7%)", "|", *NOTHING, "|", "分割100%待验证"],
    ["(5)", "deep mrm", "", "xx(h)xx(m)", LOG, "(79.4%)", "(84.0%)", "(85.9%)", "(73.2%)",
     "(91.4%)", "|", *NOTHING, "|", ""],
]  # fmt: skip

PROSE = """03/08/2023 16:11

数据准备:
1. 分类数据集 -- NIH Chest X-Ray (14分类) [average acc]
2. 分割数据集 -- SIIM ACR Pneumothorax [dice socre]

正在进行中的实验:
* ✅ 在V3版数据下，MRM的预训练
* [] convirt的代码复现

03/20/2023 21:00

可能进行的改进:
* [] HOG or DINO

**执行代码**:
```shell
python -m torch.distributed.launch --nproc_per_node=1 pretrain.py \\
    --accum_iter 2 --batch_size 64 --model mrm --blr 3e-4 \\
```

**实验记录**:
"""


def tr(cells: list[str]) -> str:
    return "<tr>\n" + "".join(f"  <td> {cell} </td>\n" for cell in cells) + "</tr>\n"


def table(rows: list[list[str]], head: list[str] = HEAD) -> str:
    over = ["", "", "", "", "", "<td colspan='3'> 分类任务(NIH Chest X-Ray) </td>",
            "<td colspan='2'> 分割任务(SIIM ACR Pneumothorax) </td>", "|",
            "<td colspan='9'> 医疗报告补充实验 </td>", "|", ""]  # fmt: skip
    cells = "".join(cell if cell.startswith("<td") else f"<td> {cell} </td>" for cell in over)
    body = "".join(tr(row) for row in rows)
    return f"<table>\n<tr></tr>\n<tr>{cells}</tr>\n{tr(head)}{body}</table>\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "notebook.md"
    path.write_text(PROSE + table(ROWS), encoding="utf-8")
    return path


@pytest.fixture
def reading(tmp_path: Path) -> Any:
    """Read a table of rows, or a whole text."""

    def parse(given: str | list[list[str]], *, name: str = "n.md") -> Notebook:
        path = tmp_path / name
        path.write_text(given if isinstance(given, str) else table(given), encoding="utf-8")
        return read(path)

    return parse


def number_of(found: Notebook, method: str, task: str, ratio: int | None, origin: str = "own"):
    return next(
        n for n in found.numbers
        if (n.method, n.task, n.ratio, n.origin) == (method, task, ratio, origin)
    )  # fmt: skip


def bring(lab: Lab, file: Path, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), "import", "notebook",
                                        str(file), *words])  # fmt: skip


def told(lab: Lab, file: Path, *words: str) -> Any:
    result = bring(lab, file, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def changed(row: list[str], **cells: str) -> list[str]:
    """A row with the cells under some headings replaced; the first under each."""
    out = list(row)
    for heading, said in cells.items():
        out[HEAD.index(heading)] = said
    return out


# -- the table


def test_rows_are_the_catalogs_methods_with_all_their_texts(file: Path) -> None:
    rows = read(file).rows
    assert [(r.number, r.name, r.method) for r in rows] == [
        ("(1)", "convirt", "convirt"), ("(3)", "mrm", "mrm"),
        ("(4)", "refers(mrm)", "refers_mrm"), ("(5)", "deep mrm", "deep_mrm"),
    ]  # fmt: skip
    assert [(r.time_said, r.time_s) for r in rows[:2]] == [
        ("xx(h)xx(m)", None), ("61(h)50(m)", 222_600.0),
    ]  # fmt: skip
    assert (rows[1].status, rows[1].log) == ("分割100%数据未验证", LOG)


def test_own_numbers_and_papers_numbers_stand_in_their_cells(file: Path) -> None:
    found = read(file)
    assert number_of(found, "mrm", "nih", 1).value == 0.792
    assert number_of(found, "mrm", "nih", 1, "paper").value == 0.794
    assert number_of(found, "mrm", "siim_legacy", 100, "paper").said == "(91.4%)"
    assert number_of(found, "refers_mrm", "pretrain", None).value == 14_100
    assert {n.metric for n in found.numbers} == {"AUROC", "Dice", "time"}
    with pytest.raises(StopIteration):
        number_of(found, "mrm", "siim_legacy", 100)
    assert found.unread == []


def test_a_numbers_line_is_the_one_that_it_stands_on(file: Path) -> None:
    lines = file.read_text(encoding="utf-8").split("\n")
    for number in read(file).numbers:
        assert number.said in lines[number.line - 1]


def test_flaws_are_kept_with_the_numbers_that_have_them(file: Path) -> None:
    found = read(file)
    (unit,) = number_of(found, "refers_mrm", "siim_legacy", 10).flaws
    assert unit == "`70.09` has no unit; read as percent"
    (name,) = number_of(found, "mrm", "nih", 10).flaws
    assert (
        name
        == "the notebook calls the metric `average acc`; read as AUROC, which the papers report"
    )
    assert number_of(found, "mrm", "siim_legacy", 10).flaws == ()
    assert {row.flaws for row in found.rows} == {
        (f"all 4 rows name one log, `{LOG}`: a placeholder",)
    }


def test_what_a_cells_title_says_is_a_flaw_unless_it_is_known_already(reading: Any) -> None:
    text = table([changed(ROWS[2], 预训练日志="")])
    unit = "`70.09` has no unit; read as percent"
    for title, flaws in (
        (unit, (unit,)),
        ("one run only", (unit, "one run only")),
        (f"{unit}; a; b", (unit, "a; b")),
    ):
        marked = text.replace("<td> 70.09", f'<td title="{title}"> 70.09')
        found = reading(marked)
        assert number_of(found, "refers_mrm", "siim_legacy", 10).flaws == flaws
        assert number_of(found, "refers_mrm", "siim_legacy", 10, "paper").flaws == ()


def test_a_title_is_of_the_papers_number_where_that_stands_alone(reading: Any) -> None:
    text = table([ROWS[2]]).replace("<td> (89.7%)", '<td title="from a talk"> (89.7%)')
    assert number_of(reading(text), "refers_mrm", "siim_legacy", 100, "paper").flaws == (
        "from a talk",
    )


def test_a_papers_number_that_is_known_otherwise_is_told(file: Path) -> None:
    found = read(file)
    assert number_of(found, "mrm", "nih", 1, "paper").flaws == ()
    (flaw,) = number_of(found, "deep_mrm", "siim_legacy", 10, "paper").flaws
    assert "that of `mrm`" in flaw
    (flaw,) = number_of(found, "refers_mrm", "nih", 1, "paper").flaws
    assert "that of `refers`, and no paper's is known of `refers_mrm`" in flaw


def test_logs_that_differ_are_no_placeholder(reading: Any) -> None:
    rows = [changed(ROWS[0], 预训练日志="/a"), changed(ROWS[1], 预训练日志="/b")]
    assert all(row.flaws == () for row in reading(rows).rows)


def test_the_mean_is_read_of_a_number_with_its_spread(reading: Any) -> None:
    found = reading([changed(ROWS[1], **{"1%(LR)": "72.9±0.4% (73.2%)"})])
    assert number_of(found, "mrm", "nih", 1).value == 0.729
    assert number_of(found, "mrm", "nih", 1, "paper").value == 0.732


def test_report_metrics_are_read_under_their_short_names(reading: Any) -> None:
    row = list(ROWS[1])
    row[11:20] = [f"{n}.5%" for n in range(10, 19)]
    metrics = {n.metric: n.value for n in reading([row]).numbers if n.task == "report"}
    assert metrics == {
        "BLEU-1": 0.105, "BLEU-2": 0.115, "BLEU-3": 0.125, "BLEU-4": 0.135, "METEOR": 0.145,
        "ROUGE-L": 0.155, "P": 0.165, "R": 0.175, "F1": 0.185,
    }  # fmt: skip


def test_a_row_that_ends_early_is_read_as_far_as_it_goes_and_listed(reading: Any) -> None:
    found = reading([ROWS[1][:9], ROWS[2]])
    assert number_of(found, "mrm", "siim_legacy", 10).value == 0.729
    assert [u.reason for u in found.unread] == [
        "its row ends after 9 of 22 cells; the rest is empty"
    ]
    assert len(found.rows) == 2


@pytest.mark.parametrize("row", [ROWS[1][:6] + ROWS[1][7:], [*ROWS[1][:6], "1%", *ROWS[1][6:]]])
def test_a_row_that_lost_or_gained_a_cell_is_not_read_at_all(reading: Any, row: list[str]) -> None:
    found = reading([row, ROWS[2]])
    assert [r.method for r in found.rows] == ["refers_mrm"]
    assert all(n.method == "refers_mrm" for n in found.numbers)
    assert "dividing columns" in found.unread[0].reason


def test_cells_behind_the_last_column_are_listed(reading: Any) -> None:
    found = reading([[*ROWS[1], "", "stray"]])
    assert [(u.said, u.reason) for u in found.unread] == [
        ("stray", "a cell behind the last column")
    ]


def test_a_method_that_is_not_known_is_listed_with_the_nearest(reading: Any) -> None:
    found = reading([changed(ROWS[1], 方法="refer"), changed(ROWS[1], 方法="")])
    assert found.rows == []
    assert [u.reason for u in found.unread] == [
        "no method is called so; is it `refers`?", "a row that names no method",
    ]  # fmt: skip


def test_a_column_that_is_not_known_is_listed_and_the_others_are_read(reading: Any) -> None:
    head = [*HEAD[:-1], "lucky number"]
    found = reading(table([ROWS[1]], head))
    assert "no task is known" in found.unread[0].reason
    assert number_of(found, "mrm", "nih", 1).value == 0.792
    assert found.rows[0].status == ""


def test_a_cell_that_is_no_number_is_listed_with_its_line(reading: Any) -> None:
    found = reading([changed(ROWS[1], **{"1%(LR)": "running", "预训练时间": "long"})])
    assert [(u.said, u.line) for u in found.unread] == [("long", 32), ("running", 34)]
    assert number_of(found, "mrm", "nih", 10).value == 0.841


def test_a_second_row_of_a_method_is_listed_and_the_first_is_kept(reading: Any) -> None:
    found = reading([ROWS[1], changed(ROWS[1], **{"1%(LR)": "1.0%"})])
    assert number_of(found, "mrm", "nih", 1).value == 0.792
    assert "a second row of `mrm`" in found.unread[0].reason


def test_an_empty_row_and_a_heading_within_the_table_are_no_trouble(reading: Any) -> None:
    text = table([ROWS[1]]).replace("</table>", "<tr><td colspan='22'>baselines</td></tr></table>")
    assert reading(text).unread == []


def test_a_table_that_is_never_closed_is_read_and_listed(reading: Any) -> None:
    found = reading(table([ROWS[1]]).replace("</table>", "\n* [] later"))
    assert len(found.rows) == 1
    assert "never closed" in found.unread[0].reason
    assert [entry.text for entry in found.entries] == ["later"]


def test_a_table_of_something_else_is_listed(reading: Any) -> None:
    found = reading("<table><tr><td>a</td></tr></table>\n")
    assert "no column" in found.unread[0].reason


def test_a_table_within_code_is_no_table(reading: Any) -> None:
    found = reading(f"* one\n```html\n{table([ROWS[1]])}```\n")
    assert (found.rows, found.numbers) == ([], [])


# -- files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_change_nothing(tmp_path, file, encoding, newline) -> None:
    path = tmp_path / "other" / "notebook.md"
    path.parent.mkdir()
    with path.open("w", encoding=encoding, newline=newline) as out:
        out.write(file.read_text(encoding="utf-8"))
    assert read(path)._replace(told=[]) == read(file)._replace(told=[])


def test_a_page_of_html_gives_its_table_and_no_prose(reading: Any) -> None:
    page = f"<!doctype html>\n<html><body><p>* words</p>\n{table(ROWS)}</body></html>"
    found = reading(page, name="grid.html")
    assert (len(found.rows), found.entries, found.unread) == (4, [], [])


def test_a_missing_file_and_a_file_of_nothing_are_two_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no file"):
        read(tmp_path / "none.md")
    (tmp_path / "words.md").write_text("only words\n")
    with pytest.raises(BadInput, match="neither a table nor a list"):
        read(tmp_path / "words.md")
    (tmp_path / "empty.md").write_bytes(b"")
    with pytest.raises(BadInput, match="neither a table nor a list"):
        read(tmp_path / "empty.md")
    (tmp_path / "picture.md").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
    with pytest.raises(BadInput, match=r"no text|neither"):
        read(tmp_path / "picture.md")
    with pytest.raises(BadInput, match="is a folder"):
        read(tmp_path)


# -- the command


def test_the_summary_counts_what_came_in(lab: Lab, file: Path) -> None:
    first, second = told(lab, file), told(lab, file)
    everything = len(first["rows"]) + len(first["numbers"]) + len(first["entries"])
    assert (first["new"], first["changed"], first["unchanged"]) == (everything, 0, 0)
    assert (second["new"], second["changed"], second["unchanged"]) == (0, 0, everything)
    assert first["launch_lines"][0]["effective_batch"] == 128


def test_what_was_read_stands_in_the_registry(lab: Lab, db: Any, file: Path) -> None:
    told(lab, file)
    found = read(file)
    assert notebook.rows(db) == found.rows
    assert notebook.numbers(db) == found.numbers
    assert sorted(e.text for e in notes.select(db)) == sorted(e.text for e in found.entries)


def test_a_dry_run_tells_the_same_and_writes_nothing(lab: Lab, db: Any, file: Path) -> None:
    dry = told(lab, file, "--dry-run")
    assert (notebook.rows(db), notebook.numbers(db), notes.select(db)) == ([], [], [])
    assert dry | {"dry_run": False} == told(lab, file)


def test_a_corrected_notebook_changes_only_what_it_corrects(lab: Lab, db: Any, file: Path) -> None:
    told(lab, file)
    done = next(entry for entry in notes.select(db) if entry.text == "convirt的代码复现")
    notes.change_state(db, done.id, "done")
    text = file.read_text(encoding="utf-8").replace("70.09 (72.1%)", "71.09% (72.1%)")
    file.write_text("\n" + text + "\n* [] new point\n", encoding="utf-8")
    again = told(lab, file)
    # the number, and the paper's beside it, whose cell is written otherwise
    assert (again["new"], again["changed"], again["kept"]) == (1, 2, 1)
    assert notes.get(db, done.id).state == "done"


def test_a_source_of_another_name_is_another_notebook(lab: Lab, file: Path) -> None:
    told(lab, file)
    assert told(lab, file, "--source", "march")["unchanged"] == 0


def test_the_page_tells_counts_launch_line_flaws_and_what_is_unread(lab: Lab, file: Path) -> None:
    with file.open("a", encoding="utf-8") as out:
        out.write("\n| a |\n")
    shown = " ".join(bring(lab, file).stdout.split())
    for said in (
        "4 rows, 10 own numbers, 15 paper numbers",
        "effective batch 128 = 64 x 2 accumulated x 1 process",
        "`70.09` has no unit; read as percent",
        "a placeholder",
        "`siim_legacy`, MRM's lists",
        "a table of pipes",
    ):
        assert said in shown


def test_nothing_in_a_notebook_acts_on_the_terminal(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "evil.md"
    path.write_text("* one\n\n<b>\x1b]0;title\x07\x1b[2J[red]</b>\n", encoding="utf-8")
    shown = bring(lab, path).stdout
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert "[red]" in shown


def test_errors_are_two_lines_with_the_contracts_exit_codes(lab: Lab, tmp_path: Path) -> None:
    missing = bring(lab, tmp_path / "none.md")
    assert (missing.exit_code, missing.stderr.startswith("error: there is no file")) == (3, True)
    (tmp_path / "words.md").write_text("words")
    nothing = bring(lab, tmp_path / "words.md")
    assert (nothing.exit_code, nothing.stderr.count("\n")) == (4, 2)


# -- the lab's own notebook


@pytest.mark.skipif(not DESIGN.exists(), reason="needs the notebook that this was made for")
def test_the_notebook_that_this_was_made_for_is_read_whole() -> None:
    found = read(DESIGN)
    assert found.unread == []
    assert [row.method for row in found.rows] == [
        "convirt", "refers", "mrm", "refers_mrm", "deep_mrm",
    ]  # fmt: skip
    own = [n for n in found.numbers if n.origin == "own"]
    assert (len(own), len(found.numbers) - len(own)) == (14, 18)
    assert [e.state for e in found.entries if e.kind == "todo"] == ["done", "open", "open", "open"]
    assert [e.state for e in found.entries if e.kind == "idea"] == ["open", "open", "endorsed"]
    assert [launch.read.effective_batch for launch in found.launches] == [128]
