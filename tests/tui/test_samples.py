"""The pictures of a run, one at a time, and what is said where there is none to be shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from cxrlab import restricted
from cxrlab.lab import Lab, make_lab
from cxrlab.tui.messages import OpenRun
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.samples import Samples
from cxrlab.tui.widgets import picture
from store import intake, within
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.fixture(autouse=True)
def _a_terminal_of_no_known_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TERM_PROGRAM", "TEXTUAL_DRIVER", *picture.MULTIPLEXERS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


@pytest.fixture
def drawn_lab(full_lab: Lab) -> Lab:
    """A lab in which `siimaa` has drawn two pictures and one file that is none."""
    folder = next(full_lab.runs_dir.glob("siimaa-*"))
    (folder / "samples").mkdir()
    Image.new("RGB", (64, 32), (250, 10, 10)).save(folder / "samples/first.png")
    (folder / "samples/broken.png").write_text("no picture")
    Image.new("L", (32, 32), 128).save(folder / "samples/newest.png")
    with (folder / "events.jsonl").open("a") as file:
        for step, name in enumerate(("first", "broken", "newest")):
            file.write(
                f'{{"t": {step + 1}, "kind": "sample", "path": "samples/{name}.png", '
                f'"caption": "lungs of {name}", "step": {step}}}\n'
            )
    db = open_store(full_lab.registry)
    intake.take_in(db, "siimaa", folder)
    db.close()
    return full_lab


async def opened(pilot: Any, until: Wait, id: str) -> None:
    pilot.app.post_message(OpenRun(id))
    await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen) and pilot.app.screen._view)
    await pilot.press("i")
    await until(pilot, lambda: isinstance(pilot.app.screen, Samples))


async def test_i_shows_the_pictures_one_at_a_time(
    drawn_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(drawn_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, until, "siimaa")
        await until(pilot, lambda: "3/3, newest.png" in shown(app) and app.screen.drawn == 2)
        await until(pilot, lambda: "▀▀▀▀" in shown(app))
        await pilot.press("right", "left")
        await until(pilot, lambda: "2/3, broken.png" in shown(app))
        await until(pilot, lambda: "this picture cannot be shown" in shown(app))
        assert "▀▀▀▀" not in shown(app)
        await pilot.press("left")
        await until(pilot, lambda: "lungs of first" in shown(app) and app.screen.drawn == 0)
        drawn = app.screen.query_one("#picture")
        await until(pilot, lambda: drawn.size.height and "▀▀▀▀" in shown(app))
        await until(pilot, lambda: abs(drawn.size.width - 4 * drawn.size.height) <= 4)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))


@pytest.mark.parametrize("term", ["xterm-kitty", "foot"])
async def test_terminals_that_draw_pictures_are_sent_them(
    drawn_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    monkeypatch: pytest.MonkeyPatch,
    term: str,
) -> None:
    monkeypatch.setenv("TERM", term)
    app = make_app(drawn_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, until, "siimaa")
        await until(pilot, lambda: app.screen.drawn == 2)
        await pilot.press("home")
        await until(pilot, lambda: app.screen.drawn == 0 and "▀▀▀▀" not in shown(app))


async def test_a_run_without_pictures_says_so(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await opened(pilot, until, "deepaa")
        await until(pilot, lambda: "this run has drawn no picture" in shown(app))
        await pilot.press("left", "right")
        assert app.screen.drawn is None


async def test_a_restricted_set_is_shown_only_by_name(
    drawn_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    with drawn_lab.settings_file.open("a") as file:
        file.write('\n[data.siim]\nroot = "/nowhere"\nrestricted = true\n')
    locked = make_lab(drawn_lab.root)
    app = make_app(locked)
    async with app.run_test(size=(100, 24)) as pilot:
        await opened(pilot, until, "siimaa")
        await until(pilot, lambda: "`--include-restricted siim` shows them" in shown(app))
        assert "newest" not in shown(app)
    app = make_app(restricted.including(replace(locked), ["siim"]))
    async with app.run_test(size=(100, 24)) as pilot:
        await opened(pilot, until, "siimaa")
        await until(pilot, lambda: "newest.png" in shown(app) and app.screen.drawn == 2)


def test_a_picture_outside_of_its_run_is_not_opened(tmp_path: Path) -> None:
    folder, outside = tmp_path / "run", tmp_path / "other.png"
    folder.mkdir()
    Image.new("L", (4, 4)).save(outside)
    (folder / "link.png").symlink_to(outside)
    for path in (outside, folder / "link.png", folder / "../other.png"):
        with pytest.raises(within.Elsewhere):
            picture.load(folder, path)
    with pytest.raises(FileNotFoundError):
        picture.load(folder, folder / "none.png")


@pytest.mark.parametrize(
    ("environment", "by"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "WezTerm"}, "sixel"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux-0/default,1,0"}, "half blocks"),
        ({"TERM": "xterm-256color"}, "half blocks"),
        ({}, "half blocks"),
    ],
)
def test_a_terminal_is_known_by_its_name(environment: dict[str, str], by: str) -> None:
    assert picture.way(environment) == by


@pytest.mark.parametrize("by", ["kitty", "sixel", "half blocks"])
def test_each_way_has_its_widget(by: picture.Way) -> None:
    assert picture.drawer(by).__name__ in ("TGPImage", "Image", "HalfcellImage")


def test_a_picture_keeps_its_proportions() -> None:
    assert picture.fitted((100, 100), picture.Cells(80, 20)) == (40, 20)
    assert picture.fitted((400, 100), picture.Cells(80, 20)) == (80, 10)
    assert picture.fitted((1, 4000), picture.Cells(80, 20)) == (1, 20)
