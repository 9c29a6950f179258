"""What a trainer writes is whole lines, whatever a crash left behind."""

from __future__ import annotations

import json
import math
import threading
from pathlib import Path
from typing import Any

import pytest

from trainers import events, program
from trainers.events import FILE_NAME, EventLog


def lines(folder: Path) -> list[str]:
    return (folder / FILE_NAME).read_text(encoding="utf-8").splitlines()


def test_each_event_is_on_disk_before_the_next_is_written(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    log.start(0, total_steps=10)
    log.metrics(1, {"train/loss": 1.5}, epoch=0.1)
    assert [json.loads(line)["kind"] for line in lines(tmp_path)] == ["start", "metrics"]


def test_a_number_that_is_not_finite_is_null_not_invalid_json(tmp_path: Path) -> None:
    EventLog(tmp_path).metrics(1, {"train/loss": float("nan"), "ok": 1.0}, epoch=0.0)
    assert json.loads(lines(tmp_path)[0])["values"] == {"train/loss": None, "ok": 1.0}


def test_a_torn_line_stays_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text('{"t": 1, "kind": "met')
    EventLog(tmp_path).end("succeeded")
    assert len(lines(tmp_path)) == 2
    assert json.loads(lines(tmp_path)[1])["outcome"] == "succeeded"


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    EventLog(tmp_path / "run", enabled=False).end("succeeded")
    assert not (tmp_path / "run").exists()


def test_a_result_with_a_class_that_has_no_score_is_plain_json(tmp_path: Path) -> None:
    result = {
        "values": {"test/AUROC": 0.7, "test/AUROC/Hernia": math.nan},
        "bounds": {"test/AUROC/Hernia": [math.nan, math.nan]},
        "selected_by": "val/AUROC",
    }
    program.write_result(tmp_path, result, EventLog(tmp_path))

    def refuse(word: str) -> None:
        raise AssertionError(word)

    written = json.loads((tmp_path / "result.json").read_text(), parse_constant=refuse)
    assert written["values"]["test/AUROC/Hernia"] is None
    assert written["bounds"]["test/AUROC/Hernia"] == [None, None]


def test_a_full_disk_loses_and_tears_no_event(small_disk: Path, fill: Any) -> None:
    log = EventLog(small_disk / "run")
    log.metrics(1, {"train/loss": 1.0}, epoch=0.0)
    filler = fill(small_disk)
    for step in range(2, 400):  # far more than the last page holds
        log.metrics(step, {"train/loss": 1 / step}, epoch=0.0)
    assert not log.flush()
    filler.unlink()
    log.metrics(400, {"train/loss": 1.0}, epoch=0.0)
    assert log.flush()
    steps = [json.loads(line)["step"] for line in lines(small_disk / "run")]
    assert steps == list(range(1, 401))


def test_the_last_word_waits_for_room(small_disk: Path, fill: Any) -> None:
    log = EventLog(small_disk / "run")
    filler = fill(small_disk)
    for step in range(200):
        log.metrics(step, {"train/loss": 1.0}, epoch=0.0)
    threading.Timer(0.5, filler.unlink).start()
    log.end("succeeded")
    assert json.loads(lines(small_disk / "run")[-1])["kind"] == "end"


def test_a_training_that_is_asked_to_stop_does_not_wait_for_room_for_ever(
    small_disk: Path, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "STOPPED_WAIT_S", 0.1)
    log = EventLog(small_disk / "run")
    fill(small_disk)
    for step in range(200):
        log.metrics(step, {"train/loss": 1.0}, epoch=0.0)
    log.end("stopped")
    whole = (small_disk / "run" / FILE_NAME).read_bytes().rpartition(b"\n")[0]
    assert [json.loads(line)["step"] for line in whole.splitlines()] == list(
        range(len(whole.splitlines()))
    )
