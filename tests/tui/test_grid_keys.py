"""What the keys of the grid do beyond moving: compare, copy, write to a file, fill, look up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cxrlab.lab import Lab, find_lab
from cxrlab.tui.messages import OpenFill, OpenPage
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.export import Export
from cxrlab.tui.screens.fill import Fill
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.page import Page
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.widgets.table import Table
from store import runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def with_predictions(lab: Lab, add_run: Wait, id: str, method: str, gain: float) -> None:
    """Add a finished run with predictions of some patients."""
    shape = (200, 1)
    label = (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)
    events = [
        {
            "t": 1.0,
            "kind": "result",
            "values": {"test/AUROC": 0.7},
            "predictions": "predictions.npz",
            "data": {"split_sha256": {"train": "a" * 64, "test": "d" * 64}},
        }
    ]
    add_run(lab, id, method, "shenzhen", ratio=100, state="succeeded", events=events)
    np.savez_compressed(
        next(lab.runs_dir.glob(f"{id}*")) / "predictions.npz",
        names=np.array([f"i{i}" for i in range(200)]),
        patient=np.array([f"p{i // 2}" for i in range(200)]),
        score=np.random.default_rng(len(method)).normal(size=shape) + gain * label,
        label=label,
        classes=np.array(["Tuberculosis"]),
    )


async def test_c_marks_a_cell_and_then_tells_whether_another_is_better(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    with_predictions(full_lab, add_run, "cmpaaa", "random", 0.2)
    with_predictions(full_lab, add_run, "cmpbbb", "deep_mrm", 3.0)
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press(*["right"] * 4, "c")
        await until(pilot, lambda: "◆ 70.0 (1)" in shown(app))
        assert "random shenzhen 100 % AUROC is marked" in shown(app)
        await pilot.press("down", "down", "c")
        await until(pilot, lambda: "random and deep_mrm" in shown(app))
        assert isinstance(app.screen, Page)
        await until(pilot, lambda: "working" in shown(app) or app.screen.done)
        words = ("deep_mrm better on such patients", "bootstrap")
        await until(pilot, lambda: all(word in shown(app) for word in words))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen) and "◆" not in shown(app))


async def test_cells_of_two_columns_do_not_compare_and_escape_forgets_the_mark(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("c")
        await until(pilot, lambda: "no predictions to compare" in told(app))
        await pilot.press("right", "right", "c", "right", "c")
        await until(pilot, lambda: "two methods of one column compare" in told(app))
        await pilot.press("left", "c")
        await until(pilot, lambda: "no paper's number of random siim 10 % Dice" in told(app))
        await pilot.press("escape")
        await until(pilot, lambda: "◆" not in shown(app))
        assert isinstance(app.screen, GridScreen)


async def test_a_comparison_that_is_refused_says_why(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("right", "right", "c", "down", "c")
        await until(pilot, lambda: "error: " in shown(app))
        assert app.screen.done


async def test_p_tells_of_the_paper_and_says_so_where_none_is_known(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("p")
        await until(pilot, lambda: "no paper's number of random" in told(app))


async def test_p_tells_the_papers_number_and_what_it_is_of_on_the_grid_and_behind_a_cell(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    source = full_lab.settings_file.read_text()
    full_lab.settings_file.write_text(source.replace('"siim", ', '"siim_legacy", '))
    app = make_app(find_lab(full_lab.root))
    first = "mrm siim_legacy 10 % Dice: no number of this lab yet, paper 73.2"
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: "siim_legacy" in shown(app))
        await pilot.press("down", "right", "right")
        await until(pilot, lambda: "paper 73.2" in shown(app))
        for key in ("p", "enter"):
            await pilot.press(key)
            if key == "enter":
                await until(pilot, lambda: isinstance(app.screen, CellScreen))
                await pilot.press("p")
            await until(pilot, lambda: "mrm and its paper" in shown(app) and first in shown(app))
            assert "no number of this lab yet: mrm siim_legacy 100 % Dice" in shown(app)
            await pilot.press("escape")


async def test_the_page_can_be_left_while_it_is_worked_on_and_copied_when_it_is_there(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    gate = threading.Event()

    def late() -> Any:
        gate.wait(60)
        return lambda width: ["the head [red]", "\x1b]0;owned\x07body"]

    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        app.post_message(OpenPage("late", late))
        await until(pilot, lambda: "working …" in shown(app))
        await pilot.press("y", "escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
        gate.set()
        app.post_message(OpenPage("late", late))
        await until(pilot, lambda: "the head [red]" in shown(app))
        await pilot.press("y", "down", "up", "pagedown", "pageup")
        assert app.clipboard == "the head [red]\n␛]0;owned␇body"


async def test_v_behind_a_cell_tells_all_that_show_tells(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right", "enter")
        await until(pilot, lambda: "siimca" in shown(app))
        await pilot.press("v")
        await until(pilot, lambda: "mrm siim 10 %, Dice" in shown(app))
        for said in ("72.2 ±1.0 over 3 runs", "recipe", "run siimaa", "checkpoint"):
            assert said in shown(app)


async def test_two_runs_of_a_cell_compare(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right", "enter")
        await until(pilot, lambda: "siimca" in shown(app))
        await pilot.press("p")
        await until(pilot, lambda: "no paper's number of mrm siim 10 % Dice" in told(app))
        await pilot.press("c")
        await until(pilot, lambda: "◆" in shown(app))
        await pilot.press("c")
        await until(pilot, lambda: "◆" not in shown(app))
        await pilot.press("c", "down", "c")
        await until(pilot, lambda: "siimca and siimba" in shown(app))
        await until(pilot, lambda: app.screen.done)


async def test_y_copies_the_cell_or_the_commands_that_show_and_launch_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right")
        for down, text in (
            (0, "72.2 ±1.0 (3)"),
            (1, "cxrlab show mrm/siim/10/Dice"),
            (2, "cxrlab launch mrm --task siim --ratio 10"),
        ):
            await pilot.press("y")
            await until(pilot, lambda: "Copy mrm siim 10 % Dice" in shown(app))
            await pilot.press(*["down"] * down, "enter")
            await until(pilot, lambda text=text: app.clipboard == text)
            assert f"copied: {text}" in told(app)
        await pilot.press("y", "escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


async def test_e_writes_the_grid_to_a_file_in_the_lab_and_says_where(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("e")
        await until(pilot, lambda: "grid.md" in shown(app))
        await pilot.press("enter")
        file = full_lab.root / "grid.md"
        await until(pilot, lambda: f"wrote the grid to {file}" in told(app))
        assert "72.2" in file.read_text()
        await until(pilot, lambda: isinstance(app.screen, GridScreen))


@pytest.mark.parametrize(
    ("turns", "name", "begins"),
    [
        (1, "grid.html", b"<!DOCTYPE html"),
        (5, "grid.xlsx", b"PK"),
        (6, "notebook.md", b"<table"),
    ],
)
async def test_the_name_follows_the_form(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    told: Shown,
    turns: int,
    name: str,
    begins: bytes,
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Export) and "grid.md" in shown(app))
        await pilot.press(*["right"] * turns)
        await until(pilot, lambda: name in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "wrote the grid" in told(app))
        written = (full_lab.root / name).read_bytes()
        assert written.lower().startswith(begins.lower()), written[:80]
        assert len(written) > 100


async def test_a_file_that_is_there_is_asked_about_and_a_folder_is_refused(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, tmp_path: Path
) -> None:
    own = full_lab.root / "grid.md"
    own.write_text("mine")
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Export))
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite the file?" in shown(app))
        await pilot.press("n")
        await until(pilot, lambda: isinstance(app.screen, Export))
        assert own.read_text() == "mine"
        await pilot.press("enter")
        await until(pilot, lambda: "Overwrite the file?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "wrote the grid" in told(app))
        assert "72.2" in own.read_text()
        await pilot.press("e")
        await until(pilot, lambda: isinstance(app.screen, Export))
        await pilot.press("tab", "tab", "ctrl+u", *"gone/x.md", "enter")
        await until(pilot, lambda: "there is no folder" in shown(app).replace("\n", " "))
        assert "x.md" in shown(app)
        await pilot.press("ctrl+u", "enter")
        await until(pilot, lambda: "name a file" in shown(app))


async def test_f_lists_what_the_row_or_the_column_lacks_before_anything_is_launched(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        await pilot.press("down", "right", "right", "f")
        await until(pilot, lambda: "[row mrm]" in shown(app))
        await until(pilot, lambda: "cannot be made here" in shown(app))
        assert "`[data.siim]` is not in cxrlab.toml" in shown(app)
        await pilot.press("right")
        await until(pilot, lambda: "[column siim 10 %]" in shown(app))
        await pilot.press("enter")
        assert isinstance(app.screen, Fill)
        await pilot.press("tab", "tab", "x")
        await until(pilot, lambda: "expected a form like" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GridScreen))
    assert runs.count(open_store(full_lab.registry)) == 11


async def test_filling_from_the_palette_has_only_all(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 3)
        app.post_message(OpenFill())
        await until(pilot, lambda: "[all]" in shown(app))
        assert app.screen.query_one("#part", Choice).options == ("all",)


async def test_enter_in_the_filling_queues_all_that_is_listed(
    lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, db: Any
) -> None:
    source = lab.settings_file.read_text()
    lab.settings_file.write_text(
        source + '\n[grid]\nmethods = ["random"]\ncolumns = ["siim:10", "shenzhen"]\n'
    )
    app = make_app(find_lab(lab.root))
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: app.screen.query_one(Table).count == 1)
        await pilot.press("f")
        await until(pilot, lambda: "to launch" in shown(app))
        assert "unknown: nothing like it has been measured" in shown(app)
        assert runs.count(db) == 0
        app.screen.query_one("#priority").focus()
        await pilot.press(*"7")
        await until(pilot, lambda: app.screen.count == 2)
        await pilot.press("enter")
        await until(pilot, lambda: "random siim 10 % seed 0: queued" in told(app))
    assert {(run.method, run.task) for run in runs.select(db)} == {
        ("random", "siim"),
        ("random", "shenzhen"),
    }
    assert {run.priority for run in runs.select(db)} == {7}
