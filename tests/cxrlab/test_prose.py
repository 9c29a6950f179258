"""What a notebook says beside its table: which kind of entry, when, and under which heading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab.imports.prose import mask_code, read_prose
from store import notes


def read(text: str):
    return read_prose(text.split("\n"))


def only(text: str):
    (entry,) = read(text).entries
    return entry


@pytest.mark.parametrize(
    ("item", "kind", "state", "text"),
    [
        ("* ✅ MRM的预训练", "todo", "done", "MRM的预训练"),
        ("* [] convirt  ", "todo", "open", "convirt"),
        ("- [ ] convirt", "todo", "open", "convirt"),
        ("- [x] convirt", "todo", "done", "convirt"),
        ("* ⚠️ no data", "note", "warning", "no data"),
        ("* 👌 validation loss foretells", "idea", "endorsed", "validation loss foretells"),
        ("1. mimic_cxr", "fact", "", "mimic_cxr"),
        ("5. 检测 -- ⚠️ 没有", "fact", "warning", "检测 -- ⚠️ 没有"),
        ("* plain", "note", "", "plain"),
        ("* the list [] is empty", "note", "", "the list [] is empty"),
        ("* [](http://x) y", "note", "", "[](http://x) y"),
        ("* ✅", "note", "", "✅"),
        ("a paragraph", "note", "", "a paragraph"),
        ("> quoted", "note", "", "quoted"),
    ],
)
def test_the_mark_tells_what_an_entry_is(item, kind, state, text) -> None:
    entry = only(item)
    assert (entry.kind, entry.state, entry.text) == (kind, state, text)


def test_an_open_point_below_ideas_is_an_idea_and_a_number_below_references_a_reference() -> None:
    text = "可能进行的改进:\n* [] HOG\n\n**参考文献**:  \n1. DeepMIM\n\n## Next steps\n- [ ] run"
    assert [(e.kind, e.section) for e in read(text).entries] == [
        ("idea", "可能进行的改进"), ("reference", "参考文献"), ("todo", "Next steps"),
    ]  # fmt: skip


def test_a_date_dates_what_follows_and_ends_the_section() -> None:
    text = "03/08/2023 16:11\n\na:\n* one\n\n03/20/2023 21:00\n* two\n\n# 2024-01-02\n* three"
    assert [(e.written, e.section, e.text) for e in read(text).entries] == [
        ("2023-03-08 16:11", "a", "one"),
        ("2023-03-20 21:00", "", "two"),
        ("2024-01-02", "", "three"),
    ]
    assert read(text).told == []


def test_days_come_first_where_one_date_proves_it() -> None:
    text = "08/03/2023\n* one\n20/03/2023\n* two"
    assert [e.written for e in read(text).entries] == ["2023-03-08", "2023-03-20"]


def test_where_no_date_proves_it_that_is_told() -> None:
    found = read("03/08/2023\n* one")
    assert found.entries[0].written == "2023-03-08"
    assert "month/day/year" in found.told[0]


@pytest.mark.parametrize("said", ["2023年3月8日", "2023/3/8", "2023.03.08", "**2023-03-08**"])
def test_other_ways_to_write_a_day_are_known(said: str) -> None:
    assert only(f"{said}\n* one").written == "2023-03-08"


def test_a_day_that_does_not_exist_is_listed() -> None:
    found = read("2023-02-30\n* one")
    assert [(u.line, u.reason) for u in found.unread] == [(1, "there is no such day")]
    assert found.entries[0].written == ""


def test_an_item_goes_on_below_itself_until_a_blank_line() -> None:
    assert [e.text for e in read("* one\n  and on\n\nnext\n* two").entries] == [
        "one and on", "next", "two",
    ]  # fmt: skip


def test_code_is_a_command_with_its_lines_and_holds_no_entries() -> None:
    text = "**执行代码**:\n```shell\npython a.py \\\n    --x 1\n* no item\n```\n* item"
    command, item = read(text).entries
    assert (command.kind, command.section, command.line) == ("command", "执行代码", 2)
    assert command.text == "python a.py \\\n    --x 1\n* no item"
    assert item.text == "item"


def test_code_in_another_language_is_a_note() -> None:
    assert only("~~~python\nx = 1\n~~~").kind == "note"


def test_a_block_of_code_that_is_never_closed_is_listed_and_kept() -> None:
    found = read("* one\n```sh\nls")
    assert [entry.text for entry in found.entries] == ["one", "ls"]
    assert (found.unread[0].line, found.unread[0].reason) == (
        2, "this block of code is never closed",
    )  # fmt: skip


def test_code_is_masked_for_whoever_looks_for_tables() -> None:
    assert mask_code(["a", "```", "<table>", "```", "b"]) == ["a", "", "", "", "b"]


def test_a_table_of_pipes_is_listed_once_and_rules_and_comments_are_nothing() -> None:
    found = read("* one\n\n---\n<!-- mark -->\n| a | b |\n|---|---|\n| 1 | 2 |\n\n<img src=x>")
    assert [(u.line, u.reason) for u in found.unread] == [
        (5, "a table of pipes; only tables of HTML are read"),
        (9, "HTML outside of a table"),
    ]
    assert len(found.entries) == 1


def test_lines_that_others_read_are_left_out() -> None:
    found = read_prose(["* one", "* two", "* three"], [(2, 2)])
    assert [entry.text for entry in found.entries] == ["one", "three"]


@given(st.text(max_size=200))
def test_any_text_gives_entries_that_the_registry_takes(text: str) -> None:
    for entry in read(text).entries:
        assert entry.kind in notes.KINDS
        assert entry.state in notes.STATES
        assert entry.text.strip()
