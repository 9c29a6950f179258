from __future__ import annotations

from typing import Any

import pytest

from cxrlab import advice
from store import runs

CONFIG = {"batch_size": 64, "accum_iter": 2}


@pytest.mark.parametrize(
    ("state", "reason", "config", "said"),
    [
        ("failed", "GPU out of memory: CUDA out of memory. Tried to allocate 2 GiB", CONFIG,
         "--set batch_size=32 --set accum_iter=4"),
        ("failed", "GPU out of memory: x", {}, "--set batch_size=…"),
        ("failed", "GPU out of memory: x", {"batch_size": 1, "accum_iter": 8}, "batch_size=…"),
        ("failed", "OSError: [Errno 28] No space left on device", CONFIG, "free some space"),
        ("failed", "the loss is not finite at step 9 (a.png)", CONFIG, "--set blr="),
        ("failed", "KeyError: 'x'", CONFIG, "cxrlab retry"),
        ("lost", "killed by the kernel: out of memory (host)", CONFIG | {"num_workers": 8},
         "num_workers=4"),
        ("lost", "killed by the kernel: out of memory (host)", CONFIG, "batch_size=32"),
        ("failed", "a process of it was killed by the kernel: out of memory (host): x",
         CONFIG | {"num_workers": 8}, "num_workers=4"),
        ("lost", "killed from outside with SIGKILL (kill -9)", CONFIG, "cxrlab resume"),
        ("lost", "its folder is gone", CONFIG, "cxrlab rm"),
        ("failed", "rank 1 ended with exit status 1: torch.OutOfMemoryError: GPU out of memory",
         CONFIG, "batch_size=32"),
        ("failed", "rendezvous timed out: not all nodes came", CONFIG, "every node"),
        ("running", "stalled: no event for 14 min, usually every 3 s", CONFIG, "cxrlab stop"),
        ("running", "paused: the disk is full (needs 1.2 GiB)", CONFIG, "goes on by itself"),
        ("running", "frozen by a signal (SIGSTOP)", CONFIG, "kill -CONT"),
        ("running", "its runner is gone", CONFIG, "goes on to its end"),
        ("running", "", CONFIG, ""),
        ("lost", "the machine was restarted", CONFIG, "cxrlab resume"),
        ("stopped", "", CONFIG, "cxrlab resume"),
        ("succeeded", "", CONFIG, ""),
        ("failed", "GPU out of memory: x", CONFIG, "--on-oom halve` goes on with 32 images"),
        ("queued", "lost twice, x; starts again at 14:05", CONFIG, "cxrlab queue release"),
    ],
)  # fmt: skip
def test_each_end_has_its_next_step(
    new_run: Any, db: Any, state: str, reason: str, config: dict[str, Any], said: str
) -> None:
    run = new_run()
    runs.change_state(db, run.id, state, reason=reason)
    step = advice.next_step(runs.get(db, run.id), config)
    assert said in step


def test_a_program_of_ones_own_is_said_to_start_again_not_to_go_on(new_run: Any, db: Any) -> None:
    run = new_run(command=["adapt", "--", "train.py"])
    runs.change_state(db, run.id, "lost", reason="the machine was restarted")
    step = advice.next_step(runs.get(db, run.id), CONFIG)
    assert step == f"`cxrlab resume {run.id}` starts its program again"


def test_a_run_that_is_well_has_no_next_step(new_run: Any, db: Any) -> None:
    assert advice.next_step(new_run(), CONFIG) == ""
