"""The table that every list of the dashboard is."""

from __future__ import annotations

from textual.app import App, ComposeResult

from cxrlab.tui.widgets.table import Column, Table


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
