"""The table that every list of the dashboard is."""

from __future__ import annotations

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from cxrlab.tui.widgets.table import Column, Made, Table


class OfOneTable(App[None]):
    def compose(self) -> ComposeResult:
        yield Table()


async def test_a_text_cut_short_ends_before_the_scroll_bar_in_the_first_picture_too() -> None:
    app = OfOneTable()
    async with app.run_test(size=(40, 10)) as pilot:
        table = app.query_one(Table)
        columns = [Column("no", 3), Column("text", 10, grows=True)]
        table.show(columns, [[[("1", "")], [("long " * 40, "")]]] * 30, count=30)
        await pilot.pause()
        assert table.show_vertical_scrollbar
        line = table.render_line(1).text
        assert line.rstrip().endswith("…")
        assert len(line.rstrip()) <= table.scrollable_content_region.width
        assert not table.show_horizontal_scrollbar


def rows(count: int, word: str = "row") -> list[list[list[tuple[str, str]]]]:
    return [[[(f"{word} {n}", "")], [("", "")]] for n in range(count)]


COLUMNS = [Column("no", 12), Column("text", 10)]


async def test_a_key_draws_the_lines_that_it_changes_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn: list[str] = []
    draw = Table._row_line
    monkeypatch.setattr(
        Table,
        "_row_line",
        lambda table, row, look: drawn.append(row[0][0][0]) or draw(table, row, look),
    )
    app = OfOneTable()
    async with app.run_test(size=(40, 10)) as pilot:
        app.query_one(Table).show(COLUMNS, rows(100), count=100)
        app.query_one(Table).focus()
        await pilot.pause()
        drawn.clear()
        await pilot.press("j")
        assert sorted(drawn) == ["row 0", "row 1"]
        drawn.clear()
        await pilot.press("k", "j")  # both were drawn in both ways
        assert drawn == []
        await pilot.press("pagedown", "pageup", "pagedown", "pageup")
        drawn.clear()
        await pilot.press("pagedown", "pageup")
        assert drawn == []


async def test_lines_are_drawn_anew_when_rows_or_colours_change() -> None:
    app = OfOneTable()
    async with app.run_test(size=(40, 10)) as pilot:
        table = app.query_one(Table)
        table.show(COLUMNS, rows(5), count=5)
        await pilot.pause()
        assert "row 3" in table.render_line(4).text
        table.show(COLUMNS, rows(5, "run"), count=5)
        await pilot.pause()
        assert "run 3" in table.render_line(4).text
        table.show([Column("no", 4), Column("text", 10)], rows(5, "run"), count=5)
        await pilot.pause()
        assert " run…" in table.render_line(4).text
        before = table.render_lines(Region(0, 4, 40, 1))[0]
        app.theme = "textual-light"
        await pilot.pause()
        after = table.render_lines(Region(0, 4, 40, 1))[0]
        assert after.text == before.text
        assert after != before


async def test_a_page_of_rows_is_asked_for_before_it_comes_into_view() -> None:
    wanted: list[tuple[int, int]] = []

    class Asked(OfOneTable):
        def on_table_rows_wanted(self, message: Table.RowsWanted) -> None:
            wanted.append((message.offset, message.limit))

    app = Asked()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.show(COLUMNS, rows(30), count=1000)
        table.focus()
        await pilot.pause()
        assert wanted == []
        await pilot.press("pagedown", "pagedown")
        await pilot.pause()
        assert len(wanted) == 1
        offset, limit = wanted[0]
        assert "…" not in "".join(table.render_line(y).text for y in range(12))
        assert offset <= 10
        assert offset + limit >= 34


async def test_rows_are_made_when_they_are_drawn() -> None:
    made: list[int] = []

    def make(at: int) -> list[list[tuple[str, str]]]:
        made.append(at)
        return rows(at + 1)[at]

    app = OfOneTable()
    async with app.run_test(size=(40, 10)) as pilot:
        app.query_one(Table).show(COLUMNS, Made(make, 500), count=500)
        await pilot.pause()
        assert made == list(range(9))
