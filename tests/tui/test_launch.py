from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.errors import Usage
from cxrlab.lab import Lab
from cxrlab.tui.messages import OpenLaunch
from cxrlab.tui.screens.launch import MOST_SEEDS, Launch, seeds_of
from cxrlab.tui.widgets.choice import Choice
from store import runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.mark.parametrize(
    ("typed", "seeds"),
    [("0", (0,)), ("0,1,2", (0, 1, 2)), ("2 0", (2, 0)), ("0-3", (0, 1, 2, 3)), ("1,1", (1,))],
)
def test_seeds_are_a_list_or_a_range(typed: str, seeds: tuple[int, ...]) -> None:
    assert seeds_of(typed) == seeds


@pytest.mark.parametrize("typed", ["", "a", "-1", "1-", "0-99999999", "3-1", "[red]"])
def test_what_is_no_seed_is_refused(typed: str) -> None:
    with pytest.raises(Usage):
        seeds_of(typed)
    assert len(seeds_of(f"0-{MOST_SEEDS - 1}")) == MOST_SEEDS


async def test_the_form_says_what_runs_first(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("deep_mrm", "siim", 100))
        await until(pilot, lambda: "1  deep_mrm siim 100 % seed 0" in shown(app))
        assert "waits for deepaa" in shown(app)
        await pilot.press("left")  # the paper preset has no pre-training yet
        await until(pilot, lambda: "1  deep_mrm pretrain seed 0" in shown(app))
        assert "2  deep_mrm siim 100 % seed 0" in shown(app)


async def test_enter_before_the_plan_is_there_launches_what_it_becomes(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    work_out, gate = Launch._work_out, threading.Event()

    def late(self: Launch, preset: str, typed: str) -> Any:
        gate.wait(60)
        return work_out(self, preset, typed)

    monkeypatch.setattr(Launch, "_work_out", late)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: isinstance(app.screen, Launch))
        await pilot.press("enter")
        gate.set()
        await until(pilot, lambda: "does not say where" in shown(app).replace("\n", " "))


async def test_seeds_typed_change_what_is_listed(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "1  random siim 100 % seed 0" in shown(app))
        await pilot.press("tab", "end", "comma", "4")
        await until(pilot, lambda: "2  random siim 100 % seed 4" in shown(app))
        await pilot.press("x")
        await until(pilot, lambda: "expected a form like" in shown(app))
        assert "random siim 100 % seed 4" not in shown(app)
        await pilot.press("enter")
        await pilot.pause(0.3)
        assert isinstance(app.screen, Launch)


async def test_arrows_go_between_fields_and_space_chooses(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "what runs" in shown(app))
        await pilot.press("down", "down", "space", "right", "left")
        assert app.screen.query_one("#gpus", Choice).value == "cpu"
        await pilot.press("up", "up", "h")
        assert app.screen.query_one("#preset", Choice).value == "paper"


async def test_a_lab_without_data_says_so_and_queues_nothing(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        app.post_message(OpenLaunch("random", "siim", 100))
        await until(pilot, lambda: "1  random siim 100 % seed 0" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "does not say where" in shown(app).replace("\n", " "))
        assert "[data.siim]" in shown(app)
        assert isinstance(app.screen, Launch)
    db = open_store(full_lab.registry)
    assert runs.count(db) == 11
