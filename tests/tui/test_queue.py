from __future__ import annotations

import fcntl
import json
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import pytest

from cxrlab.lab import Lab
from cxrlab.tui.screens.queue import QueueScreen, reason_of
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.widgets.table import Table
from store import queue, runs
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.fixture
def waiting_lab(empty_lab: Lab, add_run: Wait) -> Lab:
    """Three queued runs, of one age, and a blocked one."""
    for seed, id in enumerate(("aaaaaa", "bbbbbb", "cccccc")):
        add_run(empty_lab, id, "random", "siim", ratio=10, seed=seed, state="queued",
                reason="waits for its turn")  # fmt: skip
    add_run(empty_lab, "prepre", "mrm", "pretrain", state="running")
    add_run(empty_lab, "zzzzzz", "mrm", "siim", ratio=10, parent="prepre", state="blocked")
    return empty_lab


def order(lab: Lab) -> list[str]:
    db = open_store(lab.registry)
    found = [run.id for run in queue.waiting(db)]
    db.close()
    return found


@pytest.fixture
def on_queue(waiting_lab: Lab, make_app: Wait, until: Wait, shown: Shown) -> Wait:
    """Open the queue, and call `steps(app, pilot)` once it is shown."""

    async def go(steps: Wait) -> None:
        app = make_app(waiting_lab)
        async with app.run_test(size=(80, 24)) as pilot:
            await pilot.press("3")
            await until(pilot, lambda: "zzzzzz" in shown(app))
            await steps(app, pilot)

    return go


async def test_the_queue_names_order_state_and_what_each_run_waits_for(
    on_queue: Wait, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        lines = shown(app).splitlines()
        rows = [line for line in lines if any(f"{n} " in line[:6] for n in "1234")]
        assert [row.split()[1] for row in rows[-4:]] == ["aaaaaa", "bbbbbb", "cccccc", "zzzzzz"]
        assert "◦ queued" in rows[-4]
        assert "its turn" in rows[-4]
        assert "… blocked" in rows[-1]
        assert "prepre" in rows[-1]
        assert "4 runs wait" in shown(app)

    await on_queue(steps)


@pytest.mark.parametrize(
    ("keys", "after"),
    [
        ("J", "bbbbbb aaaaaa cccccc zzzzzz"),
        ("shift+down", "bbbbbb aaaaaa cccccc zzzzzz"),
        ("down K", "bbbbbb aaaaaa cccccc zzzzzz"),
        ("down shift+up", "bbbbbb aaaaaa cccccc zzzzzz"),
        ("down down f", "cccccc aaaaaa bbbbbb zzzzzz"),
        ("down F", "aaaaaa cccccc bbbbbb zzzzzz"),
    ],
)
async def test_keys_move_the_run_and_the_cursor_goes_with_it(
    on_queue: Wait, until: Wait, waiting_lab: Lab, keys: str, after: str
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        *moves, key = keys.split()
        await pilot.press(*moves)
        moved = app.screen.selected.id
        await pilot.press(key)
        await until(pilot, lambda: order(waiting_lab) == after.split())
        at = after.split().index(moved)
        await until(pilot, lambda: app.screen.query_one(Table).row == at)
        assert app.screen.selected.id == moved

    await on_queue(steps)


async def test_pressing_twice_moves_two_places(
    on_queue: Wait, until: Wait, waiting_lab: Lab
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("J", "J")
        after = ["bbbbbb", "cccccc", "aaaaaa", "zzzzzz"]
        await until(pilot, lambda: order(waiting_lab) == after)

    await on_queue(steps)


async def test_h_holds_a_run_and_lets_it_go(
    on_queue: Wait, until: Wait, waiting_lab: Lab, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab: None)  # nothing is to start
    db = open_store(waiting_lab.registry)

    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("h")
        await until(pilot, lambda: "‖ held" in shown(app) and "1 held" in shown(app))
        assert runs.get(db, "aaaaaa").held is not None
        await pilot.press("h")
        await until(pilot, lambda: "‖ held" not in shown(app))
        run = runs.get(db, "aaaaaa")
        assert (run.held, run.reason) == (None, "waits for its turn")

    await on_queue(steps)
    db.close()


async def test_s_asks_and_stops(
    on_queue: Wait, until: Wait, waiting_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("s")
        await until(pilot, lambda: "Stop aaaaaa?" in shown(app))
        await pilot.press("y")
        await until(pilot, lambda: "aaaaaa" not in order(waiting_lab))
        await until(pilot, lambda: "3 runs wait" in shown(app))

    await on_queue(steps)


async def test_enter_opens_the_run_and_back_leads_to_the_queue(
    on_queue: Wait, until: Wait, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen) and "bbbbbb" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, QueueScreen))

    await on_queue(steps)


async def test_a_run_that_comes_is_shown_at_once(
    on_queue: Wait, until: Wait, waiting_lab: Lab, add_run: Wait, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        add_run(waiting_lab, "newone", "random", "siim", ratio=100, state="queued")
        await until(pilot, lambda: "newone" in shown(app) and "5 runs wait" in shown(app))

    await on_queue(steps)


async def test_what_others_wrote_is_shown_as_text(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, add_run: Wait
) -> None:
    reason = "[red]a[/] \x1b]0;t\x07\x1b[2J \u202edlo 等待 " + "x" * 9000
    add_run(empty_lab, "aaaaaa", "random", "siim", ratio=10, state="queued", reason=reason)
    app = make_app(empty_lab)
    async with app.run_test(size=(200, 60)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "[red]a[/] ␛]0;t␇␛[2J �dlo 等待" in shown(app))
        assert "\x1b" not in shown(app)


async def test_keys_in_an_empty_queue_do_nothing(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    app = make_app(empty_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await until(pilot, lambda: "nothing waits" in shown(app))
        await pilot.press("K", "J", "f", "F", "h", "s", "enter", "down", "up")
        await until(pilot, lambda: "nothing waits" in shown(app))
        assert isinstance(app.screen, QueueScreen)


def test_a_held_run_waits_for_its_person(waiting_lab: Lab) -> None:
    db = open_store(waiting_lab.registry)
    queue.hold(db, ["zzzzzz"])
    assert reason_of(runs.get(db, "zzzzzz")) == "you: `h` lets it go"
    assert "prepre" in reason_of(runs.get(db, "zzzzzz")._replace(held=None))
    db.close()


@pytest.fixture
def agent_on_paper(waiting_lab: Lab) -> Iterator[TextIO]:
    """What an agent holds while it lives; closing it ends the agent."""
    with waiting_lab.agent_lock.open("w", encoding="utf-8") as file:
        json.dump({"pid": 4242, "since": 0.0}, file)
        file.flush()
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


async def test_it_is_said_that_no_agent_lives_to_start_what_waits(
    agent_on_paper: TextIO, on_queue: Wait, until: Wait, waiting_lab: Lab, shown: Shown
) -> None:
    async def steps(app: Any, pilot: Any) -> None:
        assert "no agent lives" not in shown(app)
        agent_on_paper.close()
        app.screen.read()  # as it does every ten seconds, for agents end unseen
        await until(pilot, lambda: "! 4 runs wait; no agent lives, so none starts" in shown(app))
        assert "`cxrlab agent start`" in shown(app)
        db = open_store(waiting_lab.registry)
        queue.hold(db, order(waiting_lab))
        db.close()
        await until(pilot, lambda: "4 runs wait, 4 held" in shown(app))
        assert "no agent lives" not in shown(app)  # they wait for a person

    await on_queue(steps)
