from __future__ import annotations

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
