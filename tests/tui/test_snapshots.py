"""How every screen looks: a changed picture is looked at, then accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import themes
from cxrlab.tui.messages import OpenLaunch, OpenRun

Wait = Callable[..., Any]
Shown = Callable[[Any], str]
SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])


async def settled(pilot: Any, shown: Shown) -> None:
    """Wait until nothing has changed on the screen for half a second, however slow the machine."""
    before, same = "", 0
    for _ in range(600):  # what never rests is compared as it is, and differs
        if same == 5:
            return
        await pilot.pause(0.1)
        now = shown(pilot.app)
        before, same = now, same + 1 if now == before else 0


@pytest.fixture
def looks_as_before(snap_compare: Wait, until: Wait, shown: Shown) -> Callable[..., bool]:
    """Press keys, wait until the words are there, and compare with the accepted picture."""

    def compare(
        app: Any, size: tuple[int, int], *keys: str, opening: Any = None, words: tuple[str, ...]
    ) -> bool:
        async def come_there(pilot: Any) -> None:
            await until(pilot, lambda: "GPU: asking" not in shown(app) and "cxrlab" in shown(app))
            await until(pilot, lambda: "method" in shown(app))
            if opening is not None:
                app.post_message(opening)
                await settled(pilot, shown)
            for key in keys:
                await pilot.press(key)
                await settled(pilot, shown)
            await until(pilot, lambda: all(word in shown(app) for word in words))
            await settled(pilot, shown)

        same: bool = snap_compare(app, terminal_size=size, run_before=come_there)
        return same

    return compare


@SIZES
def test_the_grid_of_an_empty_lab(
    empty_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("Nothing has run", "nothing under way")
    assert looks_as_before(make_app(empty_lab), size, words=words)


@SIZES
def test_the_grid_with_every_state(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    keys = ("down", "right", "right")
    words = ("72.2 ±1.0", "1 running", "under way")
    assert looks_as_before(make_app(full_lab), size, *keys, words=words)


def test_the_grid_in_the_light_theme(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("72.2 ±1.0", "1 running")
    assert looks_as_before(make_app(full_lab), (80, 24), "t", words=words)
    assert themes.LIGHT.dark is False


@SIZES
def test_eight_gpus_on_the_strip(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, gpus_on_paper: Any, size: Any
) -> None:
    app = make_app(full_lab, probe=gpus_on_paper)
    assert looks_as_before(app, size, words=("GPU 0", "1 running"))


def test_the_runs_of_an_empty_lab(empty_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    assert looks_as_before(make_app(empty_lab), (80, 24), "2", words=("no run yet", "0 runs"))


@SIZES
def test_the_runs_in_every_state(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("mrmaaa", "11 runs", "1 running")
    assert looks_as_before(make_app(full_lab), size, "2", "down", "down", words=words)


def test_the_runs_filtered(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    keys = ("2", "slash", *"siim")
    words = ("5 of 11 runs", "1 running")
    assert looks_as_before(make_app(full_lab), (80, 24), *keys, words=words)


@SIZES
def test_a_run_that_runs(full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("train/loss", "step 30", "1 running")
    assert looks_as_before(make_app(full_lab), size, opening=OpenRun("deepaa"), words=words)


def test_a_run_that_waits(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("no value yet", "the log is empty", "waits for deepaa")
    assert looks_as_before(make_app(full_lab), (80, 24), opening=OpenRun("deepbb"), words=words)


def test_the_settings_of_a_run(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("program", "finetune")
    app = make_app(full_lab)
    assert looks_as_before(app, (80, 24), "c", opening=OpenRun("siimaa"), words=words)


@SIZES
def test_the_files_of_a_run(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("attempts", "sha256")
    app = make_app(full_lab)
    assert looks_as_before(app, size, "v", opening=OpenRun("siimaa"), words=words)


@SIZES
def test_what_stands_behind_a_cell(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    keys = ("down", "right", "right", "enter")
    assert looks_as_before(make_app(full_lab), size, *keys, words=("siimaa", "last "))


def test_the_form_that_launches(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    opening = OpenLaunch("deep_mrm", "shenzhen", 100)
    words = ("1  deep_mrm shenzhen", "1 running")
    assert looks_as_before(make_app(full_lab), (80, 24), opening=opening, words=words)


def test_the_question_before_stopping(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("Stop rndccc?", "1 running")
    assert looks_as_before(make_app(full_lab), (80, 24), "2", "s", words=words)


def test_the_help(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("Keys: grid", "Every run")
    assert looks_as_before(make_app(full_lab), (80, 24), "question_mark", words=words)
