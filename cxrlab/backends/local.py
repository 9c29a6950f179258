"""How is a run started, looked at and stopped on this machine?

A process is named by pid and start time, never by pid alone; signals go through a pidfd, so that
none reaches a process that got the number later.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cxrlab import marks, run_attempt, runner
from store import within

Asked = Literal["runner", "trainer", "nobody"]


class Look(NamedTuple):
    """What the record and the process table say of one attempt."""

    record: dict[str, Any] | None
    runner_alive: bool
    trainer_alive: bool
    same_host: bool
    same_boot: bool
    beat_age_s: float | None
    silent_s: float | None = None
    """Since the run was heard of when its runner last beat, by a clock that nobody sets."""
    frozen: bool = False
    """Whether a signal has stopped the trainer (SIGSTOP)."""


def start(
    folder: Path,
    attempt: int,
    *,
    command: Sequence[str],
    gpus: Sequence[str],
    cwd: Path,
    marked: marks.Marks | None = None,
) -> subprocess.Popen[bytes]:
    """Start the runner of an attempt, detached, and return at once.

    Args:
        folder: the run folder.
        attempt: its number, from 1.
        command: the trainer's, with everything it needs.
        gpus: UUIDs of the GPUs it sees; none for a run on the CPU.
        cwd: where relative paths in the command start.
        marked: the marks of its GPUs, which it takes over.
    """
    said, numbers = marks.handed_on(marked or {})
    environment = {
        **os.environ,
        runner.FOLDER_MARK: str(folder),
        runner.ATTEMPT_MARK: str(attempt),
        marks.HANDED_ON: said,
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),
        "PYTHONSAFEPATH": "1",  # for what torchrun starts
        "PYTHONUNBUFFERED": "1",
    }
    with (folder / runner.LOG_NAME).open("ab") as log:
        return subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-S",
                run_attempt.__file__,
                str(folder),
                str(attempt),
                "--",
                *command,
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=cwd,
            env=environment,
            start_new_session=True,
            pass_fds=numbers,
        )


def look(folder: Path, attempt: int) -> Look:
    """Return what can be seen of an attempt, without waiting for anything."""
    record = read_record(folder, attempt)
    if record is None:
        return Look(None, bool(runner.processes_of(folder)), False, True, True, None)
    beat: float | None
    silent: float | None
    try:
        times = runner.beat_path(folder, attempt).stat()
        beat, silent = times.st_mtime, max(0.0, times.st_mtime - times.st_atime)
    except OSError:
        beat = silent = None
    same_boot = record.get("boot_id") == runner.boot_id()
    runner_alive = same_boot and _alive(record.get("runner"))
    trainer_alive = same_boot and _alive(record.get("trainer"))
    if same_boot and not runner_alive and record.get("trainer") is None:
        # killed after it had started its trainer and before it could note it
        trainer_alive = record.get("ended") is None and bool(runner.processes_of(folder))
    return Look(
        record=record,
        runner_alive=runner_alive,
        trainer_alive=trainer_alive,
        same_host=record.get("host") == socket.gethostname(),
        same_boot=same_boot,
        beat_age_s=None if beat is None else max(0.0, time.time() - beat),
        silent_s=silent,
        frozen=trainer_alive and runner.is_frozen(int((record.get("trainer") or {}).get("pid", 0))),
    )


def read_record(folder: Path, attempt: int) -> dict[str, Any] | None:
    """Return what the runner wrote of an attempt; None while there is nothing."""
    path = runner.record_path(folder, attempt)
    record = within.read_object(path.parent, path.name)
    return _own(_sound(record), folder) if record else None


def _own(record: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a record without the processes of another run folder, of which this one is a copy."""
    for key in ("runner", "trainer"):
        process = record.get(key)
        if isinstance(process, dict) and _alive(process):
            marked = Path(runner.folder_of(int(process["pid"])) or folder)
            if marked != folder and marked.is_dir() and not marked.samefile(folder):
                record[key] = process | {"start": None}
    return record


def _sound(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record without what is not of its kind: a program may have written over it."""
    for key in ("started", "ended", "exit_code", "signal", "log_from"):
        if not _is_number(record.get(key)):
            record[key] = None
    for key in ("runner", "trainer"):
        process = record.get(key)
        if not isinstance(process, dict) or not _is_number(process.get("pid")):
            record[key] = None
    if not isinstance(record.get("oom"), dict):
        record["oom"] = None
    return record


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 2**53


def ask_to_stop(folder: Path, attempt: int) -> Asked:
    """Send SIGTERM to the runner, which passes it on, or to the trainer of a dead one.

    Returns:
        Who was there to be asked: a runner that is asked may be dying, and pass nothing on.
    """
    record = read_record(folder, attempt) or {}
    if _send(record.get("runner"), signal.SIGTERM):
        return "runner"
    return "trainer" if _send(record.get("trainer"), signal.SIGTERM) else "nobody"


def kill(folder: Path, attempt: int, *, runner_too: bool = False) -> None:
    """Send SIGKILL to every process of the run; its runner is spared, to record the end."""
    record = read_record(folder, attempt) or {}
    own = record.get("runner") or {}
    spared = set() if runner_too else {own.get("pid")}
    runner.kill_all(set(runner.processes_of(folder)) - spared)


def processes(folder: Path) -> list[int]:
    """Return every living process of a run, its runner included."""
    return runner.processes_of(folder)


def _alive(process: dict[str, Any] | None) -> bool:
    return (
        process is not None
        and process.get("start") is not None
        and runner.process_start(int(process["pid"])) == process["start"]
    )


def _send(process: dict[str, Any] | None, number: signal.Signals) -> bool:
    """Send a signal to exactly the process that was recorded; False when it is gone."""
    if process is None:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        handle = os.pidfd_open(int(process["pid"]))
        try:
            if _alive(process):
                signal.pidfd_send_signal(handle, number)
                return True
        finally:
            os.close(handle)
    return False
