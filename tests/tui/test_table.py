"""The table that every list of the dashboard is."""

from __future__ import annotations

from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.geometry import Region

from cxrlab.tui.widgets import table as table_of
from cxrlab.tui.widgets.rows import Column, Made
from cxrlab.tui.widgets.table import Table


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


class OfLateRows(App[None]):
    """Its rows come when they are let come; notes what each painting showed."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[tuple[int, int]] = []
        self.painted: list[str] = []

    def compose(self) -> ComposeResult:
        yield Table()

    def on_mount(self) -> None:
        self.query_one(Table).show(COLUMNS, rows(30), count=1000)

    def on_table_rows_wanted(self, message: Table.RowsWanted) -> None:
        self.wanted.append((message.offset, message.limit))

    def let_come(self) -> None:
        offset, limit = self.wanted[-1]
        held = rows(1000)[offset : offset + limit]
        self.query_one(Table).show(COLUMNS, held, offset=offset, count=1000)

    def _display(self, screen: Any, renderable: Any) -> None:
        super()._display(screen, renderable)
        self.painted.append("\n".join(s.text for s in screen._compositor.render_strips()))


async def test_a_jump_is_painted_once_with_the_rows_it_leads_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_of, "PATIENCE_S", 600.0)
    app = OfLateRows()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.focus()
        await pilot.pause()
        app.painted.clear()
        await pilot.press("G")
        await pilot.pause()
        assert table.row == 999  # for the next key
        assert "row 999" not in "".join(app.painted)
        app.let_come()
        await pilot.pause()
        assert "row 999" in app.painted[-1]
        assert "…" not in "".join(app.painted)


async def test_keys_go_on_from_where_a_jump_leads_before_its_rows_have_come(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_of, "PATIENCE_S", 600.0)
    app = OfLateRows()
    async with app.run_test(size=(40, 12)) as pilot:
        app.query_one(Table).focus()
        await pilot.press("G", "k", "k")
        await pilot.pause()
        app.let_come()
        await pilot.pause()
        assert app.query_one(Table).row == 997
        assert "row 997" in app.painted[-1]


async def test_rows_that_come_late_are_waited_for_where_they_will_stand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_of, "PATIENCE_S", 0.05)
    app = OfLateRows()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.focus()
        await pilot.press("G")
        await pilot.pause(0.3)
        assert " …" in app.painted[-1]
        assert table.scroll_offset.y > 900
        app.let_come()
        await pilot.pause()
        assert "row 999" in app.painted[-1]


async def test_a_jump_in_rows_that_are_held_waits_for_none() -> None:
    app = OfLateRows()
    async with app.run_test(size=(40, 12)) as pilot:
        app.query_one(Table).focus()
        await pilot.press("pagedown", "pagedown")
        await pilot.pause()
        assert "row 20" in app.painted[-1]
        await pilot.press("g")
        await pilot.pause()
        assert "row 0" in app.painted[-1]


async def test_rows_for_later_are_asked_for_once_the_key_has_its_effect() -> None:
    app = OfLateRows()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.focus()
        await pilot.pause()
        painted: list[int] = []
        table.post_message = lambda message, post=table.post_message: (  # type: ignore[method-assign]
            isinstance(message, Table.RowsWanted) and painted.append(len(app.painted)),
            post(message),
        )[1]
        before = len(app.painted)
        await pilot.press("pagedown", "pagedown")
        await pilot.pause()
        assert app.wanted
        assert painted[0] > before
