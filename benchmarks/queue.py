"""How soon is a GPU that falls free given to the next run, and does the agent stay small?

    python -m benchmarks.queue --runs 1000 --gpus 8

Many short runs wait for pretended GPUs. Each writes which GPU it was given, and when it began and
ended; so the reckoning does not rest on what the agent says of itself: a GPU must never have two
runs at once, and every end is paired with the next beginning. Prints the median and the 95th
percentile of that delay, and the agent's memory early and late. Exits with 1 where the median is
above `MOST_S` or a GPU was given twice.
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
from pathlib import Path

from cxrlab import agent
from cxrlab.gpus import FAKE_VARIABLE
from cxrlab.lab import Lab, make_lab
from store import runs
from store.db import open_store

MOST_S = 0.2
WORK_S = 1.0
"""How long a run holds its GPU; long enough that two cores keep up with eight of them."""

END_S = 3600.0
LINE = 'b=$(date +%s.%N); sleep "$1"; echo "$CUDA_VISIBLE_DEVICES $b $(date +%s.%N)" >> "$2"'


def main() -> int:
    """Queue the runs, wait until all have ended, and reckon."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--gpus", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="queue-") as folder:
        root = Path(folder)
        pretend(root / "gpus.json", given.gpus)
        lab = make_lab(root / "lab")
        queue(lab, given.runs, told=root / "told.txt")
        agent.ensure_agent(lab)
        memory = wait(lab, given.runs)
        agent.end(lab)
        held = [line.split() for line in (root / "told.txt").read_text().splitlines()]
    return report([(gpu, float(b), float(e)) for gpu, b, e in held], memory, given.gpus)


def pretend(path: Path, number: int) -> None:
    """Let this process and the agent see so many idle GPUs."""
    blank = {"name": "pretended", "used_mib": 0, "total_mib": 81_920}
    path.write_text(json.dumps([{"index": i, "uuid": f"GPU-{i}", **blank} for i in range(number)]))
    os.environ[FAKE_VARIABLE] = str(path)


def queue(lab: Lab, number: int, *, told: Path) -> None:
    """Queue runs that do nothing for `WORK_S`, and say so in `told`."""
    new = []
    for seed in range(number):
        id = runs.new_id()
        folder = lab.runs_dir / f"{id}-mrm-pretrain-s{seed}"
        folder.mkdir()
        command = ["/bin/sh", "-c", LINE, "sh", str(WORK_S), str(told)]
        new.append(
            runs.NewRun(
                id, "mrm", "pretrain", None, seed, "quick", "r", str(folder), None, command, 1
            )
        )
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


def report(held: list[tuple[str, float, float]], memory: list[int], gpus: int) -> int:
    """Print what was found, and return 1 where it is not good enough."""
    twice = 0
    delays: list[float] = []
    for gpu in sorted({name for name, _, _ in held}):
        times = sorted((b, e) for name, b, e in held if name == gpu)
        twice += sum(later[0] < earlier[1] for earlier, later in itertools.pairwise(times))
    ends, begins = sorted(e for *_, e in held), sorted(b for _, b, _ in held)
    # places are alike: the n-th beginning after the first few fills the n-th place to fall free
    delays = [begin - end for begin, end in zip(begins[gpus:], ends, strict=False)]
    median, late = statistics.median(delays), statistics.quantiles(delays, n=20)[-1]
    print(f"{len(held)} runs on {len({name for name, _, _ in held})} pretended GPUs")
    print(f"refilled after {1000 * median:.0f} ms (median), {1000 * late:.0f} ms (95th percentile)")
    print(f"a GPU given twice at once: {twice} times")
    if memory:
        print(f"agent's memory: {memory[0] / 1024:.1f} MiB early, {memory[-1] / 1024:.1f} MiB late")
    return int(median > MOST_S or twice > 0)


if __name__ == "__main__":
    sys.exit(main())
