"""What should a person do about a run that did not succeed? Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from store.runs import Run

NO_MEMORY = "GPU out of memory"
"""How a trainer's reason begins when its GPU has no memory left."""

_DISK = ("No space left on device", "Disk quota exceeded")
_KILLED = "SIGKILL"
_NOT_FINITE = "not finite"


def next_step(run: Run, config: Mapping[str, Any]) -> str:
    """Return what to type, and when; empty for a run with which all is well.

    Args:
        run: the run.
        config: its resolved configuration; may be empty.
    """
    if run.state == "failed":
        return _failed(run, config)
    if run.state == "lost" and _KILLED in run.reason:
        return (
            f"`cxrlab resume {run.id}` goes on; where the machine was out of memory, "
            f"with fewer `num_workers` first: `cxrlab clone {run.id} --set num_workers=2`"
        )
    if run.state in ("stopped", "lost"):
        return f"`cxrlab resume {run.id}` goes on from its last checkpoint"
    if run.held is not None:
        return f"`cxrlab queue release {run.id}` lets it start"
    return ""


def _failed(run: Run, config: Mapping[str, Any]) -> str:
    if run.reason.startswith(NO_MEMORY):
        return _smaller(run, config)
    if any(word in run.reason for word in _DISK):
        return f"free some space; then `cxrlab retry {run.id}` goes on from its last checkpoint"
    if _NOT_FINITE in run.reason:
        return (
            f"look at the images that it names, or lower the learning rate: "
            f"`cxrlab clone {run.id} --set blr=…`"
        )
    return f"`cxrlab logs {run.id}` shows its log, `cxrlab retry {run.id}` tries again"


def _smaller(run: Run, config: Mapping[str, Any]) -> str:
    """Return how to halve the batch while the optimiser sees as many items an update."""
    batch, accum = config.get("batch_size"), config.get("accum_iter")
    if not isinstance(batch, int) or batch < 2 or not isinstance(accum, int):
        return f"`cxrlab clone {run.id} --set batch_size=…` tries smaller batches"
    return (
        f"half the batch, accumulated twice as long, makes the same updates: "
        f"`cxrlab clone {run.id} --set batch_size={batch // 2} --set accum_iter={2 * accum}`"
    )
