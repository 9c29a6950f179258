"""Groups of methods, and what a notebook says in words, in the dashboard's grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.lab import Lab, find_lab
from cxrlab.tui import remembered, words
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.choose import Choose
from cxrlab.tui.screens.fill import Fill
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.page import Page
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.widgets.table import Table
from store import notebook
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

LONG = "以原始报告掩码重建，加深层监督 [red]x[/] " + "and decoders on four blocks " * 4

ROWS = (
    notebook.Row("deep_mrm", "(2)", "Deep-MRM", LONG, None, "", "/old/log", "写代码", "n.md", 9),
    notebook.Row("mrm", "(7)", "MRM", "the paper's", None, "", "/old/mrm", "训练完", "n.md", 8),
)


@pytest.fixture
def grouped_lab(full_lab: Lab) -> Lab:
    source = full_lab.settings_file.read_text()
    source = source.replace('["random", "mrm", "deep_mrm"]', '["baselines", "ours"]')
    groups = '[grid.groups]\nbaselines = ["random"]\nours = ["mrm", "deep_mrm"]\n'
    full_lab.settings_file.write_text(f"{source}\n{groups}")
    return find_lab(full_lab.root)


@pytest.fixture
def noted_lab(full_lab: Lab) -> Lab:
    source = full_lab.settings_file.read_text()
    full_lab.settings_file.write_text(source.replace("methods = ", "# methods = "))
    db = open_store(full_lab.registry)
    notebook.bring_in(db, "n.md", ROWS, [])
    db.close()
    return find_lab(full_lab.root)


async def test_methods_stand_under_the_name_of_their_group_which_the_cursor_passes_by(
    grouped_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(grouped_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        heads = [line.split()[0] for line in shown(app).splitlines()[3:8]]
        assert heads == ["baselines", "random", "ours", "mrm", "deep_mrm"]
        for keys, method in (
            ((), "random"),
            (("up",), "random"),
            (("down",), "mrm"),
            (("G",), "deep_mrm"),
            (("k", "k"), "random"),
            (("j", "g"), "random"),
            (("pagedown",), "deep_mrm"),
        ):
            await pilot.press(*keys)
            assert app.screen.cell.method == method, keys
        await pilot.click(Table, offset=(2, 4))  # on the head of a group
        assert app.screen.cell.method in ("random", "mrm")


async def test_n_shows_the_notebooks_columns_and_rows_and_remembers_it(
    noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(noted_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "72.2 ±1.0" in shown(app))
        before = shown(app)
        assert "description" not in before
        await pilot.press("n")
        await until(pilot, lambda: "description" in shown(app))
        lines = shown(app).splitlines()
        rows = [line.split()[0] for line in lines[3:6]]
        assert rows == ["deep_mrm", "mrm", "random"]  # as the notebook has them, then the others
        for said in ("number", "(2)", "(7)", "the paper's", "以原始报告掩码重建", "nih AUROC"):
            assert said in shown(app)
        assert app.screen.cell.metric == "time"  # the cursor stands on a number
        await until(pilot, lambda: remembered.recall(noted_lab, "grid_notebook", False))
    app = make_app(noted_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "description" in shown(app))
        await pilot.press(*["right"] * 40)
        await until(pilot, lambda: "status" in shown(app) and app.screen.place == "status")
        await pilot.press("n")
        await until(pilot, lambda: "description" not in shown(app) and "72.2" in shown(app))


async def test_a_text_of_a_row_is_told_in_full_opened_and_copied(
    noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    remembered.remember(noted_lab, "grid_notebook", True)
    app = make_app(noted_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "description" in shown(app))
        await pilot.press("left")
        await until(pilot, lambda: "in the notebook: Deep-MRM" in shown(app))
        assert shown(app).count("decoders on four blocks") > 1
        assert "[red]x[/]" in shown(app)
        for key in "lcp":
            await pilot.press(key)
        await until(pilot, lambda: told(app).count("this is a text of the row") == 3)
        await pilot.press("y")
        await until(pilot, lambda: isinstance(app.screen, Choose))
        await pilot.press("enter")
        await until(pilot, lambda: app.clipboard.startswith("以原始报告掩码重建"))
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Page))
        await until(pilot, lambda: shown(app).count("decoders") == 4)
        await pilot.press("escape", "f")
        await until(pilot, lambda: isinstance(app.screen, Fill))
        assert app.screen.query_one("#part", Choice).options == ("row deep_mrm", "all")
        await pilot.press("escape")


async def test_a_cell_that_only_the_notebooks_table_has_can_be_opened(
    noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    remembered.remember(noted_lab, "grid_notebook", True)
    app = make_app(noted_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "description" in shown(app))
        await pilot.press("right", "right", "enter")
        await until(pilot, lambda: isinstance(app.screen, CellScreen) and "no number" in shown(app))


async def test_the_log_of_a_row_leads_to_its_run(
    noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    remembered.remember(noted_lab, "grid_notebook", True)
    app = make_app(noted_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "description" in shown(app))
        await pilot.press("down")
        while app.screen.place != "log":
            await pilot.press("right")
        await until(pilot, lambda: "runs/mrmaaa-mrm-pretrain-s0/log.txt" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "mrmaaa" in shown(app))


async def test_a_table_laid_out_by_hand_stays_and_speaks_the_language(
    noted_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    source = noted_lab.settings_file.read_text()
    columns = '["siim", "shenzhen", "shenzhen_lungs"]'
    source = source.replace(columns, '["number", "description", "siim", "status"]')
    noted_lab.settings_file.write_text(source)
    remembered.remember(noted_lab, "language", "zh")
    app = make_app(find_lab(noted_lab.root))
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "序号" in shown(app) and "实验状态" in shown(app))
        await pilot.press("n")
        await until(pilot, lambda: words.tr("the lab's own table is laid out as a notebook's "
                                            "already") in told(app))  # fmt: skip
        assert "序号" in shown(app)
