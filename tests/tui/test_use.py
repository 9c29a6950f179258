"""What a run used of its machine, in the dashboard."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import remembered
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.curve import round_times
from cxrlab.tui.widgets.curves import CurvePane
from store import intake, runs, use
from store.db import open_store

Wait = Callable[..., Awaitable[None]]
HOURS = 5


@pytest.fixture
def used_lab(full_lab: Lab) -> Lab:
    """Its run `deepaa` was seen on two GPUs for five hours; at the end they were idle."""
    db = open_store(full_lab.registry)
    folder = Path(runs.get(db, "deepaa").folder)
    with (folder / use.FILE_NAME).open("w") as file:
        for minute in range(1, HOURS * 60 + 1):
            busy = 92 + 5 * math.sin(minute) if minute < 270 else 12.0
            values = {f"gpu/{n}/utilization": busy - 6 * n for n in range(2)}
            values |= {"gpu/0/power": 480.0, "gpu/0/memory": 61.5, "host/cpu": 380.0}
            stretch = {"t": 1.0, "attempt": 1, "at": 60 * minute, "s": 60, "values": values}
            file.write(json.dumps(stretch) + "\n")
    db.conn.execute("update runs set gpus = 2 where id = 'deepaa'")
    intake.take_in(db, "deepaa", folder)
    db.conn.close()
    return full_lab


async def open_run(app: CxrlabApp, pilot: Any, until: Wait) -> RunScreen:
    app.post_message(OpenRun("deepaa"))
    await until(pilot, lambda: isinstance(app.screen, RunScreen))
    screen = app.screen
    assert isinstance(screen, RunScreen)
    await until(pilot, lambda: screen._view is not None)
    return screen


async def test_u_turns_from_the_losses_to_the_gpus_and_back(
    used_lab: Lab, make_app: Callable[..., CxrlabApp], until: Wait, shown: Callable[..., str]
) -> None:
    app = make_app(used_lab)
    async with app.run_test(size=(140, 50)) as pilot:
        screen = await open_run(app, pilot, until)
        pane = screen.query_one(CurvePane)
        await until(pilot, lambda: "train/loss" in shown(app))
        assert "gpu/0" not in shown(app)
        await pilot.press("u")
        await until(pilot, lambda: "gpu/1/utilization" in shown(app) and "4h" in shown(app))
        assert len(pane.query_one("#curve").series) == 2  # type: ignore[attr-defined]
        assert pane.metric == "gpu/0/utilization"
        await pilot.press("m")
        assert pane.metric == "gpu/0/memory"
        await pilot.press("M", "right")
        await until(pilot, lambda: "after 5h 00m" in shown(app))
        await pilot.press("u")
        await until(pilot, lambda: "train/loss" in shown(app))
        assert "gpu/1" not in shown(app)


async def test_a_run_says_what_it_used_and_that_its_gpus_are_idle(
    used_lab: Lab, make_app: Callable[..., CxrlabApp], until: Wait, shown: Callable[..., str]
) -> None:
    app = make_app(used_lab)
    async with app.run_test(size=(140, 50)) as pilot:
        await open_run(app, pilot, until)
        await until(pilot, lambda: "peak GPU memory" in shown(app))
        assert "61.5 GiB" in shown(app)
        assert "its GPUs were busy 9 % of the last ten minutes" in shown(app)


async def test_of_a_run_that_nobody_saw_u_says_so(
    full_lab: Lab, make_app: Callable[..., CxrlabApp], until: Wait, told: Callable[..., str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 40)) as pilot:
        await open_run(app, pilot, until)
        await pilot.press("u")
        await until(pilot, lambda: "nobody has seen yet what it uses" in told(app))


async def test_the_list_of_runs_can_have_columns_of_it(
    used_lab: Lab, make_app: Callable[..., CxrlabApp], until: Wait, shown: Callable[..., str]
) -> None:
    remembered.remember(used_lab, "run_columns", ["gpu-hours", "busy"])
    app = make_app(used_lab)
    async with app.run_test(size=(140, 50)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "GPU hours" in shown(app))
        row = next(line for line in shown(app).splitlines() if "deepaa" in line)
        assert row.split()[-2:] == ["81", "%"], row


def test_round_times() -> None:
    assert round_times(0, 7200, most=5) == [0, 1800, 3600, 5400, 7200]
    assert round_times(0, 61 * 3600, most=7) == [n * 12 * 3600 for n in range(6)]
    assert round_times(95, 118, most=4) == [100, 110]
    assert len(round_times(0, 400 * 86400, most=6)) <= 6
