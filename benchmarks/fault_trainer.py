"""A trainer for the fault campaign: its weights depend on every step and on nothing else.

Each step's weights are the SHA-256 of those before it, so that one lost, doubled or foreign step
shows at the end. It keeps to the contract: events, checkpoints, SIGTERM, `--resume`.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from trainers.events import EventLog
from trainers.room import Room

SAVE_EVERY = 5
FAULT_AT = 10


def weights_after(seed: int, step: int, *, start: str = "", done: int = 0) -> str:
    """Return the weights after `step` steps, going on from `start` after `done`."""
    weights = start or f"seed {seed}"
    for number in range(done + 1, step + 1):
        weights = hashlib.sha256(f"{weights} {number}".encode()).hexdigest()
    return weights


def loss_at(seed: int, step: int) -> float:
    """Return what is logged at a step."""
    return 1.0 / (step + seed % 7)


def main(argv: list[str]) -> int:
    """Train for `--steps`, from the last checkpoint where there is one."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--step_s", type=float, default=0.05)
    parser.add_argument("--resume", type=Path)
    parser.add_argument("--fault", default="", help="what happens at step 10")
    given = parser.parse_args(argv)
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(number))
    last = given.output_dir / "checkpoints" / "last.pt"
    last.parent.mkdir(parents=True, exist_ok=True)
    kept = json.loads(given.resume.read_text()) if given.resume else {"step": 0, "weights": ""}
    step, weights = int(kept["step"]), str(kept["weights"])
    events = EventLog(given.output_dir)
    room = Room(given.output_dir, events)
    events.start(step, total_steps=given.steps)
    while step < given.steps:
        time.sleep(given.step_s)
        weights = weights_after(given.seed, step + 1, start=weights, done=step)
        step += 1
        if given.fault and step == FAULT_AT:
            befall(given.fault, events, step)
        needed = 2**60 if given.fault == "disk" else 4096
        events.metrics(step, {"train/loss": loss_at(given.seed, step)}, epoch=step / 10)
        events.progress(step, given.steps, eta_s=None)
        if step % SAVE_EVERY == 0 or stopping or step == given.steps:
            kept = {"step": step, "weights": weights}
            if room.keep(partial(save, last, kept), needed=needed, stopping=lambda: bool(stopping)):
                events.checkpoint("last", "checkpoints/last.pt", step=step)
        if stopping and step < given.steps:
            events.end("stopped", "SIGTERM received")
            return 143
    events.result(values={"val/loss": loss_at(given.seed, step)}, selected_by="val/loss")
    events.end("succeeded")
    return 0


def befall(fault: str, events: EventLog, step: int) -> None:
    """Let something happen to this process, as it happens to trainers."""
    if fault == "status":
        sys.stderr.write("error: exit status 7 was asked for\n")
        os._exit(7)
    if fault == "oom":
        events.end("failed", "GPU out of memory: CUDA out of memory. Tried to allocate 2.00 GiB.")
        os._exit(1)
    if fault == "nan":
        events.end("failed", f"train/loss_image is not finite at step {step}; items a.png, b.png")
        os._exit(1)
    if fault == "hang":
        time.sleep(600)
    if fault == "host_oom":
        exhaust()


def exhaust() -> None:
    """Use more memory than a control group of this process's own has; needs root."""
    for parent, limit in (("memory", "memory.limit_in_bytes"), (".", "memory.max")):
        group = Path("/sys/fs/cgroup") / parent / f"cxrlab-fault-{os.getpid()}"
        try:
            group.mkdir()
            (group / limit).write_text(str(96 * 2**20))
            (group / "cgroup.procs").write_text(str(os.getpid()))
        except OSError:
            continue
        kept = []
        while True:
            kept.append(bytearray(b"x" * 2**20))
    raise OSError("no control group can be made here")


def save(path: Path, content: dict[str, object]) -> None:
    """Write a checkpoint so that a crash leaves the old one whole."""
    new = path.with_suffix(".new")
    try:
        with new.open("w") as file:
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
