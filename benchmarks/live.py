"""How long after a trainer wrote a metric does it stand on the screen?

    python -m benchmarks.live
    python -m benchmarks.live --metrics 50

Starts a run in a lab of its own, opens its screen, and appends lines to its `events.jsonl` as a
trainer does, at moments that have nothing to do with the dashboard's own rhythm. Prints the median
and the slowest, and exits with 1 where the slowest took more than a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from cxrlab.lab import Lab, make_lab
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.messages import OpenRun
from store import runs
from store.db import open_store

GOAL_S = 1.0


def main(argv: Sequence[str]) -> int:
    """Measure, print and judge."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--metrics", type=int, default=20, help="lines that are written")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="live-") as folder:
        lab = make_lab(Path(folder) / "lab")
        run = begin(lab)
        try:
            taken = asyncio.run(watch(lab, run, given.metrics))
        finally:
            cxrlab(lab, "stop", run.id)
            cxrlab(lab, "agent", "stop")
    slowest = max(taken)
    print(f"{len(taken)} metrics, written to painted: median {statistics.median(taken):.2f} s, "
          f"slowest {slowest:.2f} s (goal {GOAL_S:.0f} s)")  # fmt: skip
    return int(slowest > GOAL_S)


def cxrlab(lab: Lab, *words: str) -> str:
    """Run a command in the lab, and return what it printed."""
    command = [sys.executable, "-m", "cxrlab", "--lab", str(lab.root), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def begin(lab: Lab) -> runs.Run:
    """Start a program that only waits, as a run, and return it once it runs."""
    asked = ("run", "--method", "mrm", "--task", "pretrain", "--gpus", "cpu")
    cxrlab(lab, *asked, "--", "sleep", "600")
    db = open_store(lab.registry)
    deadline = time.monotonic() + 120
    while True:
        found = runs.select(db, states=("running",))
        if found:
            return found[0]
        if time.monotonic() > deadline:
            raise TimeoutError("the run did not start")
        time.sleep(0.1)


async def watch(lab: Lab, run: runs.Run, count: int) -> list[float]:
    """Return how long each of `count` metrics took to the screen (s)."""
    app = CxrlabApp(lab)
    chance = random.Random(0)
    taken = []
    async with app.run_test(size=(120, 40)):
        app.post_message(OpenRun(run.id))
        await shown(app, "running")
        for number in range(count):
            await asyncio.sleep(chance.uniform(0.0, 1.0))
            value = 700 + number
            event = {"kind": "metrics", "step": number + 1, "values": {"train/loss": value}}
            began = time.monotonic()
            with (Path(run.folder) / "events.jsonl").open("a") as file:
                file.write(json.dumps({"t": time.time(), **event}) + "\n")
            await shown(app, f"train/loss {value}")
            taken.append(time.monotonic() - began)
    return taken


async def shown(app: CxrlabApp, words: str) -> None:
    """Wait until the words stand on the screen."""
    deadline = time.monotonic() + 60
    while not any(words in strip.text for strip in app.screen._compositor.render_strips()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"`{words}` did not come")
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
