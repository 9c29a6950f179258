"""What should a person do about a run that did not succeed? Touches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cxrlab import states, torchrun
from store.runs import Run

NO_MEMORY = "GPU out of memory"
"""How a trainer's reason begins when its GPU has no memory left."""

_DISK = ("No space left on device", "Disk quota exceeded")
_NOT_FINITE = "not finite"


def next_step(run: Run, config: Mapping[str, Any]) -> str:
    """Return what to type, and when; empty for a run with which all is well.

    Args:
        run: the run.
        config: its resolved configuration; may be empty.
    """
    if run.state == "running":
        return _running(run)
    if states.OUT_OF_MEMORY in run.reason and run.state in ("failed", "lost"):
        return _less_memory(run, config)
    if run.state == "failed":
        return _failed(run, config)
    if run.state == "lost" and run.reason.startswith(states.FOLDER_GONE):
        return f"`cxrlab rm {run.id}` forgets it; launch it anew"
    if run.state in ("stopped", "lost"):
        if "--" in run.command:
            return f"`cxrlab resume {run.id}` starts its program again"
        return f"`cxrlab resume {run.id}` goes on from its last checkpoint"
    if run.held is not None:
        return f"`cxrlab queue release {run.id}` lets it start"
    if run.state == "queued" and "; starts again at " in run.reason:
        return f"`cxrlab queue release {run.id}` starts it now, `cxrlab queue hold {run.id}` never"
    return ""


def _running(run: Run) -> str:
    if states.STALLED in run.reason:
        return (
            f"look at `cxrlab logs {run.id}`; `cxrlab stop {run.id}`, then "
            f"`cxrlab resume {run.id}`, goes on from its last checkpoint"
        )
    if states.PAUSED in run.reason:
        return "free some space; it goes on by itself"
    if states.FROZEN in run.reason:
        return f"`kill -CONT` its processes, or `cxrlab stop {run.id}`"
    if states.ALONE in run.reason:
        return "nothing: it goes on to its end, which its own events tell"
    return ""


def _failed(run: Run, config: Mapping[str, Any]) -> str:
    if NO_MEMORY in run.reason:
        return _cut(run, config)
    if any(word in run.reason for word in _DISK):
        return f"free some space; then `cxrlab retry {run.id}` goes on from its last checkpoint"
    if _NOT_FINITE in run.reason:
        return (
            f"look at the images that it names, or lower the learning rate: "
            f"`cxrlab clone {run.id} --set blr=…`"
        )
    if run.reason.startswith(torchrun.RENDEZVOUS):
        return (
            f"see that every node runs and reaches the first one's port; then "
            f"`cxrlab retry {run.id}`"
        )
    return f"`cxrlab logs {run.id}` shows its log, `cxrlab retry {run.id}` tries again"


def _less_memory(run: Run, config: Mapping[str, Any]) -> str:
    """Return how a run needs less of the machine's own memory: fewer workers, then less a batch."""
    again = f"`cxrlab {'resume' if run.state == 'lost' else 'retry'} {run.id}` goes on"
    workers = config.get("num_workers")
    if isinstance(workers, int) and workers > 1:
        fewer = f"fewer loader workers: `cxrlab clone {run.id} --set num_workers={workers // 2}`"
        return f"{again}; if it happens again, {fewer}"
    return f"{again}; if it happens again, {_smaller(run, config)}"


def _cut(run: Run, config: Mapping[str, Any]) -> str:
    """Return how a run goes on where a GPU has too little memory for it."""
    batch = config.get("micro_batch") or config.get("batch_size")
    if "not cut smaller" in run.reason or not isinstance(batch, int) or batch < 2:
        return _smaller(run, config)
    return (
        f"`cxrlab retry {run.id} --on-oom halve` goes on with {batch // 2} images at once instead "
        f"of {batch}, and makes the same updates; {_smaller(run, config)}"
    )


def _smaller(run: Run, config: Mapping[str, Any]) -> str:
    """Return how to halve the batch while the optimiser sees as many items an update."""
    batch, accum = config.get("batch_size"), config.get("accum_iter")
    if not isinstance(batch, int) or batch < 2 or not isinstance(accum, int):
        return f"`cxrlab clone {run.id} --set batch_size=…` tries smaller batches"
    return (
        f"half the batch, accumulated twice as long, makes the same updates: "
        f"`cxrlab clone {run.id} --set batch_size={batch // 2} --set accum_iter={2 * accum}`"
    )
