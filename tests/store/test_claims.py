from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from store import claims


@pytest.fixture(autouse=True)
def two_runs(add_run: Any) -> None:
    add_run("aaaaaa")
    add_run("bbbbbb")


def test_a_device_that_another_run_holds_is_not_given(db: Any) -> None:
    assert claims.claim(db, "aaaaaa", ["GPU-1"])
    assert not claims.claim(db, "bbbbbb", ["GPU-1"])
    assert claims.held(db) == {"GPU-1": "aaaaaa"}


def test_of_several_devices_a_run_gets_all_or_none(db: Any) -> None:
    claims.claim(db, "aaaaaa", ["GPU-2"])
    assert not claims.claim(db, "bbbbbb", ["GPU-1", "GPU-2", "GPU-3"])
    assert claims.held(db) == {"GPU-2": "aaaaaa"}


def test_to_claim_what_one_holds_changes_nothing(db: Any) -> None:
    assert claims.claim(db, "aaaaaa", ["GPU-1"], at=1.0)
    assert claims.claim(db, "aaaaaa", ["GPU-1", "GPU-2"], at=2.0)
    assert claims.held(db) == {"GPU-1": "aaaaaa", "GPU-2": "aaaaaa"}


def test_a_released_device_can_be_claimed_by_another_run(db: Any) -> None:
    claims.claim(db, "aaaaaa", ["GPU-1", "GPU-2"])
    claims.claim(db, "bbbbbb", ["GPU-3"])
    claims.release(db, "aaaaaa")
    claims.release(db, "aaaaaa")
    assert claims.held(db) == {"GPU-3": "bbbbbb"}
    assert claims.claim(db, "bbbbbb", ["GPU-1"])


def test_runs_share_a_device_as_long_as_their_needs_fit(db: Any, add_run: Any) -> None:
    add_run("cccccc")
    room = {"GPU-1": 100}
    assert claims.claim(db, "aaaaaa", ["GPU-1"], mib=60, room=room)
    assert not claims.claim(db, "bbbbbb", ["GPU-1"], mib=41, room=room)
    assert claims.claim(db, "cccccc", ["GPU-1"], mib=40, room=room)
    assert [(each.run, each.mib, each.exclusive) for each in claims.every(db)] == [
        ("aaaaaa", 60, False),
        ("cccccc", 40, False),
    ]


def test_nobody_joins_a_run_that_holds_its_device_alone_nor_does_it_join_others(db: Any) -> None:
    claims.claim(db, "aaaaaa", ["GPU-1"])
    assert not claims.claim(db, "bbbbbb", ["GPU-1"], mib=1, room={"GPU-1": 100})
    claims.claim(db, "bbbbbb", ["GPU-2"], mib=1, room={"GPU-2": 100})
    assert not claims.claim(db, "aaaaaa", ["GPU-2"])


@pytest.mark.parametrize("exclusive", [(1, 1), (1, 0), (0, 1)])
def test_the_registry_itself_refuses_what_is_not_to_be_held_together(
    db: Any, exclusive: tuple[int, int]
) -> None:
    insert = "insert into claims (device, run, mib, exclusive, since) values ('GPU-1', ?, 1, ?, 0)"
    db.conn.execute(insert, (1, exclusive[0]))
    with pytest.raises(sqlite3.IntegrityError, match="the device is held"):
        db.conn.execute(insert, (2, exclusive[1]))
