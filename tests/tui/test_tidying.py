"""Memory is looked through in pauses, and not while keys are pressed."""

from __future__ import annotations

import gc

import pytest

from cxrlab.tui import tidying


@pytest.mark.parametrize(
    ("new", "still_s", "looks"),
    [
        (tidying.ENOUGH, tidying.PAUSE_S, True),
        (tidying.ENOUGH, tidying.PAUSE_S / 2, False),
        (tidying.ENOUGH - 1, 60.0, False),
        (tidying.MUCH, 0.0, True),
    ],
)
def test_old_things_are_looked_through_in_a_pause_or_when_there_are_very_many(
    monkeypatch: pytest.MonkeyPatch, new: int, still_s: float, looks: bool
) -> None:
    looked: list[bool] = []
    monkeypatch.setattr(gc, "get_count", lambda: (0, 0, new))
    monkeypatch.setattr(gc, "collect", lambda: looked.append(True))
    tidying.tidy(still_s)
    assert looked == [True] * looks


def test_python_does_not_look_through_old_things_by_itself() -> None:
    before = gc.get_threshold()
    try:
        tidying.begin()
        assert gc.get_threshold()[:2] == before[:2]
        assert gc.get_threshold()[2] > 10**9
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
