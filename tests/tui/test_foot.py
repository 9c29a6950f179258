"""The line of keys: it says what the keys do now, and a click presses one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cxrlab.lab import Lab
from cxrlab.tui.screens.help import Help
from cxrlab.tui.widgets.foot import Foot

Wait = Callable[..., Any]


def line_of(app: Any) -> str:
    return str(app.screen.query_one(Foot).render())


async def test_a_click_on_a_key_presses_it(full_lab: Lab, make_app: Wait, until: Wait) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "? Help" in line_of(app))
        at = line_of(app).index("? Help")
        await pilot.click(Foot, offset=(at, 0))
        await until(pilot, lambda: isinstance(app.screen, Help))
        assert len(app.screen_stack) == 2


async def test_the_mouse_over_a_key_says_in_full_what_it_does(
    full_lab: Lab, make_app: Wait, until: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "l Launch" in line_of(app))
        foot = app.screen.query_one(Foot)
        await pilot.hover(Foot, offset=(line_of(app).index("Launch"), 0))
        await until(pilot, lambda: foot.pointed is not None)
        assert foot.tooltip == "Launch what this cell needs."
        await pilot.hover(Foot, offset=(99, 0))
        await until(pilot, lambda: foot.tooltip is None)
        assert foot.pointed is None


async def test_the_keys_are_those_of_what_has_the_focus(
    full_lab: Lab, make_app: Wait, until: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "/ Filter" in line_of(app))
        before = line_of(app)
        await pilot.press("slash")
        await until(pilot, lambda: line_of(app) != before)
        assert "/ Filter" in before
        assert app.screen.focused is app.screen.query_one("#filter")
        await pilot.press("escape")
        await until(pilot, lambda: line_of(app) == before)
