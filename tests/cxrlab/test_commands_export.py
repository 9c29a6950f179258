from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from openpyxl import load_workbook
from typer.testing import CliRunner, Result

from cxrlab import cli
from cxrlab.commands import export
from cxrlab.exports import forms, words
from cxrlab.lab import Lab, make_lab
from store import notebook
from store.notebook import Number

OWN = Number("mrm", "siim", 10, "Dice", "own", 0.729, "72.9%", "notebook.md", 7)


@pytest.fixture
def told(lab: Lab, db: Any) -> Lab:
    """A lab with a number to show."""
    notebook.bring_in(db, "notebook.md", [], [OWN])
    return lab


def invoke(lab: Lab, *args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), *args])
    assert result.exit_code == code, result.stderr
    return result


STARTS = {"markdown": "| method", "html": "<!DOCTYPE html>", "latex": "% needs", "csv": "method,",
          "json": "{"}  # fmt: skip


@pytest.mark.parametrize("form", STARTS)
def test_each_text_is_printed_and_written_alike(told: Lab, form: str, tmp_path: Path) -> None:
    printed = invoke(told, "export", "--format", form).stdout
    assert printed.startswith(STARTS[form])
    assert "72.9" in printed
    file = tmp_path / "grid"
    invoke(told, "export", "--format", form, "--out", str(file))
    assert file.read_text() == printed
    assert (
        "has this very grid" in invoke(told, "export", "--format", form, "--out", str(file)).stderr
    )


def test_every_form_can_be_asked_for_in_every_language() -> None:
    assert list(export.Named) == list(forms.Form)
    assert tuple(export.Language) == words.LANGUAGES


def test_a_workbook_is_written_to_a_file_only(told: Lab, tmp_path: Path) -> None:
    file = tmp_path / "grid.xlsx"
    invoke(told, "export", "--format", "xlsx", "--out", str(file))
    assert load_workbook(file).sheetnames == ["grid", "cells", "notes"]
    assert "--out grid.xlsx" in invoke(told, "export", "--format", "xlsx", code=2).stderr


@pytest.mark.parametrize(
    ("form", "begin", "end"),
    [
        ("markdown", "<!-- cxrlab:grid -->", "<!-- /cxrlab:grid -->"),
        ("html", "<!-- cxrlab:grid -->", "<!-- /cxrlab:grid -->"),
        ("latex", "% cxrlab:grid", "% /cxrlab:grid"),
    ],
)
def test_it_stands_between_its_markers(
    told: Lab, form: str, begin: str, end: str, tmp_path: Path
) -> None:
    file = tmp_path / "mine"
    file.write_text(f"before\n{begin}\n{end}\nafter\n")
    invoke(told, "export", "--format", form, "--into", str(file))
    text = file.read_text()
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "72.9" in text
    assert "<html" not in text


def test_a_file_without_markers_is_told_which_to_put(told: Lab, tmp_path: Path) -> None:
    file = tmp_path / "mine.tex"
    file.write_text("x\n")
    said = invoke(told, "export", "--format", "latex", "--into", str(file), code=4).stderr
    assert "put `% cxrlab:grid` and `% /cxrlab:grid`" in said
    assert file.read_text() == "x\n"


@pytest.mark.parametrize(
    "words",
    [
        ("--format", "csv", "--into", "x"),
        ("--into", "x", "--out", "y"),
        ("--style", "notebook", "--format", "csv"),
        ("--columns", "siim:10:AUROC"),
    ],
)
def test_what_does_not_go_together_is_refused(told: Lab, words: tuple[str, ...]) -> None:
    invoke(told, "export", *words, code=2)


def test_the_language_is_the_labs_unless_another_is_asked_for(told: Lab) -> None:
    settings = told.settings_file.read_text()
    told.settings_file.write_text(f'language = "zh"\n{settings}')
    lab = make_lab(told.root)
    assert invoke(lab, "export").stdout.startswith("| 方法")
    assert invoke(lab, "export", "--lang", "en").stdout.startswith("| method")


def test_rows_and_columns_are_those_asked_for(told: Lab) -> None:
    printed = invoke(
        told, "export", "--format", "json", "--method", "mrm", "--columns", "number,siim:10"
    ).stdout
    document = json.loads(printed)
    assert [row["method"] for row in document["rows"]] == ["mrm"]
    assert [(c["task"], c["ratio"]) for c in document["cells"]] == [("siim", 10)]
    assert document["rows"][0]["number"] == "(1)"


def test_the_notebooks_style_is_its_table_in_html(told: Lab) -> None:
    printed = invoke(told, "export", "--style", "notebook", "--lang", "zh").stdout
    assert printed.startswith("<table")
    assert "分类任务(NIH Chest X-Ray)" in printed
    assert "No." in invoke(told, "export", "--style", "notebook", "--lang", "en").stdout


def test_json_tells_the_text_and_what_became_of_the_file(told: Lab, tmp_path: Path) -> None:
    file = tmp_path / "g.csv"
    words = ("export", "--format", "csv", "--out", str(file), "--json")
    facts = json.loads(invoke(told, *words).stdout)
    assert facts == {
        "format": "csv", "lang": "en", "text": file.read_text(), "file": str(file), "changed": True,
    }  # fmt: skip
    assert json.loads(invoke(told, *words).stdout)["changed"] is False


def test_chinese_csv_begins_with_what_spreadsheets_tell_utf8_by(told: Lab, tmp_path: Path) -> None:
    file = tmp_path / "g.csv"
    invoke(told, "export", "--format", "csv", "--lang", "zh", "--out", str(file))
    assert file.read_bytes().startswith(b"\xef\xbb\xbfmethod,")
    printed = invoke(told, "export", "--format", "csv", "--lang", "zh").stdout
    assert printed.startswith("method,")


def test_a_table_of_another_lab_is_brought_in_once(told: Lab, tmp_path: Path) -> None:
    file = tmp_path / "theirs.csv"
    invoke(told, "export", "--format", "csv", "--out", str(file))
    other = make_lab(tmp_path / "other")
    said = invoke(other, "import", "table", str(file))
    assert "1 number" in said.stdout
    [cell] = [c for c in json.loads(invoke(other, "grid", "--json").stdout) if c["value"]]
    assert (cell["value"], cell["state"], cell["foreign"]) == (0.729, "foreign", True)
    assert "nothing changed" in invoke(other, "import", "table", str(file)).stderr
    facts = json.loads(invoke(other, "import", "table", str(file), "--json").stdout)
    assert (facts["source"], facts["numbers"], facts["new"]) == ("theirs.csv", 1, 0)
    invoke(other, "import", "table", str(tmp_path / "none.csv"), code=3)
