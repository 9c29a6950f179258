from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from cxrlab import gpus
from cxrlab.gpus.probe import COMMAND, Probe, ProbeError

FAKE_PYNVML = """
class NVMLError(Exception): pass
class NVMLError_NotSupported(NVMLError): pass
class NVMLError_DriverNotLoaded(NVMLError): pass
class NVMLError_Unknown(NVMLError): pass

depth = 0
def nvmlInit():
    global depth
    depth += 1
    if "{init}": raise globals()["{init}"]("no luck")
def nvmlShutdown():
    global depth
    depth -= 1
def nvmlDeviceGetHandleByUUID(uuid):
    assert depth > 0
    return uuid
class Process:
    def __init__(self, pid): self.pid = pid
def nvmlDeviceGetComputeRunningProcesses(handle): return [Process(7)]
def nvmlDeviceGetMigMode(handle):
    if handle != "GPU-b": raise NVMLError_NotSupported()
    return [1, 1]
"""

FAKE_GPUSTAT = """
class Stat:
    def __init__(self, entry): self.entry = entry
def entry(index, uuid):
    drawing = {"pid": 8, "username": "root", "gpu_memory_usage": 40}
    computing = {"pid": 7, "username": "anna", "gpu_memory_usage": None}
    return {
        "index": index, "uuid": uuid, "name": "H200", "memory.used": 9, "memory.total": 99,
        "utilization.gpu": 3, "temperature.gpu": 40, "power.draw": None,
        "processes": [computing, drawing],
    }
class GPUStatCollection:
    @staticmethod
    def new_query():
        return [Stat(entry(0, "GPU-a")), Stat(entry(1, "GPU-b")), Stat({"index": 2})]
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[Callable[..., Probe]]:
    """A probe of a pretended driver, which fails as told when it is begun with."""
    made: list[Probe] = []

    def make(*, init: str = "") -> Probe:
        (tmp_path / "pynvml.py").write_text(FAKE_PYNVML.replace("{init}", init))
        (tmp_path / "gpustat.py").write_text(FAKE_GPUSTAT)
        places = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
        made.append(Probe(["env", f"PYTHONPATH={places}", *COMMAND], limit_s=120))
        return made[-1]

    yield make
    for probe in made:
        probe.close()


def test_the_child_tells_of_every_gpu_and_keeps_answering(driver: Callable[..., Probe]) -> None:
    probe = driver()
    first, second = (gpus._told(probe.ask(), 0.0) for _ in range(2))
    assert first == second
    a, b = first.gpus
    assert (a.uuid, a.mig, b.mig) == ("GPU-a", False, True)
    assert [(p.user, p.mib, p.compute) for p in a.processes] == [
        ("anna", None, True),
        ("root", 40, False),
    ]


def test_one_gpu_that_cannot_be_read_hides_no_other(driver: Callable[..., Probe]) -> None:
    reading = gpus._told(driver().ask(), 0.0)
    assert (len(reading.gpus), reading.known) == (2, True)
    assert reading.error == "GPU 2 is there and cannot be read"


@pytest.mark.parametrize(
    ("error", "known", "words"),
    [
        ("NVMLError_DriverNotLoaded", True, "the NVIDIA driver is not loaded"),
        ("NVMLError_Unknown", False, "the GPUs cannot be read: no luck"),
    ],
)
def test_no_driver_is_no_gpu_and_a_driver_that_fails_is_not_known(
    driver: Callable[..., Probe], error: str, known: bool, words: str
) -> None:
    assert gpus._told(driver(init=error).ask(), 1.0) == gpus.Reading((), words, 1.0, known)


def test_a_driver_that_hangs_is_given_up_and_the_next_question_is_asked_anew(
    tmp_path: Path, wait_until: Callable[..., Any]
) -> None:
    mark = tmp_path / "hung"  # by a shell, which is up in no time
    code = f"[ -e '{mark}' ] || {{ touch '{mark}'; exec sleep 3600; }}\n"
    code += "while read line; do echo '{\"gpus\": []}'; done"
    probe = Probe(["sh", "-c", code], limit_s=2.0)
    refused = []

    def ask() -> dict[str, Any] | None:
        try:
            return probe.ask()
        except ProbeError as error:
            refused.append(str(error))
            return None

    assert wait_until(ask) == {"gpus": []}
    assert set(refused) == {"the driver does not answer within 2 s"}
    probe.close()


@pytest.mark.parametrize("code", ["", "print('{', flush=True)", "print(5, flush=True)"])
def test_a_probe_that_ends_or_makes_no_sense_says_so(code: str) -> None:
    probe = Probe([sys.executable, "-c", code], limit_s=120)
    for _ in range(2):
        with pytest.raises(ProbeError, match="the probe of the driver"):
            probe.ask()
    probe.close()
