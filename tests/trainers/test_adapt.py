from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from trainers import adapt


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


TENSORBOARD = """
import sys, pathlib
sys.path.insert(0, sys.argv[1])
from tests_events import event
place = pathlib.Path(sys.argv[2]) / "tb"
place.mkdir(parents=True)
with open(place / "events.out.tfevents.1.host", "wb") as file:
    for step in range(1000, 5000, 1000):
        file.write(event("val_dice", step, step / 10000))
print("Epoch: [0]  [1/2]  loss: 0.5")
"""


def test_what_a_program_writes_for_tensorboard_becomes_curves_and_results(tmp_path: Path) -> None:
    (tmp_path / "tests_events.py").write_text(
        "from trainers.framing import tf_record\n"
        "from trainers.protobuf import bytes_field, whole_field\n"
        "import struct\n"
        "def event(tag, step, value):\n"
        "    scalar = bytes_field(1, tag) + b'\\x15' + struct.pack('<f', value)\n"
        "    return tf_record(whole_field(2, step) + bytes_field(5, bytes_field(1, scalar)))\n"
    )
    folder = tmp_path / "run"
    line = [sys.executable, "-P", "-m", "trainers.adapt", "--output_dir", str(folder)]
    line += ["--method", "mrm", "--task", "siim", "--ratio", "10", "--watch", "{run_dir}/work"]
    line += ["--result", "Dice=val_dice", "--"]
    line += [sys.executable, "-c", TENSORBOARD, str(tmp_path), "{run_dir}/work"]
    assert subprocess.run(line, timeout=900).returncode == 0
    told = [event for event in events_in(folder) if event["kind"] == "metrics"]
    assert [(e["step"], e["values"]) for e in told if "val/dice" in e["values"]] == [
        (step, {"val/dice": pytest.approx(step / 10000)}) for step in range(1000, 5000, 1000)
    ]
    result = json.loads((folder / "result.json").read_text())
    assert result["values"] == {"test/Dice": pytest.approx(0.4)}


def test_a_number_that_a_dying_program_did_not_finish_is_not_taken(tmp_path: Path) -> None:
    code = "import os; os.write(1, b'step=1 loss=0.25\\nstep=2 loss=0.12'); os._exit({})"
    for status, steps in ((9, [1]), (0, [1, 2])):
        folder = tmp_path / str(status)
        assert start(folder, code=code.format(status)).wait(120) == status
        told = [event for event in events_in(folder) if event["kind"] == "metrics"]
        assert [event["step"] for event in told] == steps


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
    assert process.wait(300) == 143
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
