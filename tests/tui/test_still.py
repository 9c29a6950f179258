"""Words that are told again and again: the screen is laid out anew only where that matters."""

from __future__ import annotations

import pytest
from rich.text import Text
from textual.app import App, ComposeResult

from cxrlab.tui.widgets.still import Still


class OfThree(App[None]):
    CSS = """
    #grows { height: auto; }
    #stands { height: 1; width: 100%; }
    #scrolls { height: 2; width: 100%; overflow-y: auto; }
    """

    def compose(self) -> ComposeResult:
        for id in ("grows", "stands", "scrolls"):
            yield Still(Text("as before", "dim"), id=id)


@pytest.fixture
def laid_out(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    asked: list[bool] = []
    refresh = Still.refresh

    def noted(still: Still, *regions: object, layout: bool = False, **more: bool) -> Still:
        asked.append(layout)
        return refresh(still, layout=layout, **more)

    monkeypatch.setattr(Still, "refresh", noted)
    return asked


async def test_the_same_words_change_nothing(laid_out: list[bool]) -> None:
    app = OfThree()
    async with app.run_test() as pilot:
        await pilot.pause()
        laid_out.clear()
        for still in app.query(Still):
            still.update(Text("as before", "dim"))
        assert laid_out == []


@pytest.mark.parametrize(("id", "anew"), [("grows", True), ("stands", False), ("scrolls", True)])
async def test_other_words_are_laid_out_where_they_may_take_other_room(
    id: str, anew: bool, laid_out: list[bool]
) -> None:
    app = OfThree()
    async with app.run_test() as pilot:
        await pilot.pause()
        laid_out.clear()
        still = app.query_one(f"#{id}", Still)
        still.update(Text("other words"))
        assert laid_out == [anew]
        await pilot.pause()
        assert still.render_line(0).text.startswith("other words")


async def test_the_same_words_in_another_style_are_drawn() -> None:
    app = OfThree()
    async with app.run_test() as pilot:
        still = app.query_one("#stands", Still)
        await pilot.pause()
        before = still.render_line(0)
        still.update(Text("as before", "bold"))
        await pilot.pause()
        assert still.render_line(0) != before
