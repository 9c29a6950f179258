from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import notes, rebuild, runs
from store.db import StoreError
from store.notes import Brought, NewEntry

TODO = NewEntry(
    "todo", "convirt的代码复现", "open", "2023-03-08 16:11", "正在进行中的实验", line=17
)
DONE = NewEntry("todo", "MRM的预训练", "done", "2023-03-08 16:11", "正在进行中的实验", line=15)
FACT = NewEntry("fact", "预训练数据集 -- mimic_cxr", "", "2023-03-08 16:11", "数据准备", line=4)
ALL = [FACT, DONE, TODO]


def texts(db: Any, **filters: Any) -> list[str]:
    return [entry.text for entry in notes.select(db, **filters)]


def test_an_entry_is_read_back_as_it_was_added(db: Any) -> None:
    new = NewEntry("note", "a [b]\x1b[31m 中", "", "2026-01-02 03:04", about="aaaaaa")
    entry = notes.add(db, new)
    assert notes.get(db, entry.id) == entry
    assert entry == (1, "note", new.text, "", new.written, "", "", None, "aaaaaa")


def test_the_newest_comes_first_and_undated_ones_last(db: Any) -> None:
    for text, written in (("undated", ""), ("old", "2023-01-01"), ("new", "2026-01-01 10:00")):
        notes.add(db, NewEntry("note", text, "", written))
    assert texts(db) == ["new", "old", "undated"]


def test_filters_are_all_of_them_heeded(db: Any) -> None:
    notes.bring_in(db, "notebook.md", ALL)
    notes.add(db, NewEntry("todo", "mine", "open", about="aaaaaa"))
    assert texts(db, kinds=["todo"], states=["open"]) == [TODO.text, "mine"]
    assert texts(db, kinds=["todo"], about="aaaaaa") == ["mine"]
    assert texts(db, kinds=["idea"]) == []


def test_numbers_are_never_given_twice(db: Any) -> None:
    first = notes.add(db, NewEntry("note", "one"))
    notes.remove(db, first.id)
    assert notes.add(db, NewEntry("note", "two")).id > first.id
    with pytest.raises(notes.NoSuchEntry, match=f"number {first.id}"):
        notes.get(db, first.id)


@pytest.mark.parametrize("text", ["", " \n\t"])
def test_an_entry_without_words_is_refused(db: Any, text: str) -> None:
    with pytest.raises(StoreError, match="words"):
        notes.add(db, NewEntry("note", text))


def test_a_kind_or_state_that_does_not_exist_is_refused(db: Any) -> None:
    with pytest.raises(StoreError, match="song"):
        notes.add(db, NewEntry("song", "la"))
    with pytest.raises(StoreError, match="asleep"):
        notes.change_state(db, notes.add(db, NewEntry("todo", "x", "open")).id, "asleep")


def test_importing_the_same_twice_changes_nothing(db: Any) -> None:
    assert notes.bring_in(db, "notebook.md", ALL) == Brought(3, 0, 0, 0, 0)
    before, changes = notes.select(db), db.conn.total_changes
    assert notes.bring_in(db, "notebook.md", ALL) == Brought(0, 0, 3, 0, 0)
    assert (notes.select(db), db.conn.total_changes) == (before, changes)


def test_what_was_ticked_off_here_stays_ticked_off(db: Any) -> None:
    notes.bring_in(db, "notebook.md", [TODO])
    notes.change_state(db, 1, "done")
    assert notes.bring_in(db, "notebook.md", [TODO]) == Brought(0, 0, 0, 1, 0)
    assert notes.get(db, 1).state == "done"


def test_what_was_ticked_off_in_the_notebook_is_ticked_off_here(db: Any) -> None:
    notes.bring_in(db, "notebook.md", [TODO])
    ticked = TODO._replace(state="done")
    assert notes.bring_in(db, "notebook.md", [ticked]) == Brought(0, 1, 0, 0, 0)
    assert notes.get(db, 1).state == "done"
    assert notes.bring_in(db, "notebook.md", [ticked]) == Brought(0, 0, 1, 0, 0)


def test_what_was_ticked_off_on_both_sides_agrees(db: Any) -> None:
    notes.bring_in(db, "notebook.md", [TODO])
    notes.change_state(db, 1, "done")
    assert notes.bring_in(db, "notebook.md", [TODO._replace(state="done")]).unchanged == 1


def test_an_entry_that_moved_to_another_line_is_the_same_one(db: Any) -> None:
    notes.bring_in(db, "notebook.md", [TODO])
    assert notes.bring_in(db, "notebook.md", [TODO._replace(line=99)]).unchanged == 1
    assert [(e.id, e.line) for e in notes.select(db)] == [(1, 99)]


def test_the_same_words_twice_are_two_entries(db: Any) -> None:
    assert notes.bring_in(db, "notebook.md", [TODO, TODO]).new == 2
    assert notes.bring_in(db, "notebook.md", [TODO, TODO]).unchanged == 2


def test_what_the_notebook_no_longer_has_stays_and_is_told(db: Any) -> None:
    notes.bring_in(db, "notebook.md", ALL)
    assert notes.bring_in(db, "notebook.md", [FACT]) == Brought(0, 0, 1, 0, 2)
    assert len(notes.select(db)) == 3


def test_what_was_removed_here_does_not_come_back_and_its_words_are_gone(db: Any) -> None:
    notes.bring_in(db, "notebook.md", ALL)
    assert notes.remove(db, 3).text == TODO.text
    assert notes.bring_in(db, "notebook.md", ALL) == Brought(0, 0, 2, 1, 0)
    assert TODO.text not in texts(db)
    assert TODO.text not in str(db.conn.execute("select * from entries").fetchall())
    with pytest.raises(notes.NoSuchEntry):
        notes.change_state(db, 3, "done")


def test_sources_do_not_touch_one_another(db: Any) -> None:
    notes.bring_in(db, "a.md", [TODO])
    assert notes.bring_in(db, "b.md", [TODO]) == Brought(1, 0, 0, 0, 0)
    assert [entry.source for entry in notes.select(db)] == ["b.md", "a.md"]


def test_entries_outlive_a_rebuild_and_the_run_they_are_about(
    db: Any, add_run: Any, tmp_path: Path
) -> None:
    folder = add_run("aaaaaa", state="succeeded")
    folder.rmdir()
    notes.bring_in(db, "notebook.md", ALL)
    notes.change_state(db, 3, "done")
    notes.add(db, NewEntry("note", "odd curve", about="aaaaaa"))
    before = notes.select(db)
    rebuild.rebuild(db, tmp_path / "runs")
    assert runs.count(db) == 0
    assert notes.select(db) == before


def test_words_can_be_changed_and_the_next_import_leaves_them_alone(db: Any) -> None:
    notes.bring_in(db, "notebook.md", ALL)
    number = notes.select(db, kinds=["todo"], states=["open"])[0].id
    assert notes.rewrite(db, number, "other words").text == "other words"
    assert notes.bring_in(db, "notebook.md", ALL) == Brought(0, 0, 3, 0, 0)
    assert notes.get(db, number).text == "other words"


@pytest.mark.parametrize("text", ["", " \n"])
def test_words_cannot_be_changed_to_none(db: Any, text: str) -> None:
    number = notes.add(db, TODO).id
    with pytest.raises(StoreError, match="needs words"):
        notes.rewrite(db, number, text)
    assert notes.get(db, number).text == TODO.text
