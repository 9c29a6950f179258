"""The list of runs stays where one looks, and does what was asked for once it can."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from textual import events

from cxrlab.lab import Lab
from cxrlab.tui import acting
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.runs import RunsScreen
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.table import Table
from store import runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def line_of(app: Any, id: str) -> int:
    """Return the line of the screen on which a run stands."""
    lines = [strip.text for strip in app.screen._compositor.render_strips()]
    return next((n for n, line in enumerate(lines) if line[1:].startswith(id)), -1)


async def test_new_runs_move_neither_the_cursor_nor_the_rows_under_the_eyes(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 12)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "deepaa" in shown(app))
        await pilot.press(*["down"] * 5)  # the lowest row in view
        chosen = app.screen.selected.id
        line = line_of(app, chosen)
        assert line > 0
        for n in range(3):
            add_run(full_lab, f"newon{n}", "random", "siim", ratio=100, state="queued")
        await until(pilot, lambda: app.screen.query_one(Table).row == 8)
        await until(pilot, lambda: line_of(app, chosen) == line)
        assert app.screen.selected.id == chosen


@pytest.mark.parametrize("key", ["g", "up", "home", "pageup"])
async def test_after_the_wheel_a_key_comes_back_to_the_cursor(
    key: str, full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 12)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "deepaa" in shown(app))
        table = app.screen.query_one(Table)
        for _ in range(6):
            await pilot._post_mouse_events([events.MouseScrollDown], Table)
        await until(pilot, lambda: table.scroll_offset.y > 0)
        await pilot.press(key)
        await until(pilot, lambda: table.scroll_offset.y == 0)


async def test_a_filter_begins_at_its_first_run_wherever_one_had_scrolled(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 10)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "deepaa" in shown(app))
        table = app.screen.query_one(Table)
        table.scroll_to(y=5, animate=False)
        await pilot.press("slash", *"random")
        await until(pilot, lambda: " of " in shown(app) and table.scroll_offset.y == 0)


async def test_a_mark_goes_with_its_run(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "rndaaa" in shown(app))
        app.screen.narrow("rndaaa")
        await until(pilot, lambda: "1 of " in shown(app))
        await pilot.press("space")
        await until(pilot, lambda: "1 marked" in shown(app))
        db = open_store(full_lab.registry)
        runs.remove(db, "rndaaa")
        db.close()
        await until(pilot, lambda: "1 marked" not in shown(app))
        assert app.screen.chosen() == []


async def test_enter_opens_a_run_that_has_yet_to_be_read(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        screen = app.screen
        view = screen._view
        screen._view = view._replace(asked=view.asked._replace(offset=100))  # others are held
        await pilot.press("enter")
        assert app.screen is screen
        screen.post_message(RunsScreen.Read(view))
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        assert app.screen.run_id == view.rows[0].id


async def test_a_question_comes_where_it_was_asked_for_or_not_at_all(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    told: Shown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    weighed = []

    def slow(chosen: Any, lab: Lab) -> int:
        time.sleep(1.0)
        weighed.append(chosen)
        return 5

    monkeypatch.setattr(acting, "freed", slow)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "rndaaa" in shown(app))
        app.screen.narrow("rndaaa")
        await until(pilot, lambda: "1 of " in shown(app))
        await pilot.press("X")
        await until(pilot, lambda: "adding up" in told(app))
        await pilot.press("1")
        await until(pilot, lambda: weighed)
        await pilot.pause(0.1)
        assert isinstance(app.screen, GridScreen)
        await pilot.press("2", "X", "X")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await until(pilot, lambda: len(weighed) == 3)
        await pilot.press("n")
        await pilot.pause(0.1)
        assert isinstance(app.screen, RunsScreen)  # and no second one follows


async def test_the_foot_offers_what_the_runs_chosen_are_in_a_state_for(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    def foot() -> str:
        return str(app.screen.query_one(Foot).render())

    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "s Stop" in foot() and "Resume" not in foot())  # queued
        row = [run.id for run in app.screen._view.rows].index("rndbbb")
        app.screen.query_one(Table).move_to(row)
        await until(pilot, lambda: "r Resume" in foot() and "Stop" not in foot())  # stopped
        await pilot.press("space")
        app.screen.query_one(Table).move_to(0)
        await pilot.press("space")
        await until(pilot, lambda: "r Resume" in foot() and "s Stop" in foot())  # one of each
        await pilot.press("slash")
        await until(pilot, lambda: "/ Filter" not in foot())


async def test_folding_a_list_in_no_groups_says_what_makes_some(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "rndaaa" in shown(app))
        await pilot.press("z")
        await until(pilot, lambda: "`B` makes some" in told(app))
