"""Style sheets are read again when the colours change, and not for each screen."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.css import stylesheet

from cxrlab.lab import Lab
from cxrlab.tui import themes

Wait = Callable[..., Any]


async def test_going_to_a_place_reads_no_sheet_twice_and_a_theme_reads_all(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: "pre-training" in shown(app))
        read: list[Any] = []
        parse = stylesheet.parse

        def noted(scope: str, css: str, read_from: Any, **more: Any) -> Any:
            read.append(read_from)
            return parse(scope, css, read_from, **more)

        monkeypatch.setattr(stylesheet, "parse", noted)
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        assert len(read) == len(set(read)) < len(app.stylesheet.source)
        read.clear()
        await pilot.press("1", "2")
        await until(pilot, lambda: "11 runs" in shown(app))
        assert read == []
        await pilot.press("t")
        await until(pilot, lambda: app.theme == themes.after(themes.DARK.name))
        await until(pilot, lambda: len(read) >= len(app.stylesheet.source))
