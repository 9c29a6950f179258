"""Reading values off a run's curves: a cursor, and a window of steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import reading_run, telling
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.cursor import Place, moved, nearest, within, zoomed
from cxrlab.tui.widgets.curve import Curve
from cxrlab.tui.widgets.curves import CurvePane
from cxrlab.tui.widgets.log import LogView
from store import intake, points, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]
EVERY = (1, 1000)


@pytest.fixture
def opened(until: Wait) -> Callable[..., Any]:
    """Open a run and wait until so many points of its first curve are drawn."""

    async def open_run(pilot: Any, id: str, count: int) -> CurvePane:
        pilot.app.post_message(OpenRun(id))
        await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
        curve = pilot.app.screen.query_one(Curve)
        await until(pilot, lambda: curve.series and len(curve.series[0].points) == count)
        await until(pilot, lambda: pilot.app.screen.query_one(LogView).path)
        pane: CurvePane = pilot.app.screen.query_one(CurvePane)
        return pane

    return open_run


def logged(lab: Lab, id: str, metric: str) -> dict[int, float]:
    db = open_store(lab.registry)
    try:
        return dict(points.curve(db, id, metric))
    finally:
        db.close()


async def test_shift_left_shows_the_cursor_and_left_and_right_read_what_the_registry_has(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    train, val = (logged(full_lab, "deepaa", f"{split}/loss") for split in ("train", "val"))
    app = make_app(full_lab)
    async with app.run_test(size=(110, 30)) as pilot:
        pane = await opened(pilot, "deepaa", 260)
        assert "step 260 · epoch" not in shown(app)
        await pilot.press("shift+left")
        await until(pilot, lambda: "step 260 · epoch 6.50 · train/loss" in shown(app))
        for key, way in (("left", -1), ("shift+left", -1), ("right", 1), ("shift+right", 1)):
            before = pane.place.cursor
            await pilot.press(key)
            await until(pilot, lambda before=before: pane.place.cursor != before)
            assert (pane.place.cursor - before) * way > (15 if "shift" in key else 0)
        await pilot.press("shift+left", "left")
        await until(pilot, lambda: pane.place.cursor < 240)
        step = pane.place.cursor
        near = val[min(val, key=lambda each: abs(each - step))]
        for number in (train[step], near):
            said = telling.value("train/loss", number)
            await until(pilot, lambda said=said: said in reading_line(app))
        assert f"step {step} " in reading_line(app)
        assert app.screen.query_one(Curve).cursor == step


def reading_line(app: Any) -> str:
    return str(app.screen.query_one("#curve-reading").render())


async def test_tab_shows_it_too_and_escape_hides_it_before_it_leaves(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(110, 30)) as pilot:
        await opened(pilot, "deepaa", 260)
        line = app.screen.query_one("#curve-reading")
        await pilot.press("tab")
        await until(pilot, lambda: line.display and "step 260" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: not line.display)
        assert isinstance(app.screen, RunScreen)
        assert isinstance(app.focused, LogView)
        await pilot.press("tab", "tab")
        await until(pilot, lambda: not line.display)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RunScreen))


async def test_left_is_the_logs_where_its_lines_are_wider_than_the_screen(
    full_lab: Lab, make_app: Wait, until: Wait, opened: Wait
) -> None:
    log = next(full_lab.runs_dir.glob("deepaa-*")) / "log.txt"
    app = make_app(full_lab)
    async with app.run_test(size=(110, 30)) as pilot:
        pane = await opened(pilot, "deepaa", 260)
        await pilot.press("left")
        await until(pilot, lambda: pane.has_focus and pane.place.cursor == 260)
        await pilot.press("escape")
        with log.open("a") as file:
            file.write("x" * 500 + "\n")
        view = app.screen.query_one(LogView)
        await until(pilot, lambda: view.max_scroll_x > 0)
        await pilot.press("right")
        await until(pilot, lambda: view.scroll_offset.x == 8)
        assert not pane.has_focus


async def test_plus_and_minus_zoom_the_edge_pans_and_0_shows_all(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(110, 30)) as pilot:
        pane = await opened(pilot, "deepaa", 260)
        curve = app.screen.query_one(Curve)
        await pilot.press("plus")
        await until(pilot, lambda: "steps 130 to 260" in shown(app))
        await until(pilot, lambda: len(curve.series[0].points) == 131)
        await pilot.press("plus", "plus")
        await until(pilot, lambda: curve.window == (228, 260))
        await pilot.press("tab", *["shift+left"] * 20)
        await until(pilot, lambda: curve.window and curve.window[1] < 240)
        first, last = pane.place.window
        assert (pane.place.cursor, last - first) == (first, 32)
        await until(
            pilot, lambda: [s for s, _ in curve.series[0].points] == [*range(first, last + 1)]
        )
        await pilot.press("minus")
        await until(pilot, lambda: curve.window and curve.window[1] - curve.window[0] == 64)
        await pilot.press("0")
        await until(pilot, lambda: curve.window is None and len(curve.series[0].points) == 260)
        assert "steps " not in str(app.screen.query_one("#curve-title").render())


@pytest.mark.parametrize(
    ("step", "kept"),
    [(250, True), (230, True), (100, False)],  # from which the new attempt goes on
)
async def test_a_new_attempt_leaves_the_steps_shown_unless_it_has_none_of_them(
    step: int, kept: bool, full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    db = open_store(full_lab.registry)
    folder = Path(runs.get(db, "deepaa").folder)
    async with app.run_test(size=(110, 30)) as pilot:
        pane = await opened(pilot, "deepaa", 260)
        await pilot.press("plus", "plus", "plus", "shift+left", "left")
        await until(pilot, lambda: "steps 228 to 260" in shown(app) and pane.place.cursor == 259)
        curve = app.screen.query_one(Curve)
        with (folder / "events.jsonl").open("a") as file:
            start = {"t": 2, "kind": "start", "step": step, "attempt": 2, "total_steps": 600}
            file.write(json.dumps(start) + "\n")
        intake.take_in(db, "deepaa", folder)
        first = 228 if kept else 1
        steps = [*range(first, step + 1)]
        await until(pilot, lambda: [s for s, _ in curve.series[0].points] == steps)
        place = Place(step, (228, 260) if kept else None)
        await until(pilot, lambda: pane.place == place)
        assert [s for s, _ in curve.series[0].points] == steps
    db.close()


async def test_it_reads_what_is_smoothed_overlaid_and_on_a_log_scale_of_the_next_metric_too(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(160, 40)) as pilot:
        pane = await opened(pilot, "siimaa", 120)
        await pilot.press("tab", "O")
        await until(pilot, lambda: "siimca mrm siim" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: " · siimca 0.6322" in shown(app))
        assert pane.has_focus
        await pilot.press("L", "S", "plus", "left")
        await until(pilot, lambda: "smoothed 0." in reading_line(app))
        await until(pilot, lambda: pane.place.cursor == 119 and "step 119" in reading_line(app))
        await until(pilot, lambda: len(app.screen.query_one(Curve).series[-1].points) > 50)
        await pilot.press("m")
        value = telling.value("val/Dice", logged(full_lab, "siimaa", "val/Dice")[120])
        await until(pilot, lambda: f"val/Dice {value}" in reading_line(app))


async def test_a_window_shows_what_a_whole_long_curve_hides(
    full_lab: Lab, make_app: Wait, until: Wait, opened: Wait
) -> None:
    db = open_store(full_lab.registry)
    folder = Path(runs.get(db, "deepaa").folder)
    with (folder / "events.jsonl").open("a") as file:
        for step in range(261, 3001):
            file.write(
                f'{{"t": {step}, "kind": "metrics", "step": {step}, "epoch": {step / 40},'
                f' "values": {{"train/loss": {step % 7}}}}}\n'
            )
    intake.take_in(db, "deepaa", folder)
    db.close()
    app = make_app(full_lab)
    async with app.run_test(size=(110, 30)) as pilot:
        await opened(pilot, "deepaa", reading_run.MOST_POINTS)
        await pilot.press("plus", "plus", "plus")
        curve = app.screen.query_one(Curve)
        expected = list(range(2625, 3001))
        await until(pilot, lambda: [step for step, _ in curve.series[0].points] == expected)


def test_a_part_of_a_curve_is_read_from_its_first_to_its_last_step(full_lab: Lab) -> None:
    asked = [("deepaa", "train/loss"), ("siimca", "never")]
    found = reading_run.read_window(full_lab, asked, 20, 29)
    assert [step for step, _ in found["deepaa", "train/loss"]] == list(range(20, 30))
    assert found["siimca", "never"] == ()


@pytest.mark.parametrize(
    ("place", "by", "expected"),
    [
        (Place(), -1, Place(1000)),
        (Place(500), -1, Place(490)),
        (Place(500), 10, Place(600)),
        (Place(1000), 1, Place(1000)),
        (Place(3), -1, Place(1)),
        (Place(500, (400, 500)), 1, Place(501, (401, 501))),
        (Place(400, (400, 500)), -10, Place(390, (390, 490))),
        (Place(1000, (900, 1000)), 10, Place(1000, (900, 1000))),
        (Place(450, (449, 453)), 1, Place(451, (449, 453))),
    ],
)
def test_the_cursor_moves_by_columns_and_takes_the_window_along(
    place: Place, by: int, expected: Place
) -> None:
    first, last = place.window or EVERY
    assert moved(place, range(first, last + 1), EVERY, 100, by) == expected


def test_a_column_without_a_point_is_passed_over() -> None:
    assert moved(Place(300), [100, 200, 300], EVERY, 100, -1) == Place(200)


@pytest.mark.parametrize(
    ("place", "factor", "expected"),
    [
        (Place(), 0.5, (500, 1000)),
        (Place(1), 0.5, (1, 501)),
        (Place(300, (200, 400)), 0.5, (250, 350)),
        (Place(300, (298, 302)), 0.5, (298, 302)),
        (Place(990, (900, 1000)), 2, (800, 1000)),
        (Place(300, (200, 800)), 2, None),
    ],
)
def test_zooming_keeps_the_cursor_in_its_column(place: Place, factor: float, expected: Any) -> None:
    assert zoomed(place, EVERY, factor) == Place(place.cursor, expected)


def test_points_are_found_by_their_step() -> None:
    curve = [(10, 1.0), (20, 2.0), (40, 4.0)]
    assert [nearest(curve, step) for step in (0, 15, 30, 99)] == [curve[0], *curve]
    assert nearest([], 5) is None
    assert within(curve, (10, 20)) == curve[:2]
    assert within(curve, None) == curve
