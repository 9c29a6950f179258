from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import Input

from cxrlab.lab import Lab
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.note import NoteForm, Words
from cxrlab.tui.screens.notes import NotesScreen
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.widgets.table import Table
from store import notes
from store.db import open_store
from store.notes import NewEntry

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

ENTRIES = (
    NewEntry("fact", "MIMIC has 377,110 images", "", "2023-03-08 16:11", source="notebook.md"),
    NewEntry("idea", "mask by attention", "open", "2026-01-02 10:00"),
    NewEntry("note", "first line\nsecond line", "", "2026-01-03 10:00", about="deepaa"),
    NewEntry("todo", "read the paper", "done", "2026-01-05 10:00"),
    NewEntry("todo", "预训练数据集", "open", "2026-01-04 10:00"),
)


@pytest.fixture
def noted_lab(full_lab: Lab) -> Lab:
    db = open_store(full_lab.registry)
    for entry in ENTRIES:
        notes.add(db, entry)
    db.close()
    return full_lab


def entries(lab: Lab) -> dict[int, notes.Entry]:
    db = open_store(lab.registry)
    found = {entry.id: entry for entry in notes.select(db)}
    db.close()
    return found


@pytest.fixture
def on_notes(noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown) -> Wait:
    """Open the notes, and call `steps(app, pilot)` once they are shown."""

    async def go(steps: Wait) -> None:
        app = make_app(noted_lab)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("5")
            await until(pilot, lambda: "A all 5" in shown(app) and "mask by" in shown(app))
            await steps(app, pilot)

    return go


async def test_what_is_open_comes_first_then_the_newest(on_notes: Wait) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        seen = []
        for _ in range(5):
            seen.append(app.screen.selected.id)
            await pilot.press("down")
        assert seen == [5, 2, 4, 3, 1]

    await on_notes(steps)


@pytest.mark.parametrize(
    ("key", "count", "word"),
    [("T", 2, "todos"), ("I", 1, "ideas"), ("N", 1, "notes"), ("O", 1, "others"), ("A", 5, "all")],
)
async def test_a_key_narrows_the_list_to_a_kind(
    on_notes: Wait, until: Wait, shown: Shown, key: str, count: int, word: str
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press(key)
        await until(pilot, lambda: f"[{key} {word} {count}]" in shown(app))
        assert app.screen.query_one(Table).count == count

    await on_notes(steps)


async def test_space_ticks_off_and_opens_again(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("T")
        await until(pilot, lambda: "[T todos 2]" in shown(app))
        await pilot.press("down")  # the one that is done
        await pilot.press("space")
        await until(pilot, lambda: entries(noted_lab)[4].state == "open")
        await until(pilot, lambda: shown(app).count("[ ]") == 2)
        await pilot.press("g")
        chosen = app.screen.selected.id
        await pilot.press("space")
        await until(pilot, lambda: entries(noted_lab)[chosen].state == "done")

    await on_notes(steps)


async def test_a_note_cannot_be_ticked_off(
    on_notes: Wait, until: Wait, told: Shown, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("N")
        await until(pilot, lambda: "[N notes 1]" in shown(app))
        await pilot.press("space")
        await until(pilot, lambda: "a note is never done" in told(app))

    await on_notes(steps)


async def test_a_writes_down_what_was_typed(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NoteForm) and "Write down" in shown(app))
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        await pilot.press(*"q5 t", "ctrl+j", *"two", "enter")
        await until(pilot, lambda: 6 in entries(noted_lab))
        new = entries(noted_lab)[6]
        assert (new.kind, new.text, new.state) == ("todo", "q5 t\ntwo", "open")
        assert new.written.startswith("2026-02-0")
        await until(pilot, lambda: "q5 t …" in shown(app))

    await on_notes(steps)


async def test_the_form_has_a_kind_and_refuses_nothing(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        await pilot.press("space", "enter")
        await until(pilot, lambda: "an entry needs words" in shown(app))
        await pilot.press(*"new", "tab", "right")
        await until(pilot, lambda: app.screen.query_one(Choice).value == "idea")
        await pilot.press("enter")
        await until(pilot, lambda: 6 in entries(noted_lab))
        assert entries(noted_lab)[6].kind == "idea"

    await on_notes(steps)


@pytest.mark.parametrize(
    ("keys", "there", "about"),
    [
        (("down", "right", "right"), "a cell of the grid", "mrm:siim:10"),
        (("down", "right", "right", "enter"), "a cell of the grid", "mrm:siim:10"),
        (("2",), "random · shenzhen_lungs", "rndccc"),
        (("2", "enter"), "random · shenzhen_lungs", "rndccc"),
        (("2", "B"), "the method Deeply supervised", "deep_mrm"),
        (("3",), "random · shenzhen_lungs", "rndccc"),
        (("6",), "nothing in particular", ""),
    ],
    ids=["grid", "cell", "runs", "run", "group", "queue", "doctor"],
)
async def test_a_note_is_about_what_one_came_from_unless_that_is_changed(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, keys: Any, there: str, about: str
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2" in shown(app))
        for key in keys:
            before = shown(app)
            await pilot.press(key)
            await until(pilot, lambda before=before: shown(app) != before)
        await until(pilot, lambda: getattr(app.screen, "subject", "") == about)
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NoteForm) and there in shown(app))
        await pilot.press(*"odd", "enter")
        await until(pilot, lambda: entries(full_lab))
        assert [(e.kind, e.text, e.about) for e in entries(full_lab).values()] == [
            ("note", "odd", about)
        ]


async def test_a_name_is_completed_and_one_that_means_nothing_is_refused(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        about = app.screen.query_one("#note-about", Input)
        await pilot.press(*"odd", "shift+tab", *"mrn", "enter")
        await until(pilot, lambda: "no run" in shown(app))
        assert isinstance(app.screen, NoteForm)
        await pilot.press("backspace", *"m:shenzhen_l")
        await until(pilot, lambda: "mrm:shenzhen_lungs" in shown(app))
        await pilot.press("right")
        await until(pilot, lambda: about.value == "mrm:shenzhen_lungs")
        await pilot.press("ctrl+u", *"deepb")
        await until(pilot, lambda: "deepbb" in shown(app))
        await pilot.press("right", "enter")
        await until(pilot, lambda: 6 in entries(noted_lab))
        assert entries(noted_lab)[6].about == "deepbb"
        assert len(entries(noted_lab)) == 6

    await on_notes(steps)


async def test_what_an_entry_is_about_can_be_changed_and_what_was_may_stay(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    db = open_store(noted_lab.registry)
    notes.rewrite(db, 5, "old words", "gone1\x1b[31m")
    db.close()

    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        await pilot.press("!", "enter")
        await until(pilot, lambda: entries(noted_lab)[5].text == "old words!")
        assert entries(noted_lab)[5].about == "gone1\x1b[31m"
        await until(pilot, lambda: isinstance(app.screen, NotesScreen) and "words!" in shown(app))
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        await pilot.press("shift+tab", "ctrl+u", *"siim", "enter")
        await until(pilot, lambda: entries(noted_lab)[5].about == "siim")

    await on_notes(steps)


async def test_enter_shows_the_runs_of_the_method_or_task_it_is_about(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    db = open_store(full_lab.registry)
    notes.add(db, NewEntry("note", "of a method", about="deep_mrm"))
    notes.add(db, NewEntry("note", "of a task", about="shenzhen"))
    db.close()
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "of a task" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "task=shenzhen" in shown(app) and "2 of 11 runs" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("5", "down", "enter")
        await until(pilot, lambda: "method=deep_mrm" in shown(app) and "2 of 11" in shown(app))


async def test_escape_leaves_the_form_and_writes_nothing(
    on_notes: Wait, until: Wait, noted_lab: Lab
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("a")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        await pilot.press("x", "escape")
        await until(pilot, lambda: isinstance(app.screen, NotesScreen))
        assert len(entries(noted_lab)) == 5

    await on_notes(steps)


async def test_e_changes_the_words(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("e")
        await until(pilot, lambda: "Edit todo 5" in shown(app))
        await until(pilot, lambda: isinstance(app.screen.focused, Words))
        await pilot.press("!", "enter")
        await until(pilot, lambda: entries(noted_lab)[5].text == "预训练数据集!")
        await until(pilot, lambda: "预训练数据集!" in shown(app))

    await on_notes(steps)


async def test_editing_without_a_change_leaves_the_bytes_as_they_are(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    db = open_store(noted_lab.registry)
    notes.rewrite(db, 5, "a\x1b[31mb\tc")
    db.close()

    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        assert "\x1b" not in app.screen.query_one(Words).text
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, NotesScreen))
        assert entries(noted_lab)[5].text == "a\x1b[31mb\tc"

    await on_notes(steps)


async def test_d_asks_and_drops(on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("d")
        await until(pilot, lambda: "Drop todo 5 for good?" in shown(app))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, NotesScreen))
        assert 5 in entries(noted_lab)
        await pilot.press("d")
        await until(pilot, lambda: "Drop todo 5 for good?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: 5 not in entries(noted_lab))
        await until(pilot, lambda: "A all 4" in shown(app))

    await on_notes(steps)


async def test_enter_opens_the_run_it_is_about(
    on_notes: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("enter")
        await until(pilot, lambda: "about no run and no cell" in told(app))
        await pilot.press("N")
        await until(pilot, lambda: "[N notes 1]" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))

    await on_notes(steps)


async def test_enter_opens_the_cell_it_is_about_or_says_that_the_grid_lacks_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    db = open_store(full_lab.registry)
    notes.add(db, NewEntry("note", "about a cell", about="mrm:siim:10"))
    notes.add(db, NewEntry("note", "about none of the grid", about="mrm:rsna:1"))
    db.close()
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "about none of the grid" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "the grid has no cell `mrm:rsna:1`" in told(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, CellScreen) and "siimca" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, NotesScreen))


async def test_the_whole_text_is_shown_below_the_list(
    on_notes: Wait, until: Wait, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        assert "second line" not in shown(app)
        await pilot.press("N")
        await until(pilot, lambda: "second line" in shown(app) and "about deepaa" in shown(app))

    await on_notes(steps)


async def test_an_entry_that_comes_is_shown_at_once(
    on_notes: Wait, until: Wait, noted_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        db = open_store(noted_lab.registry)
        notes.add(db, NewEntry("note", "from elsewhere"))
        db.close()
        await until(pilot, lambda: "A all 6" in shown(app) and "from elsewhere" in shown(app))

    await on_notes(steps)


async def test_what_was_noted_is_shown_as_text(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    db = open_store(empty_lab.registry)
    notes.add(db, NewEntry("todo", "[red]a[/] \x1b]0;t\x07 \u202edlo 中文 " + "x" * 30_000, "open"))
    db.close()
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: shown(app).count("[red]a[/] ␛]0;t␇ �dlo 中文") == 2)
        await pilot.press("d")
        await until(pilot, lambda: "Drop todo 1" in shown(app))
        assert "\x1b" not in shown(app)
        await pilot.press("n", "e")
        await until(pilot, lambda: isinstance(app.screen, NoteForm))
        assert "\x1b" not in shown(app)


async def test_keys_among_no_entries_do_nothing(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "nothing noted yet" in shown(app))
        await pilot.press("space", "e", "d", "enter", "down")
        await until(pilot, lambda: isinstance(app.screen, NotesScreen))
        await pilot.press("T")
        await until(pilot, lambda: "[T todos 0]" in shown(app))
