"""Everything by its name, without a mouse and without knowing a key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.command import CommandPalette

from cxrlab.lab import Lab
from cxrlab.tui import palette, remembered, themes
from cxrlab.tui.screens.fill import Fill
from cxrlab.tui.screens.launch import Launch
from cxrlab.tui.screens.note import NoteForm
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.bar import PLACES
from cxrlab.tui.widgets.table import Table
from store import matching
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def test_every_word_has_to_be_in_the_name_in_any_order() -> None:
    assert palette.fit("siim mrm", "Launch mrm siim") > 0
    assert palette.fit("siim convirt", "Launch mrm siim") == 0
    assert palette.fit("", "Launch mrm siim") == 0
    best = palette.fit("launch mrm siim", "Launch mrm siim")
    assert best > palette.fit("launch mrm siim", "Launch refers_mrm siim")
    assert best > palette.fit("launch mrm siim", "Launch mrm siim 100 %")


@pytest.mark.parametrize(
    ("query", "verb", "rest"),
    [("siimaa", "", "siimaa"), ("stop deep", "stop", "deep"), ("open", "open", ""), ("", "", "")],
)
def test_what_is_to_be_done_with_a_run_may_stand_first(query: str, verb: str, rest: str) -> None:
    assert palette.verb_of(query) == (verb, rest)


def test_ids_that_begin_so_are_found_by_an_index(full_lab: Lab) -> None:
    db = open_store(full_lab.registry)
    assert matching.beginning(db, "siim", limit=2) == ["siimaa", "siimba"]
    assert matching.beginning(db, "%", limit=2) == []
    query = (
        "explain query plan select id from runs where id >= 's' and id < 's{' order by id limit 9"
    )
    assert "INDEX" in str(db.execute(query).fetchall())


async def choose(app: Any, pilot: Any, until: Wait, shown: Shown, typed: str, name: str) -> None:
    """Open the palette, type, and take the first command once it is the one that is meant."""
    await pilot.press("ctrl+p")
    await until(pilot, lambda: CommandPalette.is_open(app))
    await pilot.press(*("space" if c == " " else c for c in typed))

    def first() -> str:
        options = app.screen.query_one("CommandList").options
        return str(options[0].hit.text) if options else ""

    await until(pilot, lambda: first() == name)
    await pilot.press("enter")
    await until(pilot, lambda: not CommandPalette.is_open(app))


@pytest.mark.parametrize(
    ("typed", "name", "screen"),
    [
        ("launch mrm siim", "Launch mrm siim", Launch),
        ("fill the", "Fill the grid", Fill),
        ("write idea", "Write down: idea", NoteForm),
        ("open siimaa", "Open siimaa mrm · siim 10 % · seed 0", RunScreen),
        ("stop deepaa", "Stop deepaa deep_mrm · pretrain · seed 0", Question),
    ],
)
async def test_a_command_is_found_by_its_name_and_done(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    typed: str,
    name: str,
    screen: type,
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await choose(app, pilot, until, shown, typed, name)
        await until(pilot, lambda: isinstance(app.screen, screen))


async def test_every_place_and_theme_is_a_command_and_so_is_every_key_of_the_screen(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        names = [command.name for command in palette.commands(app, app.screen)]
        for place in PLACES.values():
            assert f"Go to {place[2:]} ({place[0]})" in names
        assert {"Export the grid", "Help", "Quit"} <= set(names)
        launches = {command.name for command in palette.launches(app)}
        assert {
            "Launch mrm pretrain",
            "Launch random siim 10 %",
            "Compare mrm with paper",
        } <= launches
        assert "Launch random pretrain" not in launches
        for key in ("⏎", "l", "f", "c", "p", "e", "y"):
            assert any(name.endswith(f"({key})") for name in names)
        for theme in themes.THEMES:
            assert f"Theme: {themes.title(theme)}" in names
        await choose(app, pilot, until, shown, "go runs", "Go to Runs (2)")
        await until(pilot, lambda: "11 runs" in shown(app))
        await choose(app, pilot, until, shown, "high", "Theme: high contrast")
        await until(pilot, lambda: app.theme == themes.CONTRAST.name)
        await pilot.press("1", "right", "right")
        await choose(app, pilot, until, shown, "copy y", "Copy (y)")
        await until(pilot, lambda: "Copy random siim 10 % Dice" in shown(app))
        await pilot.press("escape", "colon")
        await until(pilot, lambda: CommandPalette.is_open(app))
        await until(pilot, lambda: "Go to Grid (1)" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: not CommandPalette.is_open(app))


async def test_a_registry_that_cannot_be_read_leaves_the_other_commands(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    empty_lab.registry.write_bytes(b"this is no registry" * 100)
    app = make_app(empty_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "method" in shown(app) or app._notifications)
        await choose(app, pilot, until, shown, "quit", "Quit")


async def test_the_other_language_is_a_command(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await choose(app, pilot, until, shown, "中文", "Language: 中文")
        await until(pilot, lambda: remembered.recall(full_lab, "language", "") == "zh")
