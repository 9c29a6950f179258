from __future__ import annotations

from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from cxrlab import columns, grid
from cxrlab.console import length
from cxrlab.exports.layout import Layout, arranged
from cxrlab.exports.markdown import escape, escape_prose, markdown
from cxrlab.exports.words import Lang
from cxrlab.grid.published import read_published
from store.cells import Group
from trainers.catalog import METHODS, TASKS


def group(method: str, value: float, n: int = 3) -> Group:
    return Group(method, "siim", 10, "Dice", method, "paper", value, 0.004, n, 0.7, 0.75, ("a",), 1)


def shown(*groups: Group) -> grid.Grid:
    tasks = {name: TASKS[name] for name in ("siim", "siim_legacy", "shenzhen")}
    used = groups or (group("mrm", 0.729),)
    return grid.build(METHODS, columns.of_tasks(tasks), used, [], published=read_published())


def filled(*groups: Group, lang: Lang = "en") -> Layout:
    return arranged(shown(*groups), lang)


def rendered(text: str) -> list[list[str]]:
    """Return the texts of the table's cells, as a renderer of GitHub's tables reads them."""
    rows: list[list[str]] = []
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows and len(rows) < 99:
            parts = [t.content for t in token.children or [] if t.type in ("text", "code_inline")]
            rows[-1].append("".join(parts))
        elif token.type == "table_close":
            return rows
    return []


def test_the_table_renders_with_every_cell_saying_what_the_grid_says() -> None:
    layout = filled()
    table = rendered(markdown(layout))
    assert [row[0] for row in table[1:]] == list(METHODS)
    for row, line in zip(shown().rows, table[1:], strict=True):
        for cell, said in zip(row.cells, line[1:], strict=True):
            note = ""
            if cell.paper is not None:
                note = str(layout.footnotes.index(cell.paper_source) + 1)
            assert said == cell.text() + note


@pytest.mark.parametrize(
    "text",
    ["a|b", "*x*", "_x_", "[1](2)", "`c`", "<b>", "a\\|b", "#1 ~~x~~", "&amp;", "![i](http://x)"],
)
def test_what_would_be_markup_is_shown_as_it_is(text: str) -> None:
    assert rendered(f"| h |\n| --- |\n| {escape(text)} |\n")[1] == [text]


def test_texts_of_strangers_render_as_they_are_in_every_place() -> None:
    nasty = 'a | b <img src=x> **x** ` & "c" \\'
    made = shown()
    rows = tuple(replace(row, description=nasty, group=nasty) for row in made.rows)
    layout = arranged(replace(made, rows=rows, fields=("description",)), "en")
    table = rendered(markdown(layout))
    assert {len(row) for row in table} == {2 + len(made.columns)}
    assert {row[1] for row in table[2:]} == {nasty}
    assert table[1][0] == nasty


def test_an_underscore_within_a_name_is_left_readable() -> None:
    assert escape("deep_mrm") == "deep_mrm"


def test_a_backtick_that_is_not_closed_is_no_code() -> None:
    assert escape_prose("a ` b") == "a \\` b"


def test_every_papers_number_has_a_footnote_with_its_source() -> None:
    text = markdown(filled())
    assert "\\[73.2\\]<sup>1</sup>" in text
    assert "\\[91.4\\]<sup>2</sup>" in text
    assert text.count("leaks") == 2


def test_the_best_is_bold_and_the_second_underlined() -> None:
    text = markdown(filled(group("mrm", 0.729), group("refers", 0.71), group("convirt", 0.70)))
    assert "**72.9** ±0.4 (3)" in text
    assert "<ins>71.0</ins> ±0.4 (3)" in text
    assert " 70.0 ±0.4 (3)" in text


def test_the_metric_is_explained_below_the_table() -> None:
    assert "Dice in percent" in markdown(filled())
    assert "AUROC in percent" not in markdown(filled())


def test_the_same_grid_gives_the_same_text() -> None:
    assert markdown(filled()) == markdown(filled())


@pytest.mark.parametrize("lang", ["en", "zh"])
def test_lines_of_the_table_are_as_wide_as_one_another_in_either_language(lang: Lang) -> None:
    lines = [x for x in markdown(filled(lang=lang)).splitlines() if x.startswith("|")]
    assert len({length(x) for x in lines}) == 1


def test_a_group_has_a_line_of_its_own() -> None:
    made = shown()
    rows = tuple(
        replace(row, group="ours" if row.method == "mrm" else "theirs") for row in made.rows[-2:]
    )
    table = rendered(markdown(arranged(replace(made, rows=rows), "en")))
    assert table[1][0] == "theirs"
