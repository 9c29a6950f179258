"""One rank of a run that torchrun starts, for the faults that befall ranks: it only adds ones.

    torchrun --standalone --nproc-per-node=2 benchmarks/fault_rank.py --output_dir DIR --fault kill

At its fifth step rank 1 is killed, runs out of the GPU's memory, or ends with a status of its own;
events, signals and reasons are those of every trainer.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import torch

from trainers import distributed, program
from trainers.events import EventLog

STEPS, FAULT_AT = 200, 5


def main(argv: list[str]) -> int:
    """Train to the end, or to the fault."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--fault", choices=("none", "kill", "oom", "status"), default="none")
    given = parser.parse_args(argv)
    events: EventLog | None = None

    def work() -> int:
        nonlocal events
        world = distributed.join("cpu")
        events = EventLog(given.output_dir, enabled=world.first)
        events.start(0, total_steps=STEPS)
        for step in range(1, STEPS + 1):
            total = distributed.mean(torch.ones(1))
            events.metrics(step, {"train/loss": float(total)}, epoch=0.0)
            if step == FAULT_AT and world.rank == 1:
                befall(given.fault)
            time.sleep(0.05)
        events.end("succeeded")
        return 0

    return program.guard(work, lambda: events)


def befall(fault: str) -> None:
    """Let the fault happen to this process."""
    if fault == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if fault == "oom":
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    if fault == "status":
        os._exit(7)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
