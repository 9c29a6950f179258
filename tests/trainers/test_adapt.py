from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainers import adapt
from trainers.events import EventLog
from trainers.loglines import read


@pytest.mark.parametrize(
    ("words", "filled"),
    [
        (["--master_port", "12345", "a.py"], ["--master_port", "777", "a.py"]),
        (["--master-port=29504"], ["--master-port=777"]),
        (["--dist_url", "tcp://127.0.0.1:12345"], ["--dist_url", "tcp://127.0.0.1:777"]),
        (["--out={run_dir}/x", "{seed}", "{port}"], ["--out=/runs/a/x", "3", "777"]),
        (["--epochs", "12345", "{other}"], ["--epochs", "12345", "{other}"]),
    ],
)
def test_ports_and_places_are_filled_in(words: list[str], filled: list[str]) -> None:
    assert adapt.filled_in(words, folder=Path("/runs/a"), seed=3, port=777) == filled


@pytest.fixture
def meter(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    def events_of(*lines: str, epochs: int | None = None) -> list[dict[str, Any]]:
        log = EventLog(tmp_path)
        made = adapt.Meter(log, epochs)
        for line in lines:
            made.take(read(line), stays=True)
        log.close()
        return [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]

    return events_of


def test_steps_count_on_over_epochs(meter: Any) -> None:
    events = meter(
        "Epoch: [0]  [0/2] loss: 3", "Epoch: [0]  [1/2] loss: 2", "Epoch: [1]  [0/2] loss: 1"
    )
    told = [event for event in events if event["kind"] == "metrics"]
    assert [event["step"] for event in told] == [0, 1, 2]
    assert [event["epoch"] for event in told] == [0, 0, 1]


def test_a_bar_that_begins_anew_counts_on(meter: Any) -> None:
    bars = [f"{i}/2 [00:01<00:01, loss={i}]" for i in (1, 2, 1, 2)]
    told = [event for event in meter(*bars) if event["kind"] == "metrics"]
    assert [event["step"] for event in told] == [1, 2, 3, 4]


def test_progress_is_of_all_epochs_where_their_number_is_known(meter: Any) -> None:
    (told,) = (
        e for e in meter("Epoch: [3]  [50/100] loss: 1", epochs=10) if e["kind"] == "progress"
    )
    assert (told["done"], told["total"]) == (350, 1000)


def test_json_lines_are_taken_from_the_beginning_of_the_run_and_none_twice(tmp_path: Path) -> None:
    old = tmp_path / "log.txt"
    old.write_text('{"loss": 9}\n')
    watch, told = adapt.Watch([tmp_path]), []
    with old.open("a") as file:
        file.write('{"loss": 1}\n{"lo')
    watch.read(told.append)
    watch.read(told.append)
    with old.open("a") as file:
        file.write('ss": 2}\n')
    (tmp_path / "new.json").write_text('{"mode": "val", "mDice": 0.7}')
    watch.read(told.append)
    watch.read(told.append, last=True)
    assert [dict(each.values) for each in told] == [
        {"train/loss": 1.0}, {"train/loss": 2.0}, {"val/mDice": 0.7}
    ]  # fmt: skip


def start(folder: Path, *words: str, code: str) -> subprocess.Popen[bytes]:
    line = [sys.executable, "-P", "-m", "trainers.adapt", "--output_dir", str(folder)]
    line += ["--method", "mrm", "--task", "siim", "--ratio", "10", *words]
    return subprocess.Popen([*line, "--", sys.executable, "-c", code], stdout=subprocess.PIPE)


def events_in(folder: Path) -> list[dict[str, Any]]:
    path = folder / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_number_that_is_no_share_is_not_taken_for_one(tmp_path: Path) -> None:
    words = ["--result", "Dice=test_dice", "--result", "Dice_pooled=away"]
    assert start(tmp_path, *words, code="print('test_dice: 72.9')").wait(120) == 0
    events = events_in(tmp_path)
    said = [event["message"] for event in events if event["kind"] == "warning"]
    assert said[0] == "Dice 72.9 is no share; `--result Dice=test_dice%` reads percent"
    assert said[1].startswith("no line told `away` for Dice_pooled; told were: test/dice")
    assert events[-1]["outcome"] == "succeeded"
    assert json.loads((tmp_path / "result.json").read_text())["values"] == {}


def test_a_wish_to_stop_reaches_the_program(tmp_path: Path) -> None:
    code = (
        "import signal, sys, time\n"
        "def stop(*given): print('saved', flush=True); sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop); print('up', flush=True); time.sleep(600)"
    )
    process = start(tmp_path, code=code)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(120) == 143
    assert process.stdout.read() == b"saved\n"
    assert events_in(tmp_path)[-1]["outcome"] == "stopped"


def test_a_program_that_leaves_a_child_behind_ends_all_the_same(tmp_path: Path) -> None:
    code = "import subprocess, sys; subprocess.Popen(['sleep', '25']); print('loss: 1')"
    began = time.monotonic()
    process = start(tmp_path, code=code)
    while not any(event["kind"] == "end" for event in events_in(tmp_path)):
        assert time.monotonic() - began < 120
        time.sleep(0.1)
    process.kill()
    process.wait()
