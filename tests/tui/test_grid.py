from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.lab import Lab, find_lab
from cxrlab.tui.cell_words import best_cells
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.widgets.table import Table
from store import notebook, runs
from store.db import open_store

Wait = Callable[..., Any]


def at(app: Any) -> tuple[str, str, int | None]:
    cell = app.screen.cell
    return cell.method, cell.metric, cell.ratio


@pytest.mark.parametrize(
    ("keys", "row", "column"),
    [
        ("right right down", 1, 3),
        ("L L j", 1, 3),
        ("L L L h H j j k", 1, 2),
        ("G", 2, 1),
        ("G g", 0, 1),
        ("left up", 0, 1),
        ("down down down down", 2, 1),
        ("right right right right right right right right right", 0, 6),
    ],
)
async def test_keys_move_the_cursor_from_cell_to_cell(
    full_lab: Lab, make_app: Wait, until: Wait, keys: str, row: int, column: int
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press(*keys.split())
        table = app.screen.query_one(Table)
        assert (table.row, table.column) == (row, column)


async def test_the_first_column_stays_while_the_rest_scrolls(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        assert "shenzhen_lungs" not in shown(app).splitlines()[1]
        await pilot.press(*["right"] * 6)
        await until(pilot, lambda: "shenzhen_lungs" in shown(app).splitlines()[1])
        assert shown(app).splitlines()[3].startswith(" random ")


async def test_the_grid_shows_the_papers_number_where_it_was_measured_alike(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    source = full_lab.settings_file.read_text()
    full_lab.settings_file.write_text(source.replace('"siim", ', '"siim", "siim_legacy", '))
    app = make_app(find_lab(full_lab.root))
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0 (3)" in shown(app))
        assert "· [73.2]" in shown(app)
        assert "72.2 ±1.0 (3) [" not in shown(app)


async def test_the_grid_shows_number_and_state(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0 (3)" in shown(app))
        for said in ("65.5 (1)", "▶ running 43 %", "✗ failed", "? lost", "■ stopped", "◦ queued"):
            assert said in shown(app)


async def test_the_best_cell_of_a_task_stands_out_and_losses_do_not_compare(
    full_lab: Lab, make_app: Wait, until: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        best = best_cells(app.screen._grid)
        assert [(cell.method, cell.task, cell.ratio) for cell in best] == [("mrm", "siim", 10)]


async def test_enter_shows_the_runs_seeds_and_checkpoints_behind_a_cell(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right")
        assert at(app) == ("mrm", "Dice", 10)
        await pilot.press("enter")
        await until(pilot, lambda: "siimca" in shown(app))
        for said in ("siimaa", "siimba", "73.1", "checkpoints/best.pt", "predicting nothing: 64.7"):
            assert said in shown(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: "seed 1  siimba" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "siimca" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


async def test_l_opens_the_form_for_the_cell_under_the_cursor(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right", "right", "l")
        await until(pilot, lambda: "Launch mrm siim 100 %" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


async def test_a_baseline_cannot_be_pretrained(
    full_lab: Lab, make_app: Wait, until: Wait, told: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("l")
        await until(pilot, lambda: "nothing to pre-train" in told(app))
        assert isinstance(app.screen, GridScreen)


async def test_a_click_moves_and_a_second_click_opens(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2" in shown(app))
        x = shown(app).splitlines()[4].index("72.2")
        await pilot.click(Table, offset=(x, 3))
        assert at(app) == ("mrm", "Dice", 10)
        await pilot.pause(0.6)
        await pilot.click(Table, offset=(x, 3))
        await until(pilot, lambda: "siimca" in shown(app))


async def test_the_grid_changes_when_another_process_writes(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str], add_run: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "▶ 2" not in shown(app) and "▶ 1" in shown(app))
        add_run(full_lab, "newone", "deep_mrm", "siim", ratio=100, state="running")
        await until(pilot, lambda: "2 running" in shown(app))


async def test_the_notebooks_columns_can_be_walked_through(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    source = full_lab.settings_file.read_text()
    wanted = source.replace(
        'columns = ["siim", "shenzhen", "shenzhen_lungs"]', 'columns = "notebook"'
    )
    full_lab.settings_file.write_text(wanted)
    app = make_app(find_lab(full_lab.root))
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "report METEOR" in shown(app))
        await pilot.press("down", *["right"] * 15)  # past the log
        assert at(app) == ("mrm", "F1", 100)


async def test_a_stale_cell_says_why_and_a_copied_number_what_is_wrong_with_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    db = open_store(full_lab.registry)
    number = notebook.Number("deep_mrm", "shenzhen", 100, "AUROC", "own", 0.7009, "70.09", "n.md",
                             7, ("`70.09` has no unit",))  # fmt: skip
    notebook.bring_in(db, "n.md", [], [number])
    runs.change_state(db, "mrmaaa", "failed")
    db.conn.close()
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0 (3) stale" in shown(app))
        assert "70.1†" in shown(app)
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: "stale: its encoder's run mrmaaa is failed by now" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "stale: its encoder's run mrmaaa" in shown(app))
        await pilot.press("escape")
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: "`70.09` has no unit" in shown(app))


async def test_why_a_cell_is_stale_stands_before_what_a_narrow_screen_cuts_off(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str]
) -> None:
    db = open_store(full_lab.registry)
    runs.change_state(db, "mrmaaa", "failed")
    db.close()
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0 (3) stale" in shown(app))
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: "stale: its encoder's run mrmaaa is failed by now" in shown(app))


async def test_what_a_run_of_a_cell_was_made_of_stands_below_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Callable[[Any], str], add_run: Any
) -> None:
    made = {
        "values": {"test/AUROC": 0.8},
        "predictions": "predictions.npz",
        "data": {
            "version": "V7",
            "fingerprint": "f" * 64,
            "split_sha256": {"train": "a" * 64, "test": "d" * 64},
        },
        "encoder": {"path": "/weights/mae.pth", "sha256": "e" * 64},
    }
    events = [{"t": 1.0, "kind": "result", **made}]
    add_run(full_lab, "madeaa", "deep_mrm", "shenzhen", ratio=100, state="succeeded", events=events)
    folder = next(full_lab.runs_dir.glob("madeaa*"))
    (folder / "provenance.json").write_text('{"commit": "c0ffee", "uncommitted_changes": true}')
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "80.0 (1)" in shown(app))
        await pilot.press("down", "down", *["right"] * 4, "enter")
        await until(pilot, lambda: "c0ffee with changes" in shown(app))
        for said in (
            "version V7; fingerprint ffffffffffff; split train aaaaaaaa, test dddddddd",
            "/weights/mae.pth  sha256 eeeeeeeeeeee",
            "predictions.npz",
        ):
            assert said in shown(app)
