"""The dashboard over a real engine: trainers that run, metrics that arrive, processes that end."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cxrlab.gpus import Reading
from cxrlab.lab import Lab
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.messages import OpenLaunch, OpenRun
from store import runs

Wait = Callable[..., Any]
Shown = Callable[[Any], str]


@pytest.fixture
def live(lab: Lab) -> CxrlabApp:
    return CxrlabApp(lab, probe=lambda: Reading((), "no GPU is there", time.time()))


async def test_each_metric_that_is_written_comes_to_the_screen(
    live: CxrlabApp, trainer: Wait, begin: Wait, until: Wait, shown: Shown, record_property: Wait
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.2"))
    async with live.run_test(size=(80, 24)) as pilot:
        live.post_message(OpenRun(run.id))
        await until(pilot, lambda: "▶ running" in shown(live))
        seen = []
        for n in range(5):
            event = {"kind": "metrics", "step": 200_000 + n, "values": {"train/loss": 700 + n}}
            written = time.monotonic()
            with (Path(run.folder) / "events.jsonl").open("a") as file:
                file.write(json.dumps({"t": time.time(), **event}) + "\n")
            await until(pilot, lambda n=n: f"train/loss {700 + n}" in shown(live))
            seen.append(time.monotonic() - written)
        # how soon is a matter of `python -m benchmarks.live`: other tests share the cores
        record_property("seconds_to_screen", seen)


async def test_a_run_can_be_launched_watched_and_is_done_on_the_grid(
    live: CxrlabApp, db: Any, until: Wait, shown: Shown, told: Shown
) -> None:
    async with live.run_test(size=(200, 60)) as pilot:
        live.post_message(OpenLaunch("mrm", "siim", 10))
        await until(pilot, lambda: "2  mrm siim 10 % seed 0" in shown(live))
        await pilot.press("enter")
        await until(pilot, lambda: "mrm pretrain seed 0: queued" in told(live))
        assert "mrm siim 10 % seed 0: blocked" in told(live)
        await until(pilot, lambda: "50.0 (1)" in shown(live))
        assert "ended lately" in shown(live)


async def test_a_running_run_is_stopped_and_goes_on_when_resumed(
    live: CxrlabApp, db: Any, trainer: Wait, begin: Wait, until: Wait, shown: Shown
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.05"))
    async with live.run_test(size=(80, 24)) as pilot:
        live.post_message(OpenRun(run.id))
        await until(pilot, lambda: "▶ running" in shown(live))
        await pilot.press("s")
        await until(pilot, lambda: f"Stop {run.id}?" in shown(live))
        await pilot.press("y")
        await until(pilot, lambda: "■ stopped" in shown(live))
        await pilot.press("r")
        await until(pilot, lambda: "▶ running" in shown(live))
        await until(pilot, lambda: "attempt 2" in shown(live))


async def test_quitting_leaves_the_run_running(
    live: CxrlabApp,
    db: Any,
    trainer: Wait,
    begin: Wait,
    until: Wait,
    shown: Shown,
    wait_for_state: Wait,
    wait_until: Wait,
) -> None:
    run = begin(trainer("--fake_steps", "100000", "--fake_step_s", "0.05"))
    async with live.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "▶ 1" in shown(live))
        await pilot.press("q")
    before = wait_for_state(run.id, "running").step or 0
    wait_until(lambda: (wait_for_state(run.id, "running").step or 0) > before)
    assert runs.get(db, run.id).stop_requested is None
