"""What is taken in of `use.jsonl`, and what it sums up to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store import intake, points, rebuild, runs, use

HOUR = 3600


def line(at: float, s: float = 10.0, *, attempt: int = 1, **values: float) -> str:
    """A line as the agent writes it; `gpu_0_power=1` is of `gpu/0/power`."""
    named = {name.replace("_", "/", 2 if name[0] == "g" else 1): v for name, v in values.items()}
    return json.dumps({"t": 1e9 + at, "attempt": attempt, "at": at, "s": s, "values": named}) + "\n"


def write(folder: Path, *lines: str) -> None:
    with (folder / use.FILE_NAME).open("a") as file:
        file.writelines(lines)


@pytest.fixture
def folder(db: Any, add_run: Any) -> Path:
    """The folder of a run with two GPUs, whose attempts took an hour, and half of one."""
    made: Path = add_run("aaaaaa", gpus=2)
    for began, took in ((1000.0, HOUR), (9000.0, HOUR / 2)):
        runs.change_state(db, "aaaaaa", "running", at=began)
        runs.start_attempt(db, "aaaaaa", began)
        runs.change_state(db, "aaaaaa", "stopped", at=began + took)
    return made


def test_a_run_sums_up_to_what_is_worked_out_by_hand(db: Any, folder: Path) -> None:
    write(
        folder,
        line(20, gpu_0_utilization=90, gpu_0_memory=30.5, gpu_0_power=400,
             gpu_1_utilization=50, gpu_1_memory=10, gpu_1_power=200, host_cpu=250, host_memory=8),
        line(50, 30, gpu_0_utilization=30, gpu_0_memory=20, gpu_0_power=300,
             gpu_1_utilization=30, gpu_1_memory=31.25, gpu_1_power=100, host_cpu=50,
             host_memory=9.5),
    )  # fmt: skip
    intake.take_in(db, "aaaaaa", folder)
    told = use.of_run(db, "aaaaaa", now=0.0)
    assert told is not None
    assert told.seconds == 1.5 * HOUR
    assert told.gpu_hours == 3.0
    assert (told.gpus, told.watched_s, told.gpu_gib, told.host_gib) == (2, 40.0, 31.25, 9.5)
    assert told.utilization == pytest.approx((90 * 10 + 50 * 10 + 30 * 30 + 30 * 30) / 80)
    assert told.energy_kwh == pytest.approx((600 * 10 + 400 * 30) / 3.6e6)
    assert told.cpu == pytest.approx((250 * 10 + 50 * 30) / 40)


def test_a_running_run_has_held_its_gpus_until_now(db: Any, add_run: Any) -> None:
    add_run("bbbbbb", gpus=1, nodes=2)
    runs.change_state(db, "bbbbbb", "running", at=1000.0)
    runs.start_attempt(db, "bbbbbb", 1000.0)
    told = use.of_run(db, "bbbbbb", now=1000.0 + 61.5 * HOUR)
    assert told is not None
    assert told.gpu_hours == 123.0
    assert (told.utilization, told.energy_kwh, told.gpu_gib) == (None, None, None)


def test_a_run_that_never_began_used_nothing(db: Any, add_run: Any) -> None:
    add_run("bbbbbb", gpus=1)
    assert use.of_run(db, "bbbbbb", now=1.0) is None


def test_a_second_attempt_goes_on_where_the_first_was_last_seen(
    db: Any, folder: Path, write_events: Any
) -> None:
    write(folder, line(20, gpu_0_utilization=10), line(3590, gpu_0_utilization=20))
    write_events(folder, {"kind": "start", "step": 0, "attempt": 1})
    intake.take_in(db, "aaaaaa", folder)
    write(folder, line(20, attempt=2, gpu_0_utilization=30))
    write_events(folder, {"kind": "start", "step": 5, "attempt": 2})
    intake.take_in(db, "aaaaaa", folder)
    curve = [(20, 10.0), (3590, 20.0), (3610, 30.0)]
    assert points.curve(db, "aaaaaa", "gpu/0/utilization") == curve
    assert [step for step, _ in use.stretches(folder)] == [20, 3590, 3610]


def test_a_torn_line_is_left_until_it_is_whole_and_nothing_counts_twice(
    db: Any, folder: Path
) -> None:
    whole, torn = line(20, gpu_0_power=360), line(30, gpu_0_power=360)
    write(folder, whole, torn[:30])
    for _ in range(2):
        intake.take_in(db, "aaaaaa", folder)
    assert use.of_run(db, "aaaaaa", now=0.0).energy_kwh == pytest.approx(0.001)  # type: ignore[union-attr]
    write(folder, torn[30:], torn[:9] + "\n", line(40, gpu_0_power=360))
    intake.take_in(db, "aaaaaa", folder)
    assert use.of_run(db, "aaaaaa", now=0.0).energy_kwh == pytest.approx(0.003)  # type: ignore[union-attr]
    assert runs.get(db, "aaaaaa").bad_lines == 0


@pytest.mark.parametrize(
    "odd",
    [
        "[]",
        "null",
        '{"t": 1, "attempt": 1, "at": 5, "s": 10}',
        '{"t": 1, "attempt": 1, "at": 5, "s": -1, "values": {"host/cpu": 1}}',
        '{"t": 1, "attempt": 1e300, "at": 5, "s": 1, "values": {"host/cpu": 1}}',
        '{"t": 1, "attempt": 1, "at": NaN, "s": 1, "values": {"host/cpu": 1}}',
        '{"t": 1, "attempt": 1, "at": 5, "s": 1, "values": {"host/cpu": "much"}}',
        '{"t": 1, "attempt": 1, "at": 5, "s": 1, "values": {"train/loss": 1, "host/cpu": NaN}}',
        "\x00\xff",
    ],
)
def test_what_is_no_such_line_changes_no_number(db: Any, folder: Path, odd: str) -> None:
    write(folder, odd + "\n", line(20, host_memory=1.5))
    intake.take_in(db, "aaaaaa", folder)
    assert points.metric_names(db, "aaaaaa") == ["host/memory"]
    assert use.of_run(db, "aaaaaa", now=0.0).host_gib == 1.5  # type: ignore[union-attr]


def test_a_file_that_was_cut_is_another_and_is_read_from_its_beginning(
    db: Any, folder: Path
) -> None:
    write(folder, *(line(10 * n, gpu_0_utilization=80) for n in range(1, 9)))
    intake.take_in(db, "aaaaaa", folder)
    (folder / use.FILE_NAME).write_text(line(20, gpu_0_utilization=40))
    intake.take_in(db, "aaaaaa", folder)
    assert points.curve(db, "aaaaaa", "gpu/0/utilization") == [(20, 40.0)]
    assert use.of_run(db, "aaaaaa", now=0.0).utilization == 40.0  # type: ignore[union-attr]


def test_a_registry_made_anew_knows_the_same(db: Any, tmp_path: Path, new_run: Any) -> None:
    made = Path(tmp_path / "runs" / "aaaaaa-mrm-siim-10-s0")
    (made / "attempts").mkdir(parents=True)
    (made / "config.json").write_text('{"device": "cuda"}')
    (made / "attempts" / "1.json").write_text('{"attempt": 1, "started": 100, "ended": 3700}')
    write(made, line(20, gpu_0_utilization=90, gpu_1_utilization=70, gpu_0_power=100))
    rebuild.rebuild(db, tmp_path / "runs")
    told = use.of_run(db, "aaaaaa", now=0.0)
    assert told is not None
    assert (told.utilization, told.gpus, told.gpu_hours) == (80.0, 2, 2.0)
    rebuild.rebuild(db, tmp_path / "runs")
    assert use.of_run(db, "aaaaaa", now=0.0) == told
    assert points.curve(db, "aaaaaa", "gpu/1/utilization") == [(20, 70.0)]


def test_how_busy_it_was_lately_is_told_once_ten_minutes_were_seen(db: Any, folder: Path) -> None:
    write(folder, *(line(10 * n, gpu_0_utilization=90) for n in range(1, 60)))
    intake.take_in(db, "aaaaaa", folder)
    assert use.lately(db, "aaaaaa") is None
    write(folder, *(line(10 * n, gpu_0_utilization=30) for n in range(60, 120)))
    intake.take_in(db, "aaaaaa", folder)
    assert use.lately(db, "aaaaaa") == 30.0
