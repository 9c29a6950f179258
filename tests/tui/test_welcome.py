from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui import errands
from cxrlab.tui.screens.errand import ErrandScreen
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.help import keys_of
from cxrlab.tui.screens.launch import Launch
from cxrlab.tui.screens.question import Question

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

SAYS_AND_WAITS = """
import pathlib, sys, time
print("begun \\x1b[2J [red]x[/]", flush=True)
while not pathlib.Path("go on").exists():
    time.sleep(0.05)
print("ended")
sys.exit(int(pathlib.Path("go on").read_text()))
"""


def on_paper(lab: Lab, errand: errands.Errand) -> list[str]:
    """A child that says something, and waits until it is told how to end."""
    return [sys.executable, "-c", SAYS_AND_WAITS]


def end_with(lab: Lab, code: int) -> None:
    made = lab.root / "making"
    made.write_text(str(code))
    made.rename(lab.root / "go on")


async def test_an_empty_lab_says_what_to_do_next(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run in this lab yet" in shown(app))
        for said in ("D  the demo", "R  draw", "l  launch", "6  the doctor", "mimic_cxr"):
            assert said in shown(app)


async def test_what_begins_a_lab_is_offered_until_something_has_run(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    app = make_app(empty_lab)

    def keys() -> str:
        return " ".join(key for key, _ in keys_of(app.screen))

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        assert {"D", "R", "W"} <= set(keys().split())
        add_run(empty_lab, "aaaaaa", "random", "siim", ratio=10, state="queued")
        await until(pilot, lambda: "Nothing has run" not in shown(app))
        await until(pilot, lambda: not {"D", "R", "W"} & set(keys().split()))
        await pilot.press("D", "R", "W")
        assert isinstance(app.screen, GridScreen)


@pytest.mark.parametrize(
    ("key", "argv"),
    [
        ("D", ("demo", "--dir")),
        ("R", ("data", "generate", "--use")),
        ("W", ("weights", "fetch")),
    ],
)
async def test_each_key_asks_and_then_begins_its_command(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, key: str, argv: tuple[str, ...]
) -> None:
    called = []

    def command(lab: Lab, errand: errands.Errand) -> list[str]:
        called.append(errand.argv)
        return [sys.executable, "-c", "print('was here')"]

    app = make_app(empty_lab, command=command)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        assert called == []
        await pilot.press(key)
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: "was here" in shown(app) and "✓ done" in shown(app))
        assert called[0][: len(argv)] == argv
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


async def test_l_launches_the_cell_and_6_opens_the_doctor(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await pilot.press("down", "l")
        await until(pilot, lambda: isinstance(app.screen, Launch))
        await pilot.press("escape", "6")
        await until(pilot, lambda: "✗ 2 missing" in shown(app))


async def test_a_command_goes_on_when_one_leaves_and_its_end_is_told(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(empty_lab, command=on_paper)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: "begun ␛[2J [red]x[/]" in shown(app))
        assert "▶ running" in shown(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        await pilot.press("D")  # one at a time: the one that runs is shown
        await until(pilot, lambda: "data generate" in shown(app) and "begun" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        end_with(empty_lab, 3)
        await until(pilot, lambda: "Make radiographs: failed" in told(app))
        assert "data.txt" in told(app)


async def test_s_stops_a_command(empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown) -> None:
    app = make_app(empty_lab, command=on_paper)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        await pilot.press("R")
        await until(pilot, lambda: isinstance(app.screen, Question))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, ErrandScreen) and "begun" in shown(app))
        await pilot.press("s")
        await until(pilot, lambda: "■ stopped" in shown(app))


async def test_changed_settings_are_read_again_and_the_place_stays(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, tmp_path: Path
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "· siim" in shown(app))
        await pilot.press("3")
        await until(pilot, lambda: "nothing waits" in shown(app))
        source = empty_lab.settings_file.read_text()
        empty_lab.settings_file.write_text(f'{source}[data.siim]\nroot = "{tmp_path}"\n')
        await until(pilot, lambda: "cxrlab.toml has changed" in told(app))
        await until(pilot, lambda: "nothing waits" in shown(app))
        await pilot.press("1")
        await until(pilot, lambda: "✓ siim" in shown(app))


async def test_settings_that_make_no_sense_are_told_and_the_old_ones_hold(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "Nothing has run" in shown(app))
        empty_lab.settings_file.write_text("[launch\n")
        await until(pilot, lambda: "cxrlab.toml" in told(app))
        await until(pilot, lambda: "Nothing has run" in shown(app))


async def test_words_that_were_read_before_do_not_scroll_what_a_person_reads(
    empty_lab: Lab, make_app: Wait, until: Wait, tmp_path: Path
) -> None:
    app = make_app(empty_lab)
    errand = errands.Errand("long", "Long", ("version",), "")
    async with app.run_test(size=(80, 24)) as pilot:
        file = tmp_path / "words.txt"
        file.write_text("".join(f"{n}\n" for n in range(99)))
        running = SimpleNamespace(errand=errand, code=None, stopped=False, file=file)
        screen = ErrandScreen(running)  # type: ignore[arg-type]
        await app.push_screen(screen)
        page = screen.query_one("#errand")
        await until(pilot, lambda: page.scroll_offset.y == page.max_scroll_y > 0)
        at = page.scroll_offset.y
        screen.action_scroll(-10)
        screen.draw(ErrandScreen.Read([str(n) for n in range(99)]))
        for _ in range(5):
            await pilot.pause()
        assert page.scroll_offset.y == at - 10
