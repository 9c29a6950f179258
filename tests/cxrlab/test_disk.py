from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli, runner
from cxrlab.lab import Lab
from cxrlab.queueing import disk
from store import runs

GIB = 2**30


@pytest.fixture
def saved(db: Any, new_run: Any) -> Any:
    """Add a finished run whose checkpoints have so many bytes, none of them written."""

    def make(*sizes: int, **facts: Any) -> runs.Run:
        run = new_run(**facts)
        folder = Path(run.folder) / "checkpoints"
        folder.mkdir()
        for number, size in enumerate(sizes):
            with (folder / f"{number}.pt").open("wb") as file:
                file.truncate(size)
        runs.change_state(db, run.id, "succeeded")
        return runs.get(db, run.id)

    return make


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pretend that so many bytes are free."""
    return lambda count: monkeypatch.setattr(disk, "free_at", lambda folder: count)


def test_a_run_needs_what_its_like_has_saved_and_room_to_write_the_largest_anew(
    db: Any, new_run: Any, saved: Any, free: Any
) -> None:
    saved(2 * GIB, GIB)
    run = new_run()
    free(5 * GIB + disk.LEAST)
    assert disk.Disk(db).why_not(run) == ""
    free(GIB // 2)
    assert disk.Disk(db).why_not(run) == "needs 5.0 GiB of disk; 512.0 MiB are free"


def test_what_a_run_has_saved_itself_is_not_asked_for_again(
    db: Any, new_run: Any, saved: Any, free: Any
) -> None:
    saved(2 * GIB, GIB)
    again = saved(2 * GIB, GIB)
    free(2 * GIB + disk.LEAST)
    assert disk.Disk(db).why_not(again) == ""
    assert disk.Disk(db).why_not(new_run()) != ""


def test_runs_of_the_same_recipe_tell_before_others_of_the_preset(
    db: Any, new_run: Any, saved: Any
) -> None:
    saved(10, recipe="a" * 64)
    saved(20, recipe="b" * 64)
    for recipe, size in (("a" * 64, 10), ("c" * 64, 20)):
        told = disk.Disk(db).expected(new_run(recipe=recipe))
        assert told is not None
        assert (told.total, told.largest) == (size, size)
    assert disk.Disk(db).expected(new_run(preset="paper")) is None


@pytest.mark.parametrize(
    ("config", "encoders"),
    [
        ({"keep_every": 50, "epochs": 200, "steps": 0}, 3),  # the fourth is what it ends with
        ({"keep_every": 60, "epochs": 200, "steps": 0}, 3),
        ({"keep_every": 0, "epochs": 200, "steps": 0}, 0),
        ({"keep_every": 50, "epochs": 0, "steps": 400}, 0),
        ({}, 0),
    ],
)
def test_encoders_kept_on_the_way_are_counted_by_what_a_run_itself_will_keep(
    db: Any, new_run: Any, saved: Any, config: dict[str, int], encoders: int
) -> None:
    folder = Path(saved(7).folder) / "checkpoints"
    for name, size in (("encoder.pt", 100), ("epoch_9.pt", 100), ("last.pt", 300)):
        (folder / name).write_bytes(b"0" * size)
    run = new_run()
    (Path(run.folder) / "config.json").write_text(json.dumps(config))
    expected = 407 + 100 * encoders
    for known in (disk.Disk(db), disk.Disk(db, {run.folder: config})):
        told = known.expected(run)
        assert told is not None
        assert (told.total, told.largest) == (expected, 300)


def test_a_run_waits_for_the_disk_and_starts_when_there_is_room(
    lab: Lab, db: Any, trainer: Any, free: Any, wait_for_state: Any
) -> None:
    run = trainer()
    working = agent.Agent(lab, idle_s=1.0)
    free(1000)
    working.one_pass()
    waits = runs.get(db, run.id)
    assert (waits.state, waits.reason) == ("queued", "needs 4.0 MiB of disk; 1000 B are free")
    free(GIB)
    working.one_pass()
    wait_for_state(run.id, "succeeded")
    runner.kill_all(set(runner.processes_of(Path(run.folder))))


def test_launch_says_roughly_what_the_runs_will_take(
    lab: Lab, saved: Any, free: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    saved(GIB, preset="quick")
    free(100 * GIB)
    words = ["--lab", str(lab.root), "launch", "mrm", "--preset", "quick", "--seed", "7,8"]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, result.stderr
    assert "they will take about 3.0 GiB of disk; 100.0 GiB are free" in result.stderr


def test_what_waits_already_takes_its_share_first(
    db: Any, new_run: Any, saved: Any, free: Any
) -> None:
    saved(2 * GIB, GIB)
    new_run()  # waits
    running = saved(GIB, recipe="b" * 64)
    runs.change_state(db, running.id, "running")
    new = new_run()
    free(20 * GIB)
    said = disk.Disk(db).told([new])
    assert said.startswith("will take about 5.0 GiB of disk, what waits or runs already 6.0 GiB; ")
    assert said.endswith("20.0 GiB are free")
    free(7 * GIB)
    assert ": 4.0 GiB too little. A run that finds no room waits" in disk.Disk(db).told([new])


@pytest.mark.parametrize("words", [["fill", "mrm", "--yes", "--preset", "quick"], ["clone"]])
def test_fill_and_clone_say_it_before_anything_is_queued(
    lab: Lab, db: Any, saved: Any, free: Any, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    model = saved(GIB, preset="quick", command=["python", "--threads", "1"])
    saved(GIB, preset="quick", task="siim", ratio=10)
    free(GIB)
    if words == ["clone"]:
        words = ["clone", model.id, "--seed", "9"]
    for dry in (["--dry-run"], []):
        result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words, *dry])
        assert result.exit_code == 0, result.stderr
        assert "of disk" in result.stderr
        assert "too little" in result.stderr


def test_the_free_space_of_a_folder_to_come_is_that_of_its_parent(tmp_path: Path) -> None:
    assert disk.free_at(tmp_path / "none" / "yet") > 0
