"""What is each GPU doing, who uses it, and which are free? An empty list without a driver.

Reading takes a tenth of a second for each GPU: never on a UI thread.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

FAKE_VARIABLE = "CXRLAB_FAKE_GPUS"
"""Names a JSON file to read instead of asking the driver; for trying things out without GPUs."""

BUSY_MIB = 500
"""A GPU nobody claimed on which others hold this much is theirs."""


class GpuProcess(NamedTuple):
    """A process on a GPU; `mib` is None where the driver does not tell."""

    pid: int
    user: str
    mib: int | None


@dataclass(frozen=True)
class Gpu:
    """One GPU; what a driver does not tell is None."""

    index: int
    uuid: str
    name: str
    used_mib: int
    total_mib: int
    utilization: int | None
    """Percent, as the driver gives it."""
    temperature: int | None
    power_w: int | None
    processes: tuple[GpuProcess, ...] = ()


class Reading(NamedTuple):
    """Every GPU at one moment, or why there are none."""

    gpus: tuple[Gpu, ...]
    error: str
    at: float


def read_gpus() -> Reading:
    """Return what every GPU is doing; says in `error` what went wrong and never raises."""
    at = time.time()
    try:
        fake = os.environ.get(FAKE_VARIABLE)
        gpus = _from_file(Path(fake)) if fake else _from_driver()
    except Exception as error:  # the driver's library raises dozens of kinds
        return Reading((), _in_words(error), at)
    return Reading(gpus, "" if gpus else "no GPU is there", at)


def free_gpus(
    gpus: Sequence[Gpu], held: Collection[str], *, allowed: int | None = None
) -> list[Gpu]:
    """Return the GPUs a run may take now, the emptiest first.

    Args:
        gpus: every GPU.
        held: UUIDs that runs of this lab hold.
        allowed: how many this lab may hold at once; None for all.
    """
    free = [gpu for gpu in gpus if gpu.uuid not in held and gpu.used_mib < BUSY_MIB]
    free.sort(key=lambda gpu: (gpu.used_mib, gpu.index))
    if allowed is None:
        return free
    in_use = sum(gpu.uuid in held for gpu in gpus)
    return free[: max(0, allowed - in_use)]


def why_not(
    gpus: Sequence[Gpu], held: Collection[str], *, wanted: int, allowed: int | None = None
) -> str:
    """Return why a run that wants `wanted` GPUs has to wait, in words."""
    noun = "GPU" if wanted == 1 else "GPUs"
    most = len(gpus) if allowed is None else min(allowed, len(gpus))
    if most < wanted:
        return f"waits for {wanted} {noun}; there are {most} for this lab"
    own = sum(gpu.uuid in held for gpu in gpus)
    others = sum(gpu.uuid not in held and gpu.used_mib >= BUSY_MIB for gpu in gpus)
    parts = [f"{own} held by this lab's runs"] if own else []
    parts += [f"{others} used by others"] if others else []
    return f"waits for {wanted} free {noun}" + (f" ({', '.join(parts)})" if parts else "")


def _from_driver() -> tuple[Gpu, ...]:
    import gpustat  # 60 ms, which only those who ask for GPUs pay

    found = []
    for stat in gpustat.GPUStatCollection.new_query():
        entry: Mapping[str, Any] = stat.entry
        if entry.get("memory.total") is not None:  # a GPU that fell off the bus has nothing to say
            found.append(_gpu(entry))
    return tuple(found)


def _gpu(entry: Mapping[str, Any]) -> Gpu:
    processes = tuple(
        GpuProcess(int(p["pid"]), str(p.get("username") or "?"), p.get("gpu_memory_usage"))
        for p in entry.get("processes") or ()
    )
    return Gpu(
        index=int(entry["index"]),
        uuid=str(entry["uuid"]),
        name=str(entry["name"]),
        used_mib=int(entry.get("memory.used") or 0),
        total_mib=int(entry["memory.total"]),
        utilization=entry.get("utilization.gpu"),
        temperature=entry.get("temperature.gpu"),
        power_w=entry.get("power.draw"),
        processes=processes,
    )


def _from_file(path: Path) -> tuple[Gpu, ...]:
    """Read a list of objects with the fields of `Gpu`; a process is `[pid, user, mib]`."""
    found = []
    for item in json.loads(path.read_text(encoding="utf-8")):
        processes = tuple(GpuProcess(*process) for process in item.pop("processes", []))
        blank = {"utilization": None, "temperature": None, "power_w": None}
        found.append(Gpu(**{**blank, **item}, processes=processes))
    return tuple(found)


def _in_words(error: Exception) -> str:
    name = type(error).__name__
    if name.startswith("NVMLError_LibraryNotFound"):
        return "no NVIDIA driver is installed"
    if name.startswith("NVMLError_DriverNotLoaded"):
        return "the NVIDIA driver is not loaded"
    return f"the GPUs cannot be read: {error or name}"
