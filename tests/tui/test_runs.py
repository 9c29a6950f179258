from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.lab import Lab
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.runs import FIRST
from cxrlab.tui.widgets.table import AROUND, Table
from store import runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


def many(lab: Lab, count: int) -> None:
    new = [
        runs.NewRun(
            f"r{n:05d}", "mrm", "siim", 10, n, "quick", f"{n:064x}", str(lab.runs_dir / str(n)),
            parent=None, command=["true"], gpus=0,
        )
        for n in range(count)
    ]  # fmt: skip
    db = open_store(lab.registry)
    runs.add(db, new, at=1.0)
    db.conn.close()


async def test_a_table_of_thousands_holds_a_window_of_them(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    many(empty_lab, 3000)
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "r02999" in shown(app))
        table = app.screen.query_one(Table)
        assert table.count == 3000
        assert len(table._rows) <= FIRST
        await pilot.press("G")
        await until(pilot, lambda: "r00000" in shown(app))
        assert len(table._rows) <= 2 * AROUND + 24
        await pilot.press("g")
        await until(pilot, lambda: "r02999" in shown(app))


async def test_the_cursor_stays_on_its_run_when_new_runs_come(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("down", "down")
        assert app.screen.selected.id == "deepaa"
        add_run(full_lab, "newone", "random", "siim", ratio=100, state="queued")
        await until(pilot, lambda: "newone" in shown(app))
        assert app.screen.selected.id == "deepaa"


@pytest.mark.parametrize(
    ("typed", "count"),
    [
        ("mrm", 8),
        ("deep", 2),
        ("siim", 5),
        ("state:running", 1),
        ("task:siim mrm", 4),
        ("siimb", 1),
        ("seed:2", 1),
        ("zzz", 0),
        ("[red]", 0),
        ("%", 0),
    ],
)
async def test_the_filter_narrows_while_one_types(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, typed: str, count: int
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        await pilot.press("slash", *typed)
        await until(pilot, lambda: f"{count} of 11 runs" in shown(app))
        assert app.screen.query_one(Table).count == count
        await pilot.press("escape")
        await until(pilot, lambda: " 11 runs" in shown(app) and " of " not in shown(app))
        assert app.screen.focused is app.screen.query_one(Table)


@pytest.mark.parametrize("key", ["enter", "down"])
async def test_the_filter_gives_the_keys_back(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, key: str
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "slash", "d", "e", "e", "p", key)
        await until(pilot, lambda: "2 of 11 runs" in shown(app))
        assert app.screen.focused is app.screen.query_one(Table)


async def test_enter_opens_the_run(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("down", "down", "enter")
        await until(pilot, lambda: "deep_mrm · pretrain · seed 0  deepaa" in shown(app))
        assert isinstance(app.screen, RunScreen)


async def test_stop_asks_first_and_no_leaves_the_run_alone(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        for no in ("n", "escape", "q"):
            await pilot.press("s")
            await until(pilot, lambda: "Stop rndccc?" in shown(app))
            assert isinstance(app.screen, Question)
            await pilot.press(no)
            await until(pilot, lambda: not isinstance(app.screen, Question))
    db = open_store(full_lab.registry)
    assert runs.get(db, "rndccc").state == "queued"


async def test_yes_stops_a_waiting_run_and_r_queues_it_again(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)  # nothing is to start
    app = make_app(full_lab)
    db = open_store(full_lab.registry)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("s")
        await until(pilot, lambda: "Stop rndccc?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: runs.get(db, "rndccc").state == "stopped")
        await until(pilot, lambda: "rndccc ■ stopped" in shown(app))
        await pilot.press("r")
        await until(pilot, lambda: runs.get(db, "rndccc").state == "queued")


@pytest.mark.parametrize(("key", "said"), [("s", "nothing to stop"), ("r", "can be resumed")])
async def test_what_cannot_be_done_with_a_run_is_said(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown, key: str, said: str
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("G", key)
        await until(pilot, lambda: said in told(app))


async def test_names_and_reasons_with_markup_and_escapes_are_shown_as_text(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    reason = "[red]no[/red] [/] \x1b[2Jgone \x1b]0;t\x07 " + "x" * 10_000
    add_run(empty_lab, "oddone", "mrm", "siim", ratio=10, state="failed", reason=reason)
    app = make_app(empty_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await until(pilot, lambda: "[red]no[/red] [/] ␛[2Jgone ␛]0;t␇" in shown(app))
        await pilot.press("2")
        await until(pilot, lambda: "[red]no[/red] [/] ␛[2Jgone ␛]0;t␇" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "oddone" in shown(app) and "[red]no[/red]" in shown(app))
        assert "\x1b" not in shown(app)
    assert Path(empty_lab.registry).exists()
