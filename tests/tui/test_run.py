from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import reading_run, telling
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.curve import Curve, round_steps, round_values
from cxrlab.tui.widgets.log import LogView
from store import intake, notes, runs
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


async def test_c_shows_every_setting_and_v_the_files(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 60)) as pilot:
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


async def test_l_draws_by_the_logarithm_and_s_smooths_more_and_then_not_at_all(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        curve = app.screen.query_one(Curve)
        await until(pilot, lambda: curve.series and len(curve.series[0].points) == 260)
        raw = curve.series[0].points
        await pilot.press("L")
        await until(pilot, lambda: "log scale" in shown(app) and curve.logarithmic)
        assert curve.series[0].points == raw
        for said in ("smoothed 0.6", "smoothed 0.9"):
            await pilot.press("S")
            await until(pilot, lambda said=said: said in shown(app))
            smooth = curve.series[0].points
            assert [step for step, _ in smooth] == [step for step, _ in raw]
            assert smooth[0] == pytest.approx(raw[0])
            assert smooth[-1] != raw[-1]
        await pilot.press("S", "L")
        await until(pilot, lambda: "smoothed" not in shown(app) and "log scale" not in shown(app))
        assert curve.series[0].points == raw


async def test_o_draws_the_same_metric_of_another_run_of_the_method_over_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "siimaa")
        await until(pilot, lambda: "━ train/loss" in shown(app))
        await pilot.press("O")
        await until(pilot, lambda: "siimca mrm siim" in shown(app))
        assert "no other run" in shown(app)
        assert "rndaaa" not in shown(app)
        assert "siimaa mrm" not in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: "═ siimca 0.6322" in shown(app))
        curve = app.screen.query_one(Curve)
        await until(pilot, lambda: len(curve.series[-1].points) == 120)
        assert [one.name for one in curve.series] == ["train/loss", "val/loss", "siimca"]
        await pilot.press("m")
        await until(pilot, lambda: [one.name for one in curve.series] == ["val/Dice", "siimca"])
        await until(pilot, lambda: len(curve.series[-1].points) == 12)
        await pilot.press("O")
        await until(pilot, lambda: "no other run" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "═ siimca" in shown(app))
        await pilot.press("O")
        await until(pilot, lambda: "no other run" in shown(app))
        await pilot.press("g", "enter")
        await until(pilot, lambda: "═ siimca" not in shown(app) and "val/Dice" in shown(app))


async def test_d_shows_in_which_settings_a_run_differs_from_another(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    config = log_of(full_lab, "siimba").parent / "config.json"
    config.write_text('{"program": "finetune", "method": "mrm", "lr": 0.001, "[red]x": "[/]"}')
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "siimaa")
        await pilot.press("D")
        await until(pilot, lambda: "siimba mrm siim" in shown(app))
        assert "the paper's preset" in shown(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: "differs from siimba in" in shown(app))
        assert "0.0003  there 0.001" in shown(app)
        assert "[red]x" in shown(app)
        assert "every setting" in shown(app)


async def test_settings_that_agree_are_said_to_and_a_missing_file_is_named(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    (log_of(full_lab, "siimba").parent / "config.json").unlink()
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "siimaa")
        await pilot.press("D")
        await until(pilot, lambda: "siimca mrm siim" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "nothing but seed and places" in shown(app))
        await pilot.press("D")
        await until(pilot, lambda: "siimba mrm siim" in shown(app))
        await pilot.press("down", "enter")
        await until(pilot, lambda: "there is no config.json of siimba" in shown(app))


@pytest.mark.slow
def test_a_fine_tuning_is_compared_with_what_its_trainer_makes_of_the_paper(full_lab: Lab) -> None:
    found = reading_run.read_differences(full_lab, "siimaa", "")
    assert found.other == reading_run.PAPER
    assert found.differences is not None
    changed = {each.name: each for each in found.differences}
    assert changed["lr"].after == 3e-4
    assert changed["batch_size"].before is not None
    assert changed["batch_size"].after is None


async def test_what_to_do_next_and_what_was_noted_stand_over_the_curve(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    db = open_store(full_lab.registry)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "shlaaa")
        await until(pilot, lambda: "→ `cxrlab resume shlaaa` goes on" in shown(app))
        note = notes.NewEntry("note", "[red]node ward7 was rebooted[/]", about="shlaaa")
        notes.add(db, note)
        await until(pilot, lambda: "✎ [red]node ward7 was rebooted[/]" in shown(app))
        await pilot.press("escape")
        await opened(pilot, "siimaa")
        await until(pilot, lambda: "siimaa" in shown(app) and "━ train/loss" in shown(app))
        assert "→" not in shown(app)


async def test_y_copies_the_command(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, opened: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await pilot.press("y")
        await until(pilot, lambda: "in the clipboard" in told(app))
        assert app.clipboard == "python -m trainers.finetune"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-3.0, 1.0, [0.001, 0.01, 0.1, 1.0, 10.0]),
        (-0.5, 0.5, [1.0, 3.0]),
        (-0.19, 0.2, [0.7, 1.0, 1.5]),
        (0.01, 0.02, [1.02, 1.05]),
        (0.0, 0.0, [1.0]),
    ],
)
def test_values_on_a_logarithmic_axis_are_round(
    low: float, high: float, expected: list[float]
) -> None:
    assert round_values(low, high, most=6) == pytest.approx(expected)


def test_many_powers_of_ten_are_thinned() -> None:
    assert len(round_values(-9, 9, most=4)) <= 4


async def test_a_run_whose_folder_is_gone_says_so_and_how_to_forget_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, opened: Wait
) -> None:
    folder = log_of(full_lab, "shlaaa").parent
    shutil.rmtree(folder)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "shlaaa")
        await until(pilot, lambda: f"! its folder {folder.name} is gone" in shown(app))
        await until(pilot, lambda: "there is no log any more" in shown(app))
        await pilot.resize_terminal(120, 24)
        await until(pilot, lambda: "`cxrlab rm shlaaa` forgets the run" in shown(app))


async def test_the_foot_names_what_can_be_done_to_the_run_as_its_state_is(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, opened: Wait
) -> None:
    def keys() -> str:
        return shown(app).splitlines()[-1]

    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, "deepaa")
        await until(pilot, lambda: "s Stop" in keys() and "r Resume" not in keys())
        db = open_store(full_lab.registry)
        runs.change_state(db, "deepaa", "failed", reason="ValueError: odd")
        await until(pilot, lambda: "✗ failed" in shown(app) and "s Stop" not in keys())
        assert "r Resume" not in keys()
        await pilot.press("s")  # and the key says why
        await until(pilot, lambda: "deepaa is failed: there is nothing to stop" in told(app))
        runs.change_state(db, "deepaa", "stopped")
        await until(pilot, lambda: "r Resume" in keys() and "s Stop" not in keys())
        db.close()
