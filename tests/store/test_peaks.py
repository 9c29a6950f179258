from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from store import intake, peaks

PEAK = "perf/peak_gib"


@pytest.fixture
def ran(db: Any, add_run: Any, write_events: Any) -> Callable[..., None]:
    """Add a run that has ended and logged what memory it took, step by step."""

    def add(id: str, *gib: float, **facts: Any) -> None:
        folder = add_run(id, task="siim", **{"state": "succeeded", **facts})
        write_events(
            folder,
            {"kind": "start", "step": 0, "attempt": 1},
            *(
                {"kind": "metrics", "step": step, "values": {PEAK: value}}
                for step, value in enumerate(gib, start=1)
            ),
        )
        intake.take_in(db, id, folder)

    return add


def peak(db: Any, **facts: str) -> float | None:
    wanted = {"method": "mrm", "task": "siim", "preset": "quick", "recipe": "none", **facts}
    return peaks.peak(db, PEAK, **wanted)


def test_runs_of_the_same_recipe_tell_most(db: Any, ran: Callable[..., None]) -> None:
    ran("aaaaaa", 3.0, 5.5, recipe="mine")
    ran("bbbbbb", 4.0, recipe="mine")
    ran("cccccc", 20.0, recipe="other")
    for id in ("aaaaaa", "bbbbbb"):
        db.conn.execute("update runs set attempt = 1 where id = ?", (id,))
    assert peak(db, recipe="mine") == 5.5


def test_where_the_recipe_is_new_the_method_and_preset_tell(
    db: Any, ran: Callable[..., None]
) -> None:
    ran("aaaaaa", 3.0, recipe="one")
    ran("bbbbbb", 7.0, recipe="two", state="running")
    ran("cccccc", 30.0, recipe="three", preset="paper")
    ran("dddddd", 40.0, recipe="four", method="convirt")
    assert peak(db) == 7.0


def test_nothing_is_known_where_none_logged_it(db: Any, add_run: Any) -> None:
    add_run("aaaaaa", task="siim", state="succeeded", recipe="mine")
    assert peak(db, recipe="mine") is None
