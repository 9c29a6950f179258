from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store import intake, points


@pytest.fixture
def long_run(db: Any, add_run: Any, write_events: Any) -> str:
    """5,000 steps of a wave with one spike, and three validations."""
    folder = add_run("aaaaaa")
    write_events(
        folder,
        *(
            {"kind": "metrics", "step": n, "values": {"train/loss": math.sin(n / 300)}}
            for n in range(1, 5001)
        ),
        {"kind": "metrics", "step": 3333, "values": {"train/loss": 99.0}},
        *({"kind": "metrics", "step": n, "values": {"val/Dice": n / 5000}} for n in (10, 20, 30)),
    )
    intake.take_in(db, "aaaaaa", folder)
    return "aaaaaa"


def test_a_short_curve_comes_back_whole_and_in_order(db: Any, long_run: str) -> None:
    assert points.curve(db, long_run, "val/Dice") == [(10, 0.002), (20, 0.004), (30, 0.006)]


def test_a_long_curve_is_thinned_without_losing_its_spike_or_its_ends(
    db: Any, long_run: str
) -> None:
    curve = points.curve(db, long_run, "train/loss", most=100)
    assert 50 < len(curve) <= 100
    assert (3333, 99.0) in curve
    assert curve[0] == (1, math.sin(1 / 300))
    assert curve[-1] == (5000, math.sin(5000 / 300))


def test_after_a_step_only_what_is_new_comes(db: Any, long_run: str) -> None:
    assert points.curve(db, long_run, "val/Dice", after=10) == [(20, 0.004), (30, 0.006)]
    assert points.curve(db, long_run, "val/Dice", after=30) == []


def test_a_metric_that_was_never_logged_is_an_empty_curve(db: Any, long_run: str) -> None:
    assert points.curve(db, long_run, "val/AUROC") == []


def test_a_run_knows_its_own_metrics_only(
    db: Any, long_run: str, add_run: Any, write_events: Any
) -> None:
    folder = add_run("bbbbbb")
    write_events(folder, {"kind": "metrics", "step": 1, "values": {"val/AUROC": 0.5}})
    intake.take_in(db, "bbbbbb", folder)
    assert points.metric_names(db, long_run) == ["train/loss", "val/Dice"]
    assert points.metric_names(db, "bbbbbb") == ["val/AUROC"]
    assert points.last(db, "bbbbbb") == {"val/AUROC": 0.5}


def test_the_last_value_is_that_of_the_largest_step(db: Any, long_run: str) -> None:
    assert points.last(db, long_run) == {"train/loss": math.sin(5000 / 300), "val/Dice": 0.006}


def test_values_that_are_not_finite_are_left_out_of_curve_and_last(
    db: Any, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa")
    for step, value in enumerate((1.0, None, math.nan, 2.0, math.inf), start=1):
        write_events(folder, {"kind": "metrics", "step": step, "values": {"train/loss": value}})
    assert intake.take_in(db, "aaaaaa", folder) == 5
    assert points.curve(db, "aaaaaa", "train/loss") == [(1, 1.0), (4, 2.0)]
    assert points.last(db, "aaaaaa") == {"train/loss": 2.0}


def test_a_curve_of_fewer_than_four_points_cannot_be_asked_for(db: Any, long_run: str) -> None:
    with pytest.raises(ValueError, match="at least 4"):
        points.curve(db, long_run, "val/Dice", most=3)


def test_of_very_many_points_the_registry_gives_the_same_ends_and_extremes(
    db: Any, long_run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    thinned = points.curve(db, long_run, "train/loss", most=100)
    monkeypatch.setattr(points, "MANY", 200)
    curve = points.curve(db, long_run, "train/loss", most=100)
    whole = points.curve(db, long_run, "train/loss", most=10_000)
    assert 50 < len(curve) <= 100
    assert curve == sorted(curve)
    assert set(curve) <= set(whole)
    assert (curve[0], curve[-1]) == (whole[0], whole[-1])
    for of in (min, max):
        assert of(v for _, v in curve) == of(v for _, v in thinned) == of(v for _, v in whole)
    later = points.curve(db, long_run, "train/loss", after=3000, most=100)
    assert (later[0][0], later[-1][0]) == (3001, 5000)
    assert (3333, 99.0) in later


@given(values=st.lists(st.floats(-1e6, 1e6), max_size=400), most=st.integers(4, 60))
def test_thinning_keeps_order_ends_and_extremes_within_the_number_asked_for(
    values: list[float], most: int
) -> None:
    whole = list(enumerate(values))
    thinned = points.thin(whole, most)
    assert len(thinned) <= most
    assert thinned == sorted(set(thinned))
    assert set(thinned) <= set(whole)
    assert len(whole) > most or thinned == whole
    if whole:
        assert (thinned[0], thinned[-1]) == (whole[0], whole[-1])
        assert max(v for _, v in thinned) == max(values)
        assert min(v for _, v in thinned) == min(values)
