"""How is the driver asked what the GPUs are doing, without waiting for it for ever?

    python -P -m cxrlab.gpus.probe

A child asks, and answers one line of JSON for each line it is sent. A driver that hangs hangs the
child alone; who asks gives it up after a while. It ends with whoever started it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

LIMIT_S = 10.0
"""How long a driver may take; without persistence mode the first answer takes some seconds."""

COMMAND = (sys.executable, "-P", "-m", "cxrlab.gpus.probe")
LIBRARY = "libnvidia-ml.so.1"
NONE_THERE = ("LibraryNotFound", "DriverNotLoaded")
"""NVML's errors that mean that there is nothing to read, rather than that reading failed."""


class ProbeError(Exception):
    """The driver did not answer."""


class Probe:
    """A child that asks the driver, kept for the next question; may be used by several threads."""

    def __init__(self, command: Sequence[str] = COMMAND, *, limit_s: float = LIMIT_S) -> None:
        self._command = command
        self._limit_s = limit_s
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._given_up: subprocess.Popen[bytes] | None = None

    def ask(self) -> dict[str, Any]:
        """Return the child's answer.

        Raises:
            ProbeError: none came within the limit, or the child ended or makes no sense.
        """
        with self._lock:
            if self._given_up is not None and self._given_up.poll() is None:
                raise ProbeError("the driver does not answer, and its probe cannot be killed")
            line = self._line(self._living())
        try:
            answer = json.loads(line)
        except ValueError:
            raise ProbeError("the probe of the driver ended without an answer") from None
        if not isinstance(answer, dict):
            raise ProbeError("the probe of the driver makes no sense")
        return answer

    def close(self) -> None:
        """End the child; the next question starts another."""
        with self._lock:
            self._give_up()

    def _living(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is not meant for it
            )
        return self._child

    def _line(self, child: subprocess.Popen[bytes]) -> bytes:
        assert child.stdin is not None
        assert child.stdout is not None
        deadline = time.monotonic() + self._limit_s
        said = b""
        with contextlib.suppress(BrokenPipeError):  # it has ended; see below
            child.stdin.write(b"\n")
            child.stdin.flush()
            while not said.endswith(b"\n"):
                left = deadline - time.monotonic()
                if left <= 0 or not select.select([child.stdout], [], [], left)[0]:
                    self._give_up()
                    raise ProbeError(f"the driver does not answer within {self._limit_s:g} s")
                piece = os.read(child.stdout.fileno(), 1 << 16)
                if not piece:
                    break
                said += piece
        if not said.endswith(b"\n"):
            self._give_up()
        return said

    def _give_up(self) -> None:
        """Kill the child; one that is stuck in the driver lives on, and is not waited for."""
        child, self._child = self._child, None
        if child is None:
            return
        child.kill()
        for pipe in (child.stdin, child.stdout):
            with contextlib.suppress(OSError):  # what it was not yet sent
                if pipe is not None:
                    pipe.close()
        try:
            child.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._given_up = child


def driver_installed() -> bool:
    """Return whether NVIDIA's library is there; asks no driver, so it cannot hang."""
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        return False
    return True


def main() -> int:
    """Answer every line with what the GPUs are doing, until there are no more."""
    for _ in sys.stdin:
        sys.stdout.write(json.dumps(answer()) + "\n")
        sys.stdout.flush()
    return 0


def answer() -> dict[str, Any]:
    """Return the GPUs as `cxrlab.gpus` reads them, those that are lost, or what went wrong."""
    try:
        import gpustat
        import pynvml

        # held over both questions and no longer: it keeps the driver in use
        pynvml.nvmlInit()
        try:
            stats = gpustat.GPUStatCollection.new_query()
            entries = [stat.entry for stat in stats]
            there = [entry for entry in entries if entry.get("memory.total") is not None]
            lost = [int(entry["index"]) for entry in entries if entry.get("memory.total") is None]
            return {"gpus": [_facts(entry, pynvml) for entry in there], "lost": lost}
        finally:
            pynvml.nvmlShutdown()
    except Exception as error:  # the driver's library raises dozens of kinds
        name = type(error).__name__
        none = name.startswith("NVMLError_") and name.endswith(NONE_THERE)
        return {"error": _in_words(error), "none_there": none}


def _facts(entry: dict[str, Any], pynvml: Any) -> dict[str, Any]:
    uuid = str(entry["uuid"])
    computing = _computing(uuid, pynvml)
    return {
        "index": int(entry["index"]),
        "uuid": uuid,
        "name": str(entry["name"]),
        "used_mib": int(entry.get("memory.used") or 0),
        "total_mib": int(entry["memory.total"]),
        "utilization": entry.get("utilization.gpu"),
        "temperature": entry.get("temperature.gpu"),
        "power_w": entry.get("power.draw"),
        "mig": _mig(uuid, pynvml),
        "processes": [
            (
                int(process["pid"]),
                str(process.get("username") or "?"),
                process.get("gpu_memory_usage"),
                computing is None or int(process["pid"]) in computing,
            )
            for process in entry.get("processes") or ()
        ],
    }


def _computing(uuid: str, pynvml: Any) -> set[int] | None:
    """Return who computes rather than draws, which gpustat does not tell; None where unknown."""
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        return {int(each.pid) for each in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}
    except pynvml.NVMLError:
        return None


def _mig(uuid: str, pynvml: Any) -> bool:
    """Return whether a GPU is cut into instances, or will be at the next reset."""
    try:
        return any(pynvml.nvmlDeviceGetMigMode(pynvml.nvmlDeviceGetHandleByUUID(uuid)))
    except (pynvml.NVMLError, AttributeError):  # most GPUs know no such mode
        return False


def _in_words(error: Exception) -> str:
    name = type(error).__name__
    if name.startswith("NVMLError_LibraryNotFound"):
        return "no NVIDIA driver is installed"
    if name.startswith("NVMLError_DriverNotLoaded"):
        return "the NVIDIA driver is not loaded"
    return f"the GPUs cannot be read: {error or name}"


if __name__ == "__main__":
    sys.exit(main())
