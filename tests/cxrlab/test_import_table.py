from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cxrlab import columns, grid
from cxrlab.errors import BadInput, CxrlabError, NotFound
from cxrlab.exports import forms
from cxrlab.exports.layout import arranged
from cxrlab.exports.words import Lang
from cxrlab.grid.published import Paper
from cxrlab.imports import table
from cxrlab.tabular import parted, text_of, written
from store import notebook
from store.cells import Group
from store.db import open_store
from store.notebook import Number
from trainers.catalog import METHODS

COLUMNS = columns.chosen(["pretrain", "nih", "siim", "report:BLEU-1", "report:F1"]).columns
NAMES = ("mrm", "refers", "deep_mrm+hog")
FORMS = [forms.Form.csv, forms.Form.json]

share = st.floats(0, 1)
seconds = st.floats(0, 1e7)


@st.composite
def groups(draw: st.DrawFn) -> list[Group]:
    """Finished runs of some cells, with any spread that runs can have."""
    made = []
    for method in NAMES:
        for column in COLUMNS:
            if not draw(st.booleans()):
                continue
            number = share if column.unit == "share" else seconds
            n = draw(st.integers(1, 5))
            ends = draw(st.one_of(st.none(), st.tuples(number, number)))
            made.append(
                Group(
                    method,
                    column.task,
                    column.ratio,
                    column.metric,
                    "r",
                    "paper",
                    draw(number),
                    draw(number) if n > 1 else None,
                    n,
                    ends and ends[0],
                    ends and ends[1],
                    ("a",),
                    1.0,
                )
            )
    return made


@st.composite
def papers(draw: st.DrawFn) -> dict[grid.Place, Paper]:
    """Papers' numbers for some cells, whose sources may be any text of one line."""
    shares = [column for column in COLUMNS if column.unit == "share"]
    line = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12)
    return {
        (method, column.task, column.ratio, column.metric): Paper(draw(share), draw(line))
        for method in NAMES
        for column in shares
        if draw(st.booleans())
    }


def built(groups: Any = (), published: Any = None, numbers: Any = ()) -> grid.Grid:
    methods = {name: METHODS[name] for name in NAMES}
    return grid.build(methods, COLUMNS, groups, [], published=published or {}, notebook=numbers)


def facts(made: grid.Grid) -> list[tuple[Any, ...]]:
    """Return what has to be the same again of every cell."""
    return [
        (c.method, c.task, c.ratio, c.metric, c.value, c.sd, c.n, c.low, c.high, c.paper,
         c.paper_source)
        for c in made.cells()
    ]  # fmt: skip


def exported(made: grid.Grid, form: forms.Form, path: Path, lang: Lang = "en") -> Path:
    path.write_bytes(forms.write(arranged(made, lang), form).content)
    return path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exported")


@pytest.mark.parametrize("form", FORMS)
@given(groups=groups(), published=papers(), lang=st.sampled_from(["en", "zh"]))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_exported_read_and_exported_again_is_the_same(
    place: Path, form: forms.Form, groups: Any, published: Any, lang: Lang
) -> None:
    first = built(groups, published)
    db = open_store(place / f"{form}.db")
    table.bring_in(db, table.read(exported(first, form, place / f"grid.{form}", lang)))
    second = built(numbers=notebook.numbers(db))
    assert facts(second) == facts(first)
    again = table.read(exported(second, form, place / f"grid.{form}", lang))
    assert table.bring_in(db, again) == (0, 0)
    assert facts(built(numbers=notebook.numbers(db))) == facts(first)
    db.conn.close()


@given(
    st.one_of(
        st.text(st.characters(exclude_characters="\r"), max_size=20),
        st.floats(allow_nan=False),
        st.integers(),
    )
)
def test_a_value_comes_back_from_a_cell_of_csv_and_no_text_is_a_formula(value: Any) -> None:
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(["x", written(value)])
    [[_, cell]] = csv.reader(io.StringIO(out.getvalue(), newline=""))
    if isinstance(value, str):
        assert text_of(cell) == value
        assert cell[:1] not in ("=", "+", "-", "@")
    else:
        assert type(value)(cell) == value


@given(st.lists(st.text("ab/; ", min_size=1), max_size=3))
def test_texts_of_a_list_come_back_from_one_cell(texts: list[str]) -> None:
    assert parted(text_of(written(texts))) == texts


GROUP = Group("mrm", "siim", 10, "Dice", "r", "paper", 0.73, 0.004, 3, 0.7, 0.75, ("a",), 1.0)


def test_what_is_brought_in_is_foreign_and_tells_where_it_comes_from(db: Any, place: Path) -> None:
    read = table.read(exported(built([GROUP]), forms.Form.csv, place / "theirs.csv"))
    assert table.bring_in(db, read) == (1, 0)
    made = built(numbers=notebook.numbers(db))
    cell = next(cell for cell in made.cells() if cell.value is not None)
    assert (cell.state, cell.foreign, cell.value, cell.sd, cell.n) == (
        "foreign", True, 0.73, 0.004, 3,
    )  # fmt: skip
    assert "theirs.csv" in arranged(made, "en").footnotes[0]


def test_the_labs_own_number_stands_before_one_that_was_brought_in(place: Path) -> None:
    theirs = table.read(exported(built([GROUP]), forms.Form.json, place / "theirs.json"))
    ours = GROUP._replace(mean=0.6)
    made = built([ours], numbers=theirs.numbers)
    assert [c.value for c in made.cells() if c.value is not None] == [0.6]


def test_a_cell_that_is_gone_from_the_table_is_gone_here(db: Any, place: Path) -> None:
    other = GROUP._replace(method="refers")
    path = exported(built([GROUP, other]), forms.Form.csv, place / "t.csv")
    assert table.bring_in(db, table.read(path)) == (2, 0)
    exported(built([GROUP]), forms.Form.csv, path)
    assert table.bring_in(db, table.read(path)) == (0, 1)
    assert [number.method for number in notebook.numbers(db)] == ["mrm"]


def test_what_another_lab_marked_is_known_of_its_number(place: Path) -> None:
    quick = GROUP._replace(preset="quick")
    read = table.read(exported(built([quick]), forms.Form.json, place / "t.json"))
    assert read.numbers[0].flaws == ("made with preset `quick`, toy sizes",)


def test_the_cells_that_grid_prints_as_json_are_read_too(place: Path) -> None:
    document = forms.write(arranged(built([GROUP]), "en"), forms.Form.json).content
    path = place / "cells.json"
    path.write_text(json.dumps(json.loads(document)["cells"]))
    assert [number.value for number in table.read(path).numbers] == [0.73]


def test_a_notebook_of_the_same_name_is_not_overwritten(db: Any, place: Path) -> None:
    row = notebook.Row("mrm", "(1)", "mrm", "", None, "", "", "", "t.csv", 1)
    notebook.bring_in(db, "t.csv", [row], [])
    path = exported(built([GROUP]), forms.Form.csv, place / "t.csv")
    with pytest.raises(BadInput, match="notebook"):
        table.bring_in(db, table.read(path))
    assert notebook.rows(db) == [row]


HEAD = "method,task,ratio,metric,value,sd,n\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "1: `method`, `task`, `ratio`, `metric`, `value` are missing"),
        ("", "1: `method`"),
        (HEAD + "mrm,siim,10,Dice,0.7,,\nmrmm,siim,10,Dice,0.7,,\n", "3: no method is called"),
        (HEAD + "mrm,sim,10,Dice,0.7,,\n", "2: no task is called"),
        (HEAD + "mrm,siim,10,AUROC,0.7,,\n", "2: `siim:10:AUROC`"),
        (HEAD + "mrm,siim,,Dice,0.7,,\n", "2: a cell of `siim` needs a ratio"),
        (HEAD + "mrm,siim,10,Dice,72.9,,\n", "2: `value` is 72.9"),
        (HEAD + "mrm,siim,10,Dice,x,,\n", "2: `value` is `x`, expected a number"),
        (HEAD + "mrm,siim,10,Dice,nan,,\n", "2: `value` is `nan`"),
        (HEAD + "mrm,siim,10,Dice,0.7,-1,\n", "2: `sd` is -1"),
        (HEAD + "mrm,siim,10,Dice,0.7,,1.5\n", "2: `n` is 1.5"),
        (HEAD + "mrm,siim,10,Dice,0.7\n", "2: not as many cells as headings"),
        (HEAD + "mrm,siim,10,Dice,0.7,,,8\n", "2: not as many cells as headings"),
        (HEAD + 2 * "mrm,siim,10,Dice,0.7,,\n", "3: the same cell stands in"),
        ("{", ":1: no JSON"),
        ("{}", "no list `cells`"),
        ('{"form": "x", "cells": []}', "its `form` is `x`"),
        ('{"form": "cxrlab grid", "version": 99, "cells": []}', "version 99"),
        ('[{"method": "mrm"}]', "cell 1: `task`"),
        ('[{"method": "mrm", "task": "siim", "ratio": 10, "metric": "Dice", "value": true}]',
         "`value` is `True`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    with pytest.raises(CxrlabError, match=r"t\.csv") as caught:
        table.read(path)
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        table.read(tmp_path / "none.csv")
    book = tmp_path / "t.xlsx"
    book.write_bytes(forms.write(arranged(built([GROUP]), "en"), forms.Form.xlsx).content)
    with pytest.raises(BadInput) as caught:
        table.read(book)
    assert "export csv" in caught.value.hint


def test_a_number_keeps_its_place_in_the_file(place: Path) -> None:
    path = exported(built([GROUP]), forms.Form.csv, place / "lines.csv")
    [number] = table.read(path).numbers
    assert isinstance(number, Number)
    lines = path.read_text().splitlines()
    assert lines[number.line - 1].startswith("mrm,siim,10,Dice,0.73,")
