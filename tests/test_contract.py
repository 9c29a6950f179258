"""Everything `trainers.events` can write, `store.intake` can read."""

from __future__ import annotations

import inspect
import math
from pathlib import Path
from typing import Any

import pytest

from store import artifacts, intake, points, results, runs
from store.db import open_store
from trainers.events import FILE_NAME, EventLog

SAID = {"write", "start", "metrics", "progress", "checkpoint", "sample", "warning", "result", "end"}


@pytest.fixture
def db(tmp_path: Path) -> Any:
    opened = open_store(tmp_path / "registry.db")
    new = runs.NewRun(
        "aaaaaa", "mrm", "siim", 10, 0, "quick", "r", str(tmp_path), None, ["true"], 0
    )
    runs.add(opened, [new], at=1.0)
    return opened


def test_both_sides_call_the_file_by_one_name() -> None:
    assert FILE_NAME == intake.FILE_NAME


def test_every_way_of_writing_an_event_is_tried_here() -> None:
    ways = {name for name, _ in inspect.getmembers(EventLog, inspect.isfunction)}
    assert {name for name in ways if not name.startswith("_")} - {"close", "flush"} == SAID


def test_all_that_a_trainer_can_say_arrives(
    db: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXRLAB_ATTEMPT", "3")
    log = EventLog(tmp_path)
    log.start(10, total_steps=40)
    log.metrics(11, {"train/loss": 1.5, "train/loss_image": math.nan}, epoch=0.123456)
    log.progress(11, 40, eta_s=29.5)
    log.checkpoint("best", "checkpoints/best.pt", step=11, sha256="ab" * 32)
    log.sample("samples/ü.png", "rebuilt")
    log.warning("cannot read", path="a.png")
    log.warning("no path")
    log.result(
        task="siim",
        values={"test/Dice": 0.7, "val/Dice": 0.8},
        bounds={"test/Dice": (0.6, 0.75)},
        selected_by="val/Dice",
        checkpoint="checkpoints/best.pt",
        encoder=None,
        skipped=1,
    )
    log.end("succeeded", "done")
    log.close()
    assert intake.take_in(db, "aaaaaa", tmp_path) == 9

    run = runs.get(db, "aaaaaa")
    assert (run.attempt, run.step, run.epoch) == (3, 11, 0.1235)
    assert (run.done, run.total) == (11, 40)
    assert (run.end_outcome, run.end_reason) == ("succeeded", "done")
    assert (run.warnings, run.bad_lines) == (2, 0)
    assert points.curve(db, "aaaaaa", "train/loss") == [(11, 1.5)]
    assert points.metric_names(db, "aaaaaa") == ["train/loss", "train/loss_image"]
    saved = {(a.kind, a.path, a.sha256, a.caption) for a in artifacts.of_run(db, "aaaaaa")}
    assert saved == {
        ("best", tmp_path / "checkpoints/best.pt", "ab" * 32, ""),
        ("sample", tmp_path / "samples/ü.png", None, "rebuilt"),
    }
    warned = {(w.message, w.path, w.times) for w in results.warnings(db, "aaaaaa")}
    assert warned == {("cannot read", "a.png", 1), ("no path", "", 1)}
    assert results.of_run(db, "aaaaaa")[0] == results.Result("test/Dice", 0.7, 0.6, 0.75)
    document = results.document(db, "aaaaaa")
    assert document is not None
    assert document["skipped"] == 1
    (attempt,) = results.attempts(db, "aaaaaa")
    assert (attempt.attempt, attempt.first_step, attempt.total_steps) == (3, 10, 40)
    assert (attempt.outcome, attempt.reason) == ("succeeded", "done")
    assert attempt.pid
    assert attempt.host
    assert results.kept_events(db, "aaaaaa") == []


def test_an_event_of_a_kind_of_its_own_is_kept(db: Any, tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.write("power", watts=300.0)
    log.warning("odd", line=7)
    log.close()
    assert intake.take_in(db, "aaaaaa", tmp_path) == 2
    power, odd = results.kept_events(db, "aaaaaa")
    assert (power["kind"], power["watts"], odd["line"]) == ("power", 300.0, 7)
    assert runs.get(db, "aaaaaa").bad_lines == 0


def test_a_line_that_a_crash_tore_costs_that_line_alone(db: Any, tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.metrics(1, {"train/loss": 2.0}, epoch=0.1)
    log.close()
    with (tmp_path / FILE_NAME).open("a") as file:
        file.write('{"t": 5.0, "kind": "met')
    log = EventLog(tmp_path)
    log.start(1, total_steps=9)
    log.metrics(2, {"train/loss": 1.0}, epoch=0.2)
    log.close()
    assert intake.take_in(db, "aaaaaa", tmp_path) == 3
    assert points.curve(db, "aaaaaa", "train/loss") == [(1, 2.0), (2, 1.0)]
    assert runs.get(db, "aaaaaa").bad_lines == 1
