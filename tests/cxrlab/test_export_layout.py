from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from cxrlab import columns
from cxrlab.exports.layout import Entry, arranged
from cxrlab.exports.words import LANGUAGES, WORDS, say, told
from cxrlab.grid import FOREIGN, TEST_SPLIT, TRAIN_LIST, Cell, Grid, Row, build, stale
from cxrlab.grid.remarks import notes
from cxrlab.imports import figures, heads
from store.cells import Encoder, Group
from store.finished import Start
from store.notebook import Number
from trainers.catalog import METHODS

WORD = "siim:10:Dice"


def cell(method: str = "mrm", **facts: Any) -> Cell:
    base = {"task": "siim", "ratio": 10, "metric": "Dice", "preset": "paper", "recipe": "r"}
    base |= {"value": 0.7, "n": 3, "sd": 0.01, "state": "succeeded"}
    return Cell(method=method, **{**base, **facts})


def grid_of(*cells: Cell, words: tuple[str, ...] = ("description", WORD)) -> Grid:
    chosen = columns.chosen(words)
    rows = tuple(Row(each.method, each.method, (each,)) for each in cells)
    return Grid(rows, chosen.columns, chosen.fields)


def notes_to(given: Cell, *others: Cell, lang: Any = "en") -> list[str]:
    layout = arranged(grid_of(given, *others), lang)
    return [layout.footnotes[n - 1] for n in layout.lines[0].entries[-1].notes]


def test_a_number_over_seeds_of_the_columns_recipe_has_no_footnote() -> None:
    assert notes_to(cell(), cell("refers")) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"n": 1, "sd": None}, "a single seed"),
        ({"preset": FOREIGN}, "made elsewhere"),
        ({"stale": "its encoder's run abc is gone"}, "stale: its encoder's run abc is gone"),
        ({"preset": "quick"}, "another recipe: preset `quick`"),
        ({"others": 2, "differs": ("encoder",)}, "2 more, which differ in encoder"),
        ({"other": TEST_SPLIT}, "tested on another split"),
        ({"other": TRAIN_LIST}, "trained on another list"),
    ],
)
def test_what_must_be_known_of_a_number_is_a_footnote_to_it(
    facts: dict[str, Any], said: str
) -> None:
    told = notes_to(cell(**facts), cell("refers"), cell("convirt"))
    assert len(told) == 1
    assert said in told[0]
    assert len(notes_to(cell(**facts), cell("refers"), cell("convirt"), lang="zh")) == 1


def test_a_notebooks_number_tells_its_source_and_its_flaws() -> None:
    number = Number(
        "mrm", "siim", 10, "Dice", "own", 0.7009, "70.09", "notebook.md", 158, ("no unit",)
    )
    made = build({"mrm": METHODS["mrm"]}, columns.chosen([WORD]).columns, [], [],
                 published={}, notebook=[number])  # fmt: skip
    layout = arranged(made, "en")
    assert layout.lines[0].entries[-1].number == "70.1"
    assert layout.footnotes == (say("told", "en", source="notebook.md"), "no unit")


def test_footnotes_are_numbered_as_they_are_met_and_each_stands_once() -> None:
    single = {"n": 1, "sd": None}
    cells = [cell(**single), cell("refers", stale="x", **single), cell("convirt", paper=0.8)]
    cells[2] = replace(cells[2], paper_source="a paper")
    layout = arranged(grid_of(*cells), "en")
    entries = [line.entries[-1] for line in layout.lines]
    assert [(e.notes, e.paper_notes) for e in entries] == [((1,), ()), ((1, 2), ()), ((), (3,))]
    assert layout.footnotes[2] == "a paper"


def test_a_quick_number_is_marked_where_the_table_has_others_though_its_column_has_none() -> None:
    full = cell(preset="paper", metric="AUROC", task="nih")
    toy = cell(preset="quick", metric="AUROC", task="shenzhen")
    for lang, said in (("en", "made with preset `quick`"), ("zh", "由预设 `quick` 得到")):
        over = columns.chosen(("nih:100:AUROC", "shenzhen:100:AUROC")).columns[-2:]
        shown = arranged(Grid((Row("mrm", "mrm", (full, toy)),), over, ()), lang)
        (line,) = shown.lines
        marked = [shown.footnotes[n - 1] for n in line.entries[1].notes]
        assert any(note.startswith(said) for note in marked)
        assert not any("quick" in shown.footnotes[n - 1] for n in line.entries[0].notes)


def test_all_numbers_of_the_quick_preset_need_one_note_and_no_footnotes() -> None:
    layout = arranged(grid_of(cell(preset="quick"), cell("refers", preset="quick")), "en")
    assert layout.footnotes == ()
    assert any("preset `quick`" in note for note in layout.general)


def test_an_entry_says_what_the_grid_says_but_for_its_marks() -> None:
    cells = [
        cell(others=1, other=TEST_SPLIT, paper=0.732),
        cell("refers", value=None, n=0, state="running", progress=0.43),
        cell("convirt", value=None, n=0, state="empty", paper=0.7),
        cell("mae", state="none", value=None),
        cell("imagenet", stale="x", state="stale"),
    ]
    layout = arranged(grid_of(*cells), "en")
    expected = [re.sub(r"[†‡§]| \+\d+", "", each.text()) for each in cells]
    assert [line.entries[-1].text for line in layout.lines] == expected


def test_states_and_headings_are_chinese() -> None:
    words = ("description", "status", "pretrain:time", WORD)
    made = build({"mrm": METHODS["mrm"]}, columns.chosen(words).columns, [], [], published={})
    made = replace(made, fields=("description", "status"))
    running = replace(made.rows[0].cells[1], state="running", progress=0.43)
    rows = (replace(made.rows[0], cells=(made.rows[0].cells[0], running)),)
    layout = arranged(replace(made, rows=rows), "zh")
    assert [(h.above, h.below) for h in layout.heads] == [
        ("", "描述"), ("预训练", "时间"), ("siim Dice", "10 %"), ("", "实验状态"),
    ]  # fmt: skip
    assert layout.lines[0].entries[2].text == "运行中 43 %"


def test_everything_has_words_in_both_languages_with_the_same_places() -> None:
    places = re.compile(r"\{(\w+)\}")
    for key, said in WORDS.items():
        assert len(said) == len(LANGUAGES), key
        assert all(said), key
        assert len({frozenset(places.findall(text)) for text in said}) == 1, key


def stale_reasons() -> list[str]:
    group = Group("mrm", "siim", 10, "Dice", "r", "paper", 0.7, None, 1, None, None, ("a",), 1.0)
    group = group._replace(starts=(Start("run1", "best.pt", "a" * 64),))
    now = Encoder("run1", "succeeded", (("best.pt", "b" * 64),), None)
    known: list[dict[str, Encoder]] = [{}, {"run1": now._replace(state="failed")}, {"run1": now}]
    return [stale.reason(group, encoders) for encoders in known]


@pytest.mark.parametrize(
    "sentence",
    [
        *figures.read_figure("70.09").own_flaws,
        *figures.read_figure("0.7").own_flaws,
        heads.accuracy_flaw("the notebook", "average acc"),
        heads.accuracy_flaw("the heading `NIH acc`", "accuracy"),
        *stale_reasons(),
    ],
)
def test_what_others_write_in_english_is_said_in_chinese_with_the_same_names(sentence: str) -> None:
    said = told(sentence, "zh")
    assert re.search("[\u4e00-\u9fff]", said)
    assert set(re.findall(r"`[^`]+`|\brun1\b|\b[ab]{8}\b", sentence)) <= set(
        re.findall(r"`[^`]+`|run1|[ab]{8}", said)
    )
    assert told(sentence, "en") == sentence


def test_what_has_no_translation_stays_as_it_is() -> None:
    assert told("something else", "zh") == "something else"


def test_what_is_put_into_words_may_hold_braces() -> None:
    assert "{x}" in say("is stale", "en", reason="{x}")


def test_texts_of_strangers_lose_what_would_act_on_a_terminal() -> None:
    made = grid_of(cell())
    rows = (replace(made.rows[0], description="a\x1b]0;x\x07\nb\u202ec"),)
    said = arranged(replace(made, rows=rows), "en").lines[0].entries[0].state
    assert not any(ord(sign) < 32 or sign == "\u202e" for sign in said)


def test_the_notes_of_the_whole_table_say_what_the_grids_own_notes_say() -> None:
    made = grid_of(cell(floor=0.647), cell("refers"))
    layout = arranged(made, "en")
    for note in notes(made):
        assert any(note.split(":")[0] == told.split(":")[0] for told in layout.general), note


def test_arranging_costs_as_much_as_there_are_cells() -> None:
    def calls(rows: int) -> int:
        """Count how many lines of Python a grid of so many rows takes."""
        import sys

        made = grid_of(*[cell(n=1, sd=None) for _ in range(rows)])
        count = 0

        def look(frame: Any, event: str, arg: Any) -> Any:
            nonlocal count
            count += 1
            return None

        sys.setprofile(look)
        try:
            arranged(made, "en")
        finally:
            sys.setprofile(None)
        return count

    assert calls(400) < 4.4 * calls(100)


def test_an_empty_grid_is_a_table_without_rows() -> None:
    assert arranged(Grid(), "en").lines == ()
    assert Entry().text == ""
