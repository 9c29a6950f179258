from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from store import cells, intake


@pytest.fixture
def finished(db: Any, add_run: Any, write_events: Any) -> Any:
    """Make a run with a result; by default of recipe `r`, chosen by val/Dice."""

    def finish(
        id: str,
        value: float | None,
        *,
        val: float | None = None,
        bounds: Any = None,
        split: tuple[str, str] | None = None,
        **fields: Any,
    ) -> None:
        folder = add_run(id, **{"recipe": "r", "state": "succeeded", **fields})
        values = {"test/Dice": value} | ({} if val is None else {"val/Dice": val})
        result = {"kind": "result", "values": values, "selected_by": "val/Dice"}
        if split:
            result["data"] = {"split_sha256": {"train": split[0], "val": "v", "test": split[1]}}
        write_events(folder, result | ({"bounds": {"test/Dice": bounds}} if bounds else {}))
        intake.take_in(db, id, folder)

    return finish


def test_seeds_of_one_recipe_become_mean_and_sample_sd(db: Any, finished: Any) -> None:
    values = [0.70, 0.75, 0.71]
    for seed, value in enumerate(values):
        finished(f"run{seed}", value, seed=seed, at=float(seed), val=value - 0.1)
    (group,) = cells.groups(db)
    assert (group.method, group.task, group.ratio, group.metric) == ("mrm", "siim", 10, "Dice")
    assert (group.n, group.run_ids) == (3, ("run2", "run1", "run0"))
    assert group.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert group.sd == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    assert group.selected_value == pytest.approx(0.62, abs=1e-12)


def test_a_single_run_has_no_sd_and_the_bounds_it_gave(db: Any, finished: Any) -> None:
    finished("aaaaaa", 0.7, bounds=[0.6, 0.8])
    (group,) = cells.groups(db)
    assert (group.n, group.mean, group.sd) == (1, 0.7, None)
    assert (group.low, group.high, group.selected_value) == (0.6, 0.8, None)


def test_bounds_are_averaged_and_absent_when_one_run_gave_none(db: Any, finished: Any) -> None:
    finished("aaaaaa", 0.7, seed=0, bounds=[0.6, 0.8])
    finished("bbbbbb", 0.8, seed=1, bounds=[0.7, 0.9])
    (group,) = cells.groups(db)
    assert (group.low, group.high) == (pytest.approx(0.65), pytest.approx(0.85))
    finished("cccccc", 0.9, seed=2)
    (group,) = cells.groups(db)
    assert (group.low, group.high) == (None, None)


def test_recipes_are_never_averaged_together(db: Any, finished: Any) -> None:
    finished("aaaaaa", 0.5, seed=0, recipe="r1")
    finished("bbbbbb", 0.9, seed=1, recipe="r2")
    assert [(group.recipe, group.mean) for group in cells.groups(db)] == [("r1", 0.5), ("r2", 0.9)]


def test_runs_of_one_recipe_on_other_test_sets_are_never_averaged_together(
    db: Any, finished: Any
) -> None:
    finished("aaaaaa", 0.5, seed=0, split=("t", "one"))
    finished("bbbbbb", 0.7, seed=1, split=("t", "one"))
    finished("cccccc", 0.9, seed=2, split=("t", "other"))
    found = [(group.test_split, group.n, group.mean) for group in cells.groups(db)]
    assert found == [("one", 2, pytest.approx(0.6)), ("other", 1, 0.9)]


def test_runs_of_one_recipe_on_other_training_lists_are_never_averaged_together(
    db: Any, finished: Any
) -> None:
    finished("aaaaaa", 0.5, seed=0, split=("one", "t"))
    finished("bbbbbb", 0.9, seed=1, split=("other", "t"))
    finished("cccccc", 0.7, seed=2)
    found = [(group.train_split, group.test_split, group.mean) for group in cells.groups(db)]
    assert found == [("", "", 0.7), ("one", "t", 0.5), ("other", "t", 0.9)]


def test_splits_are_read_from_their_index_alone(db: Any) -> None:
    asked: list[str] = []
    db.conn.set_trace_callback(asked.append)
    cells.splits(db)
    db.conn.set_trace_callback(None)
    plan = db.conn.execute(f"explain query plan {asked[0]}").fetchall()
    assert "runs_splits" in plan[0][3]


def test_a_seed_run_twice_counts_once_and_by_its_newest_run(db: Any, finished: Any) -> None:
    finished("newest", 0.9, seed=0, at=20.0)
    finished("oldest", 0.1, seed=0, at=10.0)
    finished("second", 0.7, seed=1, at=5.0)
    (group,) = cells.groups(db)
    assert group.run_ids == ("newest", "second")
    assert group.mean == pytest.approx(0.8)


@pytest.mark.parametrize("state", ["running", "failed", "lost", "stopped"])
def test_a_run_that_has_not_succeeded_is_in_no_group(db: Any, finished: Any, state: str) -> None:
    finished("aaaaaa", 0.5, state=state)
    assert cells.groups(db) == []
    assert [(run.run_id, run.state) for run in cells.open_runs(db)] == [("aaaaaa", state)]


def test_a_result_without_a_number_and_a_validation_metric_are_no_groups(
    db: Any, finished: Any
) -> None:
    finished("aaaaaa", None, val=0.4)
    assert cells.groups(db) == []


def test_ratios_tasks_and_methods_are_groups_of_their_own_in_order(db: Any, finished: Any) -> None:
    finished("aaaaaa", 0.1, ratio=100)
    finished("bbbbbb", 0.2, ratio=10)
    finished("cccccc", 0.3, ratio=None, task="pretrain")
    finished("dddddd", 0.4, method="deep_mrm")
    keys = [(group.method, group.task, group.ratio) for group in cells.groups(db)]
    assert keys == [
        ("deep_mrm", "siim", 10),
        ("mrm", "pretrain", None),
        ("mrm", "siim", 10),
        ("mrm", "siim", 100),
    ]


def test_open_runs_are_newest_first_and_leave_out_what_succeeded(db: Any, add_run: Any) -> None:
    add_run("aaaaaa", at=1.0)
    add_run("bbbbbb", at=2.0, needs=("aaaaaa",))
    add_run("cccccc", at=3.0, state="succeeded")
    found = [(run.run_id, run.state) for run in cells.open_runs(db)]
    assert found == [("bbbbbb", "blocked"), ("aaaaaa", "queued")]
