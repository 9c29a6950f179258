"""What is each GPU doing, and who uses it? An empty list without a driver.

Reading takes a tenth of a second for each GPU, and ten where the driver hangs: never on a UI
thread, and in the agent by `cxrlab.gpus.watch`.
"""

from __future__ import annotations

import functools
import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import runner
from cxrlab.gpus.probe import Probe, ProbeError, driver_installed
from cxrlab.marks import FAKE_VARIABLE, user_name


class GpuProcess(NamedTuple):
    """A process on a GPU; `mib` is None where the driver does not tell."""

    pid: int
    user: str
    mib: int | None
    compute: bool = True
    """False for one that only draws."""
    folder: str = ""
    """The run folder it works for, where it is a run's; of whichever lab of this user."""


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
    mig: bool = False
    """Whether it is cut into instances, which are not given to runs."""


class Reading(NamedTuple):
    """Every GPU at one moment, or why there are none."""

    gpus: tuple[Gpu, ...]
    error: str
    at: float
    known: bool = True
    """False where reading failed, so that nobody knows what GPUs there are."""


def read_gpus() -> Reading:
    """Return what every GPU is doing; says in `error` what went wrong and never raises."""
    at = time.time()
    fake = os.environ.get(FAKE_VARIABLE)
    try:
        if fake:
            gpus = _gpus(json.loads(Path(fake).read_text(encoding="utf-8")))
            return Reading(gpus, "" if gpus else "no GPU is there", at)
        if not driver_installed():
            return Reading((), "no NVIDIA driver is installed", at)
        return _told(_probe().ask(), at)
    except (ProbeError, OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return Reading((), str(error) or type(error).__name__, at, known=False)


def me() -> str:
    """Return this user as the processes on a GPU name theirs."""
    return user_name(os.getuid())


@functools.cache
def _probe() -> Probe:
    return Probe()


def _told(answer: dict[str, Any], at: float) -> Reading:
    if error := answer.get("error"):
        return Reading((), str(error), at, known=bool(answer.get("none_there")))
    gpus = _gpus(answer["gpus"])
    lost = [f"GPU {index} is there and cannot be read" for index in answer.get("lost", ())]
    return Reading(gpus, "; ".join(lost) if gpus or lost else "no GPU is there", at)


def _gpus(items: Sequence[dict[str, Any]]) -> tuple[Gpu, ...]:
    """Read objects with the fields of `Gpu`; a process is `[pid, user, mib, compute]`."""
    found = []
    blank = {"utilization": None, "temperature": None, "power_w": None}
    for item in items:
        processes = tuple(_process(each) for each in item.get("processes", ()))
        found.append(Gpu(**{**blank, **item, "processes": processes}))
    return tuple(found)


def _process(given: Sequence[Any]) -> GpuProcess:
    """Return a process with the folder of the run that it works for."""
    process = GpuProcess(*given)
    return process._replace(folder=runner.folder_of(process.pid))
