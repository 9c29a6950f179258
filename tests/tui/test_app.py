from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from textual import events
from textual.widgets import Input

from cxrlab.lab import Lab
from cxrlab.tui.screens.choose import Choose
from cxrlab.tui.screens.help import Help
from cxrlab.tui.screens.question import Question
from cxrlab.tui.widgets.bar import PLACES
from cxrlab.tui.widgets.table import Table

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


async def test_number_keys_change_the_place_and_keep_the_cursor(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right")
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        await pilot.press("1")
        await until(pilot, lambda: "pre-training" in shown(app))
        assert (app.screen.query_one(Table).row, app.screen.query_one(Table).column) == (1, 2)


@pytest.mark.parametrize("place", list(PLACES))
async def test_help_names_every_key_of_the_screen(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, place: str
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 60)) as pilot:
        await pilot.press(str(list(PLACES).index(place) + 1))
        await until(pilot, lambda: app.screen.title == place)
        bound = [key for chain in app.screen.active_bindings.values() for key in [chain.binding]]
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help) and "Keys" in shown(app))
        said = shown(app)
        for binding in bound:
            if binding.key.isalpha() and len(binding.key) == 1:
                assert f" {binding.key} " in said, binding
        assert "✗ failed" in said
        await pilot.press("escape")
        await until(pilot, lambda: app.screen.title == place)


@pytest.mark.parametrize(
    ("place", "right", "left", "own"),
    [
        ("grid", "→ L ", "← h H ", "l  Launch what this cell needs"),
        ("runs", "→ l L ", "← h H ", ""),
        ("queue", "→ l L ", "← H ", "h Hold the run, or let it go"),
    ],
)
async def test_a_letter_of_hjkl_with_a_use_of_its_own_moves_with_shift_and_the_help_says_so(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, place: str, right: str, left: str,
    own: str,
) -> None:  # fmt: skip
    app = make_app(full_lab)
    async with app.run_test(size=(100, 60)) as pilot:
        await pilot.press(str(list(PLACES).index(place) + 1))
        await until(pilot, lambda: app.screen.title == place)
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help) and "Keys" in shown(app))
        said = " ".join(shown(app).split())
        assert f"{right}To the right; with Shift where `l` does something else." in said
        assert f"{left}To the left; with Shift where `h` does something else." in said
        assert " ".join(own.split()) in said


async def test_q_quits(full_lab: Lab, make_app: Wait, until: Wait) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running or app._exit)


async def test_a_broken_registry_is_told_once_and_the_keys_live(
    empty_lab: Lab, make_app: Wait, until: Wait, told: Shown, shown: Shown
) -> None:
    empty_lab.registry.write_bytes(b"this is no registry" * 100)
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "cannot open the registry" in told(app))
        await pilot.pause(0.5)
        assert told(app).count("cannot open the registry") == 1
        await pilot.press("question_mark")
        await until(pilot, lambda: "Keys: grid" in shown(app))


def test_the_dashboard_loads_no_torch() -> None:
    code = "import sys, cxrlab.tui.app; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


async def test_what_is_pasted_is_made_harmless_before_a_field_takes_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "slash")
        await until(pilot, lambda: isinstance(app.focused, Input))
        app.post_message(events.Paste("siim\x1b[2J\x07\u202eabc\nanother line"))
        await until(pilot, lambda: "siim␛[2J␇�abc" in shown(app))
        assert app.focused.value == "siim␛[2J␇�abc"


async def test_the_title_of_a_question_or_a_choice_is_text(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        app.push_screen(Question("[red]a\x1b[2J?", "one\x07\n\u202etwo"))
        await until(pilot, lambda: "[red]a␛[2J?" in shown(app))
        assert "one␇" in shown(app)
        assert "�two" in shown(app)
        app.push_screen(Choose("[b]c\x07", (("w\x1b", "v\x07"),)))
        await until(pilot, lambda: "[b]c␇" in shown(app) and "w␛ v␇" in shown(app))
