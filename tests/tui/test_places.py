"""Where one is stays so: over new settings, another language, another size; numbers lead back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual import events

from cxrlab.lab import Lab
from cxrlab.tui import remembered
from cxrlab.tui.app import AGAIN
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.gpus import GpusScreen
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.launch import Launch
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.runs import RunsScreen
from store import notes, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

NAMED = {"/": "slash", " ": "space"}


async def test_the_number_of_the_place_one_is_in_leads_to_its_beginning(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, CellScreen))
        await pilot.press("1")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        await pilot.press("2")
        await until(pilot, lambda: "deepaa" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("1", "2")  # from elsewhere it leads to where one was
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_comment_in_the_settings_changes_nothing_on_the_screen(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "deepaa" in shown(app))
        app.screen.narrow("mrm")
        await until(pilot, lambda: " of " in shown(app))
        screen = app.screen
        text = full_lab.settings_file.read_text()
        full_lab.settings_file.write_text(f"{text}\n# a word to myself\n")
        await pilot.pause(1.0)
        full_lab.settings_file.write_text(text.replace("cpu_slots = 2", "cpu_slots = 3"))
        await until(pilot, lambda: "was read again" in told(app))
        assert app.screen is not screen  # the one before it did nothing of the kind


async def test_another_language_begins_where_one_was(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        await pilot.press("4", "f2")
        await until(pilot, lambda: app.return_value == AGAIN)
    again = make_app(full_lab, place=app.place)
    async with again.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(again.screen, GpusScreen))
        assert remembered.recall(full_lab, "language", "en") == "zh"


async def test_what_is_drawn_by_the_width_is_drawn_anew_with_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "5m 40s left" in shown(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "5m 40s left" in shown(app))
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "step 260/600" in shown(app))
        narrow = shown(app).count("░")
        await pilot.resize_terminal(200, 60)
        await until(pilot, lambda: shown(app).count("░") > narrow)


@pytest.mark.parametrize("opened", [False, True])
async def test_a_run_that_is_gone_is_left_and_that_is_said_once(
    opened: bool, full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        db = open_store(full_lab.registry)
        if not opened:
            runs.remove(db, "rndccc")
        app.post_message(OpenRun("rndccc"))
        if opened:
            await until(pilot, lambda: "rndccc" in shown(app) and app.screen.subject == "rndccc")
            runs.remove(db, "rndccc")
        await until(pilot, lambda: "rndccc is gone" in told(app))
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        db.close()
        assert told(app).count("rndccc") == 1


async def test_a_key_pressed_twice_opens_one_form(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        await pilot.press("down")
        app.screen.action_launch()
        app.screen.action_launch()
        await until(pilot, lambda: isinstance(app.screen, Launch))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


async def test_a_long_note_is_scrolled_by_keys_and_stays_where_it_is_read(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    db = open_store(full_lab.registry)
    text = "\n".join(f"line {n}" for n in range(40))
    notes.add(db, notes.NewEntry("todo", text, state="open", written="2026-11-01 10:00"))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("5")
        await until(pilot, lambda: "line 3" in shown(app))
        await pilot.press(*["right_square_bracket"] * 20)
        await until(pilot, lambda: "line 39" in shown(app))
        notes.add(db, notes.NewEntry("note", "another", written="2026-10-01 10:00"))
        await until(pilot, lambda: "another" in shown(app))
        assert "line 39" in shown(app)
        await pilot.press(*["left_square_bracket"] * 20)
        await until(pilot, lambda: "line 2" in shown(app) and "line 39" not in shown(app))
    db.close()


async def test_what_draws_a_curve_turns_to_the_curves(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "metric 2 of" in shown(app))
        for key in ("m", "M", "L", "S"):
            await pilot.press("c")
            await until(pilot, lambda: app.screen.page == "config-page")
            await pilot.press(key)
            await until(pilot, lambda: app.screen.page == "watch")


async def test_a_run_that_starts_from_nothing_says_so(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        app.post_message(OpenRun("deepaa"))
        await until(pilot, lambda: "step 260/600" in shown(app))
        await pilot.press("p")
        await until(pilot, lambda: "starts from no run" in told(app))


@pytest.mark.parametrize(("place", "field"), [("2", "#filter"), ("run", "#log-search")])
async def test_what_is_typed_in_one_burst_lands_in_the_field_that_its_first_key_opens(
    place: str, field: str, full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "deep_mrm" in shown(app))
        if place == "run":
            app.post_message(OpenRun("deepaa"))
        else:
            await pilot.press(place)
        await until(pilot, lambda: "deepaa" in shown(app) and app.screen.focused is not None)
        for letter in "/random s":
            app.post_message(events.Key(NAMED.get(letter, letter), letter))
        await until(pilot, lambda: app.screen.query_one(field).value == "random s")
        assert told(app) == ""  # `r`, `o` and `s` have done nothing else
