"""The agent among GPUs that are pretended, on which things happen."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrlab import agent, launch
from cxrlab.filling import outlook
from cxrlab.gpus import Reading
from cxrlab.gpus import watch as gpu_watch
from cxrlab.lab import Lab, find_lab
from store import claims, intake, runs

Make = Callable[..., runs.Run]
LONG = ("--fake_steps", "100000", "--fake_step_s", "0.05")
GIB = 1024


class Machine:
    """GPUs in a file that stands for the driver."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        monkeypatch.setenv("CXRLAB_FAKE_GPUS", str(path))

    def has(self, *gpus: dict[str, Any]) -> None:
        """Let it have these GPUs from now on."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(gpus))
        new.replace(self.path)


def gpu(index: int, used_mib: int = 3, *processes: tuple[Any, ...], **facts: Any) -> dict[str, Any]:
    return {
        "index": index,
        "uuid": f"GPU-{index}",
        "name": "H200",
        "used_mib": used_mib,
        "total_mib": 24 * GIB,
        "processes": processes,
        **facts,
    }


@pytest.fixture
def machine(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    said = lab.settings_file.read_text().replace("gpus = 0", 'gpus = "all"')
    lab.settings_file.write_text(said + "[gpus]\nsettle_s = 0\n")
    monkeypatch.setattr(gpu_watch, "WANTED_S", 0.0)
    monkeypatch.setattr(gpu_watch, "HELD_S", 0.0)
    made = Machine(tmp_path / "gpus.json", monkeypatch)
    made.has(gpu(0), gpu(1))
    return made


@pytest.fixture
def working(lab: Lab, machine: Machine) -> agent.Agent:
    """An agent of this process that reads at each pass, and waits for the answer."""
    made = agent.Agent(lab, idle_s=1.0)
    made.watch.wait_s = 120.0
    return made


def states(db: Any, *made: runs.Run) -> list[str]:
    return [runs.get(db, run.id).state for run in made]


def test_a_neighbour_who_comes_between_a_reading_and_the_start_is_not_run_over(
    lab: Lab, db: Any, trainer: Make, working: agent.Agent, machine: Machine
) -> None:
    said = lab.settings_file.read_text()
    lab.settings_file.write_text(said.replace("settle_s = 0", "settle_s = 0.001"))
    machine.has(gpu(0))
    run = trainer(*LONG, gpus=1)
    working.one_pass()  # free, and watched
    machine.has(gpu(0, 18 * GIB, (1, "anna", 18 * GIB)))
    working.one_pass()
    waits = runs.get(db, run.id)
    assert waits.state == "queued"
    assert waits.reason == "needs 1 GPU; GPU 0 is held by another user (anna, 18 GiB)"
    machine.has(gpu(0))
    working.one_pass()
    assert states(db, run) == ["queued"]  # she may only be between two epochs
    working.one_pass()
    assert states(db, run) == ["running"]


def test_a_neighbour_who_comes_later_is_said_once_and_ends_no_run(
    db: Any,
    trainer: Make,
    working: agent.Agent,
    machine: Machine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine.has(gpu(0))
    run = trainer(*LONG, gpus=1)
    working.one_pass()
    machine.has(gpu(0, 9 * GIB, (1, "anna", 9 * GIB)))
    with caplog.at_level(logging.WARNING, "cxrlab.agent"):
        for _ in range(3):
            working.one_pass()
    assert states(db, run) == ["running"]
    assert caplog.messages == [f"GPU 0, on which {run.id} runs, is used by anna too"]


def test_a_gpu_that_falls_off_the_bus_keeps_its_run_and_gets_no_other(
    db: Any,
    trainer: Make,
    working: agent.Agent,
    machine: Machine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = trainer(*LONG, gpus=1)
    working.one_pass()
    machine.has(gpu(1))
    second, third = trainer(*LONG, gpus=1), trainer(*LONG, gpus=1)
    with caplog.at_level(logging.WARNING, "cxrlab.agent"):
        for _ in range(2):
            working.one_pass()
    assert states(db, first, second, third) == ["running", "running", "queued"]
    assert claims.held(db) == {"GPU-0": first.id, "GPU-1": second.id}
    assert runs.get(db, third.id).reason == (
        "needs 1 GPU; GPU 1 is held by this lab's runs; GPU-0 is gone"
    )
    assert caplog.messages == [f"GPU-0, on which {first.id} runs, is gone; the run is left alone"]


@pytest.fixture
def let_go() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def test_a_driver_that_hangs_holds_up_gpu_runs_alone(
    db: Any,
    trainer: Make,
    working: agent.Agent,
    let_go: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = trainer(*LONG, gpus=1)
    working.one_pass()

    def hang() -> Reading:
        let_go.wait(120)
        return Reading((), "no GPU is there", 0.0)

    working.watch = gpu_watch.Watch(hang, wait_s=0.0)
    monkeypatch.setattr(gpu_watch, "HUNG_S", -1.0)
    wants, without = trainer(*LONG, gpus=1), trainer(*LONG)
    working.one_pass()
    assert states(db, before, wants, without) == ["running", "queued", "running"]
    assert claims.held(db)["GPU-0"] == before.id
    reason = runs.get(db, wants.id).reason
    assert reason.startswith("needs 1 GPU; GPUs unknown since ")
    assert reason.endswith(": the driver does not answer")


def test_runs_that_share_are_put_together_and_one_that_does_not_waits(
    db: Any, trainer: Make, working: agent.Agent, machine: Machine
) -> None:
    machine.has(gpu(0))
    shared = [trainer(*LONG, gpus=1, gpu_mib=8 * GIB, share=True) for _ in range(3)]
    alone = trainer(*LONG, gpus=1)
    working.one_pass()
    assert states(db, *shared, alone) == ["running", "running", "queued", "queued"]
    assert [(c.run, c.mib, c.exclusive) for c in claims.every(db)] == [
        (run.id, 8 * GIB, False) for run in shared[:2]
    ]


def test_what_a_run_needs_is_learnt_from_earlier_ones_of_its_recipe(
    lab: Lab, db: Any, new_run: Make, working: agent.Agent, machine: Machine
) -> None:
    earlier = new_run(recipe="r", gpus=1)
    line = {"kind": "metrics", "step": 1, "values": {"perf/peak_gib": 20.0}}
    (Path(earlier.folder) / "events.jsonl").write_text(json.dumps({"t": 1.0, **line}) + "\n")
    intake.take_in(db, earlier.id, Path(earlier.folder))
    db.conn.execute("update runs set attempt = 1 where id = ?", (earlier.id,))
    runs.change_state(db, earlier.id, "succeeded")
    machine.has(gpu(0, total_mib=16 * GIB), gpu(1, 500))
    run = new_run(recipe="r", gpus=1)
    working.one_pass()
    assert runs.get(db, run.id).reason == (
        "needs 1 GPU with 20 GiB; GPU 0 has 16 GiB; GPU 1 is held by another user (1 GiB)"
    )


def test_where_gpus_cannot_be_read_a_run_asks_for_one_and_waits(
    lab: Lab, db: Any, machine: Machine
) -> None:
    lab = find_lab(lab.root)
    assert launch.default_gpus(lab) == 1
    machine.has()
    assert launch.default_gpus(lab) == 0
    machine.has(gpu(0, mig=True))
    assert launch.default_gpus(lab) == 0
    machine.path.write_text("not whole")
    assert launch.default_gpus(lab) == 1
    asked = outlook.Asked(
        methods=["random"], tasks=["shenzhen"], ratios=[], seeds=[0], preset="quick"
    )
    assert outlook.look(lab, db, asked).each == 1
