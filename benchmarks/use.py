"""What does it cost an agent to see what runs use, and what does it take up?

    python -m benchmarks.use

A look at eight runs of one GPU and seventeen processes each, timed as CPU time of this process
(reading `/proc`, adding up, writing a line), against the ten seconds between two looks. Then what
a run of 61 hours on eight GPUs leaves: lines and bytes of its `use.jsonl`, and what they take of
the registry. Exits with 1 where a look takes more of a core than `MOST_SHARE`.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cxrlab import use
from cxrlab.gpus import Gpu
from cxrlab.process_trees import Cost, Trees
from store import intake, runs
from store.db import Database, open_store

MOST_SHARE = 0.001
RUNS, WORKERS, LOOKS = 8, 16, 100
HOURS, GPUS = 61, 8


def main() -> int:
    """Measure and tell both."""
    with tempfile.TemporaryDirectory(prefix="use-") as root:
        ms = look_ms(Path(root))
        share = ms / 1e3 / use.PERIOD_S
        print(
            f"a look at {RUNS} runs of {WORKERS + 1} processes: {ms:.2f} ms of CPU time, "
            f"{share:.3%} of a core"
        )
        lines, size, grown = left_by_a_run(Path(root))
        print(
            f"{HOURS} h on {GPUS} GPUs: {lines:,} lines, {size / 2**20:.1f} MiB; "
            f"{grown / 2**20:.1f} MiB of the registry"
        )
    return 0 if share < MOST_SHARE else 1


def gpu(index: int, n: int) -> Gpu:
    """Return a GPU that is busy in another way at each look."""
    return Gpu(index, f"GPU-{index}", "H200", 60_000 + n, 143_771, n * 7 % 101, 61, 300 + n % 400)


def look_ms(root: Path) -> float:
    """Return the CPU time of one look at all runs, written lines included (ms)."""
    families = [
        subprocess.Popen(["sh", "-c", "sleep 600 & " * WORKERS + "wait"], start_new_session=True)
        for _ in range(RUNS)
    ]
    try:
        time.sleep(1.0)
        trees, records = Trees(), []
        for number in range(RUNS):
            (root / str(number)).mkdir()
            records.append(use.Record(root / str(number), 1, 0.0))
        pids = [family.pid for family in families]
        trees.look(pids)
        began = time.process_time()
        for n in range(LOOKS):
            costs = trees.look(pids)
            for number, (pid, record) in enumerate(zip(pids, records, strict=True)):
                record.add(use.look(10.0 * n, [gpu(number, n)], costs.get(pid)))
        return (time.process_time() - began) / LOOKS * 1e3
    finally:
        for family in families:
            os.killpg(family.pid, signal.SIGKILL)
            family.wait()


def left_by_a_run(root: Path) -> tuple[int, int, int]:
    """Return lines and bytes of the file of a long run, and by what its registry has grown."""
    folder = root / "long"
    folder.mkdir()
    record = use.Record(folder, 1, 0.0)
    for n in range(HOURS * 360):
        cost = Cost(cpu_s=43.1 * n, memory=(20 + n % 9) * 2**30)
        record.add(use.look(10.0 * n, [gpu(index, n) for index in range(GPUS)], cost))
    record.close()
    path, registry = folder / use.FILE_NAME, root / "registry.db"
    db = open_store(registry)
    run = runs.NewRun("aaaaaa", "mrm", "pretrain", None, 0, "paper", "", str(folder), None, [], 8)
    runs.add(db, [run])
    before = pages(db)
    intake.take_in(db, "aaaaaa", folder)
    after = pages(db)
    db.conn.close()
    return len(path.read_text().splitlines()), path.stat().st_size, after - before


def pages(db: Database) -> int:
    """Return how large a registry is (bytes)."""
    count, size = (
        db.conn.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size")
    )
    return int(count * size)


if __name__ == "__main__":
    sys.exit(main())
