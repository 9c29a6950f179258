"""One of several processes at work on one registry: `worker.py JOB REGISTRY GO ARGUMENTS...`.

It says `ready`, waits until the file GO is there, works, and prints what came of it as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from store import claims, intake, runs
from store.db import open_store


def take_in(registry: Path, run_id: str, folder: str, batch_bytes: str) -> int:
    intake.BATCH_BYTES = int(batch_bytes)
    return intake.take_in(open_store(registry), run_id, Path(folder), wait_s=60.0)


def write(registry: Path, run_id: str, times: str) -> int:
    db = open_store(registry)
    for _ in range(int(times)):
        runs.start_attempt(db, run_id, time.time())
    return int(times)


def add_unless_there(registry: Path, recipe: str) -> list[str]:
    db = open_store(registry)
    new = runs.NewRun(
        runs.new_id(), "mrm", "siim", 10, 0, "quick", recipe, "/nowhere", None, ["true"], 0
    )
    return runs.add_unless_there(db, [new])


def claim(registry: Path, run_id: str, *devices: str) -> bool:
    return claims.claim(open_store(registry), run_id, devices)


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    job, registry, go, *arguments = sys.argv[1:]
    say("ready")
    while not Path(go).exists():
        time.sleep(0.001)
    say(json.dumps(globals()[job](Path(registry), *arguments)))
