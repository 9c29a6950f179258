"""How soon is a GPU that falls free given to the next run, and does the agent stay small?

    python -m benchmarks.queue --runs 1000 --gpus 8 --mixed 200

Many short runs wait for pretended GPUs. Each writes which GPU it was given, and when it began and
ended; so the reckoning does not rest on what the agent says of itself: no GPU may ever hold two
runs that want it alone, and every end is paired with the next beginning. Prints the median and the
95th percentile of that delay, and the agent's memory early and late.

Then a mixture: two of three share their GPU, by memory they name. No GPU may hold one that does
not share beside another, nor more than it has. Exits with 1 where one of these was broken, or the
median is above `MOST_S`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import agent
from cxrlab.gpus import FAKE_VARIABLE
from cxrlab.lab import Lab, make_lab
from store import runs
from store.db import open_store

MOST_S = 0.2
WORK_S = 1.0
"""How long a run holds its GPU; long enough that two cores keep up with eight of them."""

END_S = 3600.0
GPU_MIB = 81_920
SHARE_MIB = (8_192, 20_480, 36_864)
"""What runs that share say they need, one after the other."""

LINE = 'b=$(date +%s.%N); sleep "$1"; echo "$CUDA_VISIBLE_DEVICES $b $(date +%s.%N) $3" >> "$2"'


class Held(NamedTuple):
    """What a run said of itself."""

    gpu: str
    begin: float
    end: float
    mib: int
    """How much of the GPU it was to have; 0 for all, alone."""


def main() -> int:
    """Queue the runs, wait until all have ended, and reckon."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=8)
    parser.add_argument("--mixed", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queue-") as folder:
        root = Path(folder)
        pretend(root / "gpus.json", given.gpus)
        lab = make_lab(root / "lab")
        queue(lab, [0] * given.runs, told=root / "alone.txt")
        agent.ensure_agent(lab)
        memory = wait(lab, given.runs)
        needs = itertools.cycle([0, *SHARE_MIB, *SHARE_MIB, 0, 0])
        queue(lab, list(itertools.islice(needs, given.mixed)), told=root / "mixed.txt")
        agent.ensure_agent(lab)
        memory += wait(lab, given.runs + given.mixed)
        agent.end(lab)
        alone, mixed = (read(root / name) for name in ("alone.txt", "mixed.txt"))
    return max(report(alone, memory, given.gpus), report_mixed(mixed))


def read(path: Path) -> list[Held]:
    """Return what the runs wrote."""
    lines = path.read_text().splitlines() if path.exists() else []
    return [
        Held(gpu, float(begin), float(end), int(mib))
        for gpu, begin, end, mib in map(str.split, lines)
    ]


def pretend(path: Path, number: int) -> None:
    """Let this process and the agent see so many idle GPUs."""
    blank = {"name": "pretended", "used_mib": 0, "total_mib": GPU_MIB}
    path.write_text(json.dumps([{"index": i, "uuid": f"GPU-{i}", **blank} for i in range(number)]))
    os.environ[FAKE_VARIABLE] = str(path)


def queue(lab: Lab, needs: Sequence[int], *, told: Path) -> None:
    """Queue runs that do nothing for `WORK_S`, and say so in `told`.

    Args:
        lab: where.
        needs: how much memory of a GPU each has (MiB); 0 for all of it, alone.
        told: the file.
    """
    new = []
    for seed, mib in enumerate(needs):
        id = runs.new_id()
        folder = lab.runs_dir / f"{id}-mrm-pretrain-s{seed}"
        folder.mkdir()
        command = ["/bin/sh", "-c", LINE, "sh", str(WORK_S), str(told), str(mib)]
        run = runs.NewRun(
            id, "mrm", "pretrain", None, seed, "quick", "r", str(folder), None, command, 1
        )
        new.append(run._replace(gpu_mib=mib or None, share=mib > 0))
    db = open_store(lab.registry)
    runs.add(db, new)
    db.conn.close()


def wait(lab: Lab, number: int) -> list[int]:
    """Wait for the end of all runs, and return the agent's memory (KiB) now and then."""
    db = open_store(lab.registry)
    memory: list[int] = []
    deadline = time.monotonic() + END_S
    while (left := number - runs.count(db, states=runs.ENDED)) and time.monotonic() < deadline:
        status = agent.status(lab)
        if status.pid and number - left > number // 10:
            memory.append(resident_kib(status.pid))
        time.sleep(1)
    failed = runs.count(db, states=("failed", "lost", "stopped"))
    if left or failed:
        sys.exit(f"{left} runs never ended, {failed} did not succeed")
    return memory


def resident_kib(pid: int) -> int:
    """Return how much memory a process has."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    return 0


def report(held: Sequence[Held], memory: Sequence[int], gpus: int) -> int:
    """Print what was found, and return 1 where it is not good enough."""
    ends, begins = sorted(one.end for one in held), sorted(one.begin for one in held)
    # places are alike: the n-th beginning after the first few fills the n-th place to fall free
    delays = [begin - end for begin, end in zip(begins[gpus:], ends, strict=False)]
    median, late = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
    worst, _ = crowded(held)
    print(f"{len(held)} runs on {len({one.gpu for one in held})} pretended GPUs")
    print(f"refilled after {1000 * median:.0f} ms (median), {1000 * late:.0f} ms (95th percentile)")
    print(f"a GPU held by two runs that want it alone: {worst} times")
    if memory:
        print(f"agent's memory: {memory[0] / 1024:.1f} MiB early, {memory[-1] / 1024:.1f} MiB late")
    return int(median > MOST_S or worst > 0)


def report_mixed(held: Sequence[Held]) -> int:
    """Print whether runs that share kept to it, and return 1 where they did not."""
    if not held:
        return 0
    beside, most = crowded(held)
    shared = sum(one.mib > 0 for one in held)
    print(f"{len(held)} more runs, of which {shared} share")
    print(f"one that does not share beside another: {beside} times")
    print(f"the most that was promised of a GPU: {most / 1024:.0f} of {GPU_MIB / 1024:.0f} GiB")
    return int(beside > 0 or most > GPU_MIB)


def crowded(held: Sequence[Held]) -> tuple[int, int]:
    """Return how often a run found company it must not have, and the most promised of a GPU."""
    beside = most = 0
    for gpu in {one.gpu for one in held}:
        here = sorted((one for one in held if one.gpu == gpu), key=lambda one: one.begin)
        for number, one in enumerate(here):
            there = [other for other in here[:number] if other.end > one.begin]
            beside += any(not one.mib or not other.mib for other in there)
            most = max(most, one.mib + sum(other.mib for other in there))
    return beside, most


if __name__ == "__main__":
    sys.exit(main())
