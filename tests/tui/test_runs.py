from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from cxrlab.lab import Lab
from cxrlab.tui import acting, remembered, telling
from cxrlab.tui.run_list import FIRST
from cxrlab.tui.screens import runs as runs_screen
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
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


async def test_space_marks_and_escape_drops_the_marks_before_the_filter(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("slash", *"siim", "enter")
        await until(pilot, lambda: "5 of 11 runs" in shown(app))
        await pilot.press("space", "space")
        await until(pilot, lambda: "2 marked · 5 of 11 runs" in shown(app))
        assert "●deepbb" in shown(app)
        assert "●rndaaa" in shown(app)
        assert app.screen.query_one(Table).row == 2
        await pilot.press("up", "space")
        await until(pilot, lambda: "1 marked" in shown(app) and "●rndaaa" not in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "marked" not in shown(app) and "5 of 11 runs" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: " 11 runs" in shown(app) and " of " not in shown(app))


async def test_shift_a_marks_all_that_the_filter_fits_up_to_a_number(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    told: Shown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("A")
        await until(pilot, lambda: "11 marked · 11 runs" in shown(app))
        await pilot.press("escape", "slash", *"siim", "enter")
        await until(pilot, lambda: "5 of 11 runs" in shown(app))
        monkeypatch.setattr(runs_screen, "MOST_MARKED", 3)
        await pilot.press("A")
        await until(pilot, lambda: "3 marked · 5 of 11 runs" in shown(app))
        assert "only the first 3 are marked" in told(app)


async def test_o_sorts_by_state_by_method_by_duration_and_by_time_again(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)

    def first() -> str:
        return "".join(part for part, _ in app.screen.query_one(Table)._rows[0][0])

    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("down", "o")
        await until(pilot, lambda: "11 runs, by state" in shown(app))
        assert (first(), app.screen.query_one(Table).row) == ("deepaa", 0)
        await pilot.press("o")
        await until(pilot, lambda: "by method" in shown(app))
        assert first() == "deepaa"
        await pilot.press("o")
        await until(pilot, lambda: "longest first" in shown(app))
        await pilot.press("o")
        await until(pilot, lambda: "first" not in shown(app) and "by " not in shown(app))
        assert first() == "rndccc"


async def test_removing_marked_runs_asks_first_and_says_how_many_and_how_much(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    db = open_store(full_lab.registry)
    folders = [Path(runs.get(db, id).folder) for id in ("siimaa", "siimba", "siimca")]
    (folders[0] / "big.pt").write_bytes(b"x" * 3_000_000)
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("slash", *"mrm", "enter")
        await until(pilot, lambda: "8 of 11 runs" in shown(app))
        await pilot.press("A")
        await until(pilot, lambda: "8 marked" in shown(app))
        await pilot.press("X")
        await until(pilot, lambda: "Remove 7 runs?" in shown(app))
        assert "1 blocked, 4 succeeded, 1 failed, 1 lost" in shown(app)
        assert "on the disk" in shown(app)
        assert "siimca  mrm · siim 10 % · seed 2" in shown(app)  # what goes is named
        assert "1 more is left alone" in shown(app)
        await pilot.press("n")
        await until(pilot, lambda: not isinstance(app.screen, Question))
        assert all(folder.is_dir() for folder in folders)
        assert runs.count(db) == 11
        await pilot.press("X")
        await until(pilot, lambda: "Remove 7 runs?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "7 runs removed" in told(app))
        await until(pilot, lambda: "1 of 4 runs" in shown(app))
    assert not any(folder.exists() for folder in folders)
    assert runs.get(db, "deepaa").state == "running"


async def test_a_run_that_others_start_from_stays_and_is_named(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("G", "delete")
        await until(pilot, lambda: "Remove mrmaaa?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "mrmaaa: `mrmaaa` cannot be removed" in told(app))
    assert runs.get(open_store(full_lab.registry), "mrmaaa").state == "succeeded"


async def test_marked_runs_are_stopped_and_go_on_together(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    told: Shown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)  # nothing is to start
    app = make_app(full_lab)
    db = open_store(full_lab.registry)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("space", "space", "s")  # a queued and a blocked one
        await until(pilot, lambda: "Stop 2 runs?" in shown(app) and "1 queued" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "2 runs asked to stop" in told(app))
        assert [runs.get(db, id).state for id in ("rndccc", "deepbb")] == ["stopped"] * 2
        for id in ("rndccc", "deepbb"):
            await until(pilot, lambda id=id: f"{id} ■ stopped" in shown(app))
        await pilot.press("g", "space", "space", "r")
        await until(pilot, lambda: "2 runs queued to go on" in told(app))
        assert runs.get(db, "rndccc").state == "queued"
        assert runs.get(db, "deepbb").state == "blocked"


async def test_r_lets_a_failed_run_try_again_and_says_of_others_that_it_cannot(
    full_lab: Lab,
    make_app: Wait,
    until: Wait,
    shown: Shown,
    told: Shown,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)  # nothing is to start
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("R")
        await until(pilot, lambda: "rndccc is queued: only failed, stopped, lost runs" in told(app))
        await pilot.press("slash", *"state:failed", "enter")
        await until(pilot, lambda: "1 of 11 runs" in shown(app))
        await pilot.press("R")
        await until(pilot, lambda: "1 run queued to try again" in told(app))
    assert runs.get(open_store(full_lab.registry), "shzaaa").state == "queued"


def test_what_has_changed_or_gone_since_it_was_marked_is_left_alone(full_lab: Lab) -> None:
    db = open_store(full_lab.registry)
    marked = [runs.get(db, id) for id in ("rndccc", "rndaaa", "rndbbb")]
    runs.remove(db, "rndaaa")
    runs.change_state(db, "rndbbb", "running")
    assert acting.carry_out(full_lab, db, acting.ACTS["remove"], marked) == "1 run removed"
    assert runs.get(db, "rndbbb").state == "running"


def test_names_of_any_length_leave_the_columns_of_the_home_screen_aligned(
    full_lab: Lab, add_run: Wait
) -> None:
    add_run(full_lab, "longaa", "deep_mrm", "shenzhen_lungs", ratio=100, state="stopped")
    add_run(full_lab, "longbb", "a" * 60, "日本語の課題" * 9, ratio=1, state="lost", seed=12345)
    found = runs.select(open_store(full_lab.registry), states=runs.ENDED)
    for width in (80, 120, 200):
        said = telling.now([], found, at=0.0, width=width, colours={}).plain.splitlines()[1:]
        starts = {cell_len(line[: re.search(r" s\d+ ", line).start()]) for line in said}
        assert len(starts) == 1, said
        assert any("deep_mrm shenzhen_lungs 100 % " in line for line in said)


async def test_a_wrong_filter_says_what_is_wrong_and_leaves_the_table_as_it_was(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        await pilot.press("slash", *"mrm staet:run")
        await until(pilot, lambda: "no field, setting or metric is called `staet`" in shown(app))
        assert "did you mean `state`?" in shown(app)
        assert app.screen.query_one(Table).count == 8  # what `mrm` fits
        await pilot.press(*["backspace"] * 9, *"state:run")
        await until(pilot, lambda: "1 of 11 runs" in shown(app) and "staet" not in shown(app))


@pytest.mark.parametrize(
    ("typed", "count"), [("lr>1e-4", 11), ("lr>1", 0), ("Dice>72%", 2), ("took>10m", 8)]
)
async def test_settings_results_and_times_are_filtered_by(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, typed: str, count: int
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        await pilot.press("slash", *typed)
        await until(pilot, lambda: f"{count} of 11 runs" in shown(app))


async def test_groups_are_counted_closed_and_opened(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "11 runs" in shown(app))
        await pilot.press("B")
        await until(pilot, lambda: "▾ deep_mrm  2 runs" in shown(app))
        table = app.screen.query_one(Table)
        assert table.count == 14
        await pilot.press("enter")
        await until(pilot, lambda: "▸ deep_mrm  2 runs" in shown(app) and table.count == 12)
        assert "deepaa" not in shown(app)
        await pilot.press("down", "down", "z")  # from a run inside it
        await until(pilot, lambda: "▸ mrm  6 runs" in shown(app) and table.row == 1)
        await pilot.press("z")
        await until(pilot, lambda: "▾ mrm  6 runs" in shown(app))
        await pilot.press("Z")
        await until(pilot, lambda: table.count == 3)
        await pilot.press("Z")
        await until(pilot, lambda: table.count == 14)
        await pilot.press("B")
        await until(pilot, lambda: "▾ siim  5 runs" in shown(app))
        await pilot.press("B")
        await until(pilot, lambda: "▾ ▶ running  1 run" in shown(app))
        await pilot.press("B")
        await until(pilot, lambda: table.count == 11)


async def test_the_head_of_a_group_marks_its_runs_and_opens_none(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "B")
        await until(pilot, lambda: "▾ deep_mrm  2 runs" in shown(app))
        await pilot.press("space")
        await until(pilot, lambda: "2 marked · 11 runs" in shown(app))
        assert "●deepaa" in shown(app)
        await pilot.press("escape", "s", "r", "R", "X", "plus")  # a head is no run
        await until(pilot, lambda: "marked" not in shown(app))
        assert not isinstance(app.screen, Question)


async def test_ten_thousand_runs_in_groups_are_read_a_window_at_a_time(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    many(empty_lab, 3000)
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2", "B")
        await until(pilot, lambda: "▾ mrm  3,000 runs" in shown(app))
        await pilot.press("G")
        await until(pilot, lambda: "r00000" in shown(app))
        assert len(app.screen.query_one(Table)._rows) <= 2 * AROUND + 24


async def test_tags_are_given_and_taken_away_and_shown(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("space", "space", "plus")
        await until(pilot, lambda: "Tag 2 runs" in shown(app))
        await pilot.press(*"good,", "enter")
        await until(pilot, lambda: "`good,` is no tag" in shown(app))
        await pilot.press("backspace", "space", *"+v2", "enter")
        await until(pilot, lambda: shown(app).count("#good #v2") == 2)
        assert "2 runs tagged" in told(app)
        await pilot.press("g", "plus")
        await until(pilot, lambda: "Tag rndccc" in shown(app))
        await pilot.press(*"-good", "enter")
        await until(pilot, lambda: shown(app).count("#good #v2") == 1 and " #v2" in shown(app))
        await pilot.press("plus", "escape", "slash", *"tag:good", "enter")
        await until(pilot, lambda: "1 of 11 runs" in shown(app))


async def test_columns_are_chosen_moved_remembered_and_put_back(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    def head(app: Any) -> list[str]:
        return [column.title for column in app.screen.query_one(Table).columns]

    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        usual = head(app)
        await pilot.press("C")
        await until(pilot, lambda: "Columns of the list" in shown(app))
        await pilot.press("space", "down", "J", "enter")  # no method; task behind labels
        await until(pilot, lambda: head(app)[:4] == ["run", "state", "labels", "task"])
        assert "method" not in head(app)
        await until(pilot, lambda: remembered.recall(full_lab, "run_columns", []) != [])
    again = make_app(full_lab)
    async with again.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: head(again)[:4] == ["run", "state", "labels", "task"])
        await pilot.press("C", "escape", "C", "d")
        await until(pilot, lambda: head(again) == usual)


async def test_a_setting_in_which_runs_differ_can_be_a_column(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    db = open_store(full_lab.registry)
    config = Path(runs.get(db, "rndccc").folder) / "config.json"
    config.write_text('{"lr": 0.00077}')
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("2")
        await until(pilot, lambda: "mrmaaa" in shown(app))
        await pilot.press("C")
        await until(pilot, lambda: any(n == "set:lr" for n in app.screen._names))
        await pilot.press("G", "space", "enter")
        await until(pilot, lambda: app.screen.query_one(Table).columns[-1].title == "lr")
        await pilot.press(*["right", "l"] * 2)
        await until(pilot, lambda: "0.00077" in shown(app))
