from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from store import cells, intake, runs
from store.db import open_store, writing
from store.finished import start_of


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


def test_runs_of_one_recipe_on_other_data_or_from_another_encoder_are_never_averaged(
    db: Any, add_run: Any, write_events: Any
) -> None:
    said = [
        {"data": {"version": "V1", "fingerprint": "f"}, "encoder": {"sha256": "e"}},
        {"data": {"version": "V1", "fingerprint": "f"}, "encoder": {"sha256": "e"}},
        {"data": {"version": "V2", "fingerprint": "f"}, "encoder": {"sha256": "e"}},
        {"data": {"version": "V1", "fingerprint": "g"}, "encoder": {"sha256": "e"}},
        {"data": {"version": "V1", "fingerprint": "f"}, "encoder": {"sha256": "other"}},
    ]
    for seed, facts in enumerate(said):
        facts["encoder"]["path"] = "/weights/e.pt"
        folder = add_run(f"run{seed}", recipe="r", state="succeeded", seed=seed)
        write_events(folder, {"kind": "result", "values": {"test/Dice": seed / 10}, **facts})
        intake.take_in(db, f"run{seed}", folder)
    found = [(g.n, g.mean, g.version, g.fingerprint, g.encoder) for g in cells.groups(db)]
    assert found == [
        (2, pytest.approx(0.05), "V1", "f", "e"),
        (1, pytest.approx(0.4), "V1", "f", "other"),
        (1, pytest.approx(0.3), "V1", "g", "e"),
        (1, pytest.approx(0.2), "V2", "f", "e"),
    ]
    starts = [start for group in cells.groups(db) for start in group.starts]
    assert ("", "/weights/e.pt", "other") in starts


def test_runs_of_one_recipe_in_more_processes_are_never_averaged_with_others(
    db: Any, finished: Any
) -> None:
    finished("aaaaaa", 0.5, seed=0, gpus=0)
    finished("bbbbbb", 0.7, seed=1, gpus=1)
    finished("cccccc", 0.9, seed=2, gpus=4)
    finished("dddddd", 0.8, seed=3, gpus=2, nodes=2)
    found = [(group.processes, group.n, group.mean) for group in cells.groups(db)]
    assert found == [(1, 2, pytest.approx(0.6)), (4, 2, pytest.approx(0.85))]
    kept = [(group.processes, group.n) for group in cells.groups(db)]
    assert kept == [(1, 2), (4, 2)]


def test_what_is_kept_follows_every_change_of_a_finished_run(db: Any, finished: Any) -> None:
    def shown() -> list[tuple[int, float]]:
        return [(group.n, round(group.mean, 3)) for group in cells.groups(db)]

    finished("aaaaaa", 0.5, seed=0)
    assert shown() == [(1, 0.5)]
    assert db.conn.execute("select count(*) from cells_changed").fetchone() == (0,)
    finished("bbbbbb", 0.7, seed=1)
    assert shown() == [(2, 0.6)]
    runs.change_state(db, "aaaaaa", "running")
    assert shown() == [(1, 0.7)]
    runs.change_state(db, "aaaaaa", "succeeded")
    assert shown() == [(2, 0.6)]
    intake.forget(db, "bbbbbb")
    assert shown() == [(1, 0.5)]
    intake.take_in(db, "bbbbbb", Path(runs.get(db, "bbbbbb").folder))
    assert shown() == [(2, 0.6)]
    runs.remove(db, "bbbbbb")
    assert shown() == [(1, 0.5)]


def test_a_reader_that_cannot_keep_what_it_worked_out_shows_it_all_the_same(
    db: Any, registry: Path, finished: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished("aaaaaa", 0.5, seed=0)
    finished("bbbbbb", 0.7, seed=0, ratio=100)
    cells.groups(db)
    finished("cccccc", 0.9, seed=1)
    monkeypatch.setattr(cells, "WAIT_S", 0.0)
    other = open_store(registry)
    with writing(other):
        assert [group.n for group in cells.groups(db)] == [2, 1]
        some = cells.groups(db, {("siim", "Dice")})
        assert {group.ratio: group.n for group in some} == {10: 2, 100: 1}
        assert cells.groups(db, {("siim", "other")}) == []
    other.conn.close()
    assert db.conn.execute("select count(*) from cells_changed").fetchone() == (1,)
    assert [group.n for group in cells.groups(db)] == [2, 1]
    assert db.conn.execute("select count(*) from cells_changed").fetchone() == (0,)


def test_pre_training_time_is_all_that_was_spent_also_what_a_killed_attempt_lost(
    db: Any, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa", task="pretrain", ratio=None)
    times = [(100.0, 160.0, "stopped"), (500.0, 530.0, None), (700.0, 725.0, "succeeded")]
    for attempt, (began, ended, outcome) in enumerate(times, start=1):
        runs.change_state(db, "aaaaaa", "running", at=began)
        assert runs.start_attempt(db, "aaaaaa", began) == attempt
        with (folder / "events.jsonl").open("a") as file:
            start = {"t": began, "kind": "start", "step": 0, "attempt": attempt}
            file.write(json.dumps(start) + "\n")
            beat = {"t": ended - 2, "kind": "progress", "done": 1, "total": 2}
            file.write(json.dumps(beat) + "\n")
            if outcome == "succeeded":  # the trainer knows nothing of what was lost
                result = {"values": {"val/loss": 1.0}, "train_seconds": 85.0}
                file.write(json.dumps({"t": ended, "kind": "result", **result}) + "\n")
            if outcome:
                end = {"t": ended, "kind": "end", "outcome": outcome}
                file.write(json.dumps(end) + "\n")
        intake.take_in(db, "aaaaaa", folder)
        runs.change_state(db, "aaaaaa", outcome or "lost", at=ended)
    found = {group.metric: group.mean for group in cells.groups(db)}
    # 60 s, then 28 s until the last word of the attempt that was killed, then 25 s
    assert found == {"loss": 1.0, "time": 113.0}


def test_what_an_encoder_is_now_is_found_with_all_that_it_descends_from(
    db: Any, add_run: Any, write_events: Any
) -> None:
    first = add_run("aaaaaa", task="pretrain", ratio=None, state="succeeded")
    again = add_run("bbbbbb", task="pretrain", ratio=None, state="failed", parent="aaaaaa")
    for id, folder in (("aaaaaa", first), ("bbbbbb", again)):
        checkpoint = {"kind_of": "encoder", "path": "checkpoints/encoder.pt", "sha256": id * 2}
        write_events(folder, {"kind": "checkpoint", **checkpoint})
        intake.take_in(db, id, folder)
    found = cells.encoders(db, ["bbbbbb", "gone"])
    assert set(found) == {"aaaaaa", "bbbbbb"}
    assert found["bbbbbb"].state == "failed"
    assert found["bbbbbb"].files == (("checkpoints/encoder.pt", "bbbbbb" * 2),)
    assert found["bbbbbb"].start == ("aaaaaa", "", "")
    assert found["aaaaaa"].start is None


def test_weights_beside_the_runs_folder_are_of_a_run_of_this_lab(tmp_path: Path) -> None:
    def made_by(path: Path) -> str | None:
        said = json.dumps(["aaaaaa-mrm-pretrain-s0", str(path), "e"])
        start = start_of(None, str(tmp_path / "runs" / "bbbbbb-mrm-siim-10-s0"), said)
        return start and start.run_id

    name = Path("aaaaaa-mrm-pretrain-s0/checkpoints/encoder.pt")
    assert made_by(tmp_path / "runs" / name) == "aaaaaa"
    assert made_by(tmp_path / "elsewhere" / name) == ""
    assert start_of(None, "/runs/x", None) is None


def test_the_newest_of_each_cell_and_state_stands_for_all_that_wait(db: Any, add_run: Any) -> None:
    add_run("aaaaaa", at=1.0, state="failed", seed=0)
    add_run("bbbbbb", at=2.0, state="failed", seed=1)
    add_run("cccccc", at=3.0, state="running", ratio=100)
    add_run("dddddd", at=4.0, state="running", ratio=100)
    add_run("eeeeee", at=5.0, state="succeeded")
    found = {(run.ratio, run.state): (run.run_id, run.ids) for run in cells.waiting(db)}
    assert found == {
        (10, "failed"): ("bbbbbb", "aaaaaa bbbbbb"),
        (100, "running"): ("dddddd", "dddddd cccccc"),
    }


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
