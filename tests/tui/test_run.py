from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import telling
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.curve import Curve, round_steps
from cxrlab.tui.widgets.log import MOST, LogView
from store import intake, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.fixture
def opened(make_app: Wait, until: Wait) -> Callable[..., Any]:
    """Open a run and wait until it has been read."""

    async def open_run(pilot: Any, id: str) -> None:
        pilot.app.post_message(OpenRun(id))
        await until(pilot, lambda: pilot.app.screen._view is not None)
        await until(pilot, lambda: pilot.app.screen.query_one(LogView).path is not None)

    return open_run


def log_of(lab: Lab, id: str) -> Path:
    return next(lab.runs_dir.glob(f"{id}-*")) / "log.txt"


async def test_state_progress_time_left_and_losses_are_shown(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "train/loss" in shown(app))
        for said in ("▶ running", "43 %", "step 260/600", "5m 40s left", "epoch 6.50", "val/loss"):
            assert said in shown(app)
        series = app.screen.query_one(Curve).series
        assert [s.name for s in series] == ["train/loss", "val/loss"]
        assert [len(s.points) for s in series] == [260, 26]


async def test_a_run_that_ended_says_why(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "shzaaa")
        await until(pilot, lambda: "✗ failed" in shown(app))
        assert "loss is not finite at step 31: train/loss_image" in shown(app)


async def test_m_draws_the_next_metric_and_shift_m_the_one_before(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "metric 2 of 4" in shown(app))
        await pilot.press("m")
        await until(pilot, lambda: "━ val/Dice 37.3" in shown(app))
        await until(pilot, lambda: len(app.screen.query_one(Curve).series[0].points) == 26)
        await pilot.press("M", "M")
        await until(pilot, lambda: "━ perf/images_per_s 118" in shown(app))


async def test_only_new_points_are_asked_for_and_a_new_attempt_begins_anew(
    full_lab: Lab, make_app: Wait, until: Wait, opened: Wait
) -> None:
    app = make_app(full_lab)
    db = open_store(full_lab.registry)
    folder = Path(runs.get(db, "deepaa").folder)

    def say(line: str) -> None:
        with (folder / "events.jsonl").open("a") as file:
            file.write(line + "\n")
        intake.take_in(db, "deepaa", folder)

    def steps() -> list[int]:
        return [step for step, _ in app.screen.query_one(Curve).series[0].points]

    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: len(steps()) == 260)
        say('{"t": 1, "kind": "metrics", "step": 261, "epoch": 7, "values": {"train/loss": 0.5}}')
        await until(pilot, lambda: steps()[-1:] == [261])
        say('{"t": 2, "kind": "start", "step": 200, "attempt": 2, "total_steps": 600}')
        await until(pilot, lambda: steps() == list(range(1, 201)))


async def test_the_log_follows_its_end_until_one_goes_up_and_f_follows_again(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    path = log_of(full_lab, "deepaa")
    path.write_text("".join(f"line {n}\n" for n in range(500)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "line 499" in shown(app))
        with path.open("a") as file:
            file.write("one more\n")
        await until(pilot, lambda: "one more" in shown(app))
        await pilot.press("k", "pageup")
        await until(pilot, lambda: "standing still" in shown(app))
        with path.open("a") as file:
            file.write("unseen\n")
        await pilot.pause(1.0)
        assert "unseen" not in shown(app)
        await pilot.press("f")
        await until(pilot, lambda: "unseen" in shown(app) and "following" in shown(app))
        await pilot.press("g")
        await until(pilot, lambda: "line 0 " in shown(app))
        await pilot.press("G")
        await until(pilot, lambda: "unseen" in shown(app))


async def test_a_large_log_is_read_from_its_end_and_backwards_on_demand(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    path = log_of(full_lab, "deepaa")
    with path.open("wb") as file:
        file.seek(1 << 30)  # a hole of 1 GiB
        file.write(b"\n" + b"".join(b"line %07d\n" % n for n in range(60_000)))
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "line 0059999" in shown(app), limit_s=120)
        log = app.screen.query_one(LogView)
        assert len(log.lines) < MOST
        held = log.lines[0].offset
        await pilot.press("g")
        await until(pilot, lambda: log.lines[0].offset < held)
        assert path.stat().st_size > 1 << 30


async def test_hostile_text_in_a_log_is_shown_as_text(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    hostile = "[red]a[/] [/] [@click=app.quit]b[/] \x1b[2J\x1b]0;t\x07 \u202eright"
    log_of(full_lab, "deepaa").write_text(f"{hostile}\n{'y' * 10_000}END\nlast\n")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "[red]a[/] [/] [@click=app.quit]b[/] ␛[2J␛]0;t␇" in shown(app))
        assert "\x1b" not in shown(app)
        assert "\u202e" not in shown(app)
        await pilot.press(*["right"] * 3)
        log = app.screen.query_one(LogView)
        log.scroll_to(x=9_960, animate=False)
        await until(pilot, lambda: "yEND" in shown(app))
        x = log.scroll_offset.x
        await pilot.press("left")
        await until(pilot, lambda: log.scroll_offset.x == x - 8)


async def test_c_shows_every_setting_and_v_the_files(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "siimaa")
        await pilot.press("c")
        await until(pilot, lambda: "program" in shown(app) and "0.0003" in shown(app))
        await pilot.press("v")
        await until(pilot, lambda: "checkpoints/best.pt" in shown(app))
        for said in ("sha256 abab", "test/Dice", "71.2", "68.1 to 73.9", "ward7, pid 4242"):
            assert said in shown(app)
        await pilot.press("v")
        await until(pilot, lambda: "train/loss" in shown(app))
        await pilot.press("c", "escape")
        await until(pilot, lambda: "train/loss" in shown(app))
        assert isinstance(app.screen, RunScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, RunScreen))


async def test_p_opens_the_run_that_gave_the_encoder(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "siimaa")
        await until(pilot, lambda: "encoder of mrmaaa" in shown(app))
        await pilot.press("p")
        await until(pilot, lambda: "mrm · pretrain · seed 0  mrmaaa" in shown(app))


async def test_s_asks_before_it_stops_the_run(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await pilot.press("s")
        await until(pilot, lambda: "Stop deepaa?" in shown(app))
        assert "It finishes its step and writes a checkpoint" in shown(app)
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


async def test_r_on_a_failed_run_says_what_can_be_resumed(
    full_lab: Lab, make_app: Wait, until: Wait, told: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "shzaaa")
        await pilot.press("r")
        await until(pilot, lambda: "shzaaa is failed" in told(app))


async def test_a_wide_screen_shows_the_last_values_beside_the_curve(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await opened(pilot, "siimaa")
        await until(pilot, lambda: "last values" in shown(app))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "last values" not in shown(app))


@pytest.mark.parametrize(
    ("first", "last", "most", "expected"),
    [
        (1, 260, 5, [100, 200]),
        (0, 10, 6, [0, 2, 4, 6, 8, 10]),
        (3, 3, 4, [3]),
        (1, 999_999, 3, [500_000]),
    ],
)
def test_steps_on_the_axis_are_round(first: int, last: int, most: int, expected: list[int]) -> None:
    assert round_steps(first, last, most=most) == expected


@pytest.mark.parametrize(
    ("metric", "number", "expected"),
    [
        ("val/Dice", 0.7123, "71.2"),
        ("test/AUROC", 0.9, "90.0"),
        ("train/loss", 0.7123, "0.7123"),
        ("perf/images_per_s", 118.0, "118"),
        ("val/Dice", None, "-"),
    ],
)
def test_scores_are_percent_and_losses_are_not(
    metric: str, number: float | None, expected: str
) -> None:
    assert telling.value(metric, number) == expected
