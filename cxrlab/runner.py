"""How does one trainer process get a parent that outlives everything else?

    python -P -S cxrlab/run_attempt.py FOLDER ATTEMPT -- COMMAND...

The runner starts the command in a process group of its own, sends its output to `log.txt`, passes
SIGTERM on to it, beats once a second, and keeps `attempts/N.json`: who runs (pid and start time,
on which boot), and how it ended. Standard library only, and of that no more than it needs: much of
the time in which a free GPU gets its next run is that of this start. The process table is read from
`/proc`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import select
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from cxrlab import marks, oom

TYPE_CHECKING = False  # what `typing` is for; loading it takes a tenth of the start
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any

FOLDER_MARK = "CXRLAB_FOLDER"
"""In the environment of every process of a run: its folder, so that none can hide by forking."""

ATTEMPT_MARK = "CXRLAB_ATTEMPT"
BEAT_S = 1.0
LOG_NAME = "log.txt"
CODE_NAME = "code.json"
"""The file of a run folder that names the code which the run was queued with."""
_HEARD_IN = (LOG_NAME, "events.jsonl")
_KILL_WAIT_S = 15.0
_DISK_WAIT_S = 300.0


def record_path(folder: Path, attempt: int) -> Path:
    """Return where the record of an attempt lies."""
    return folder / "attempts" / f"{attempt}.json"


def beat_path(folder: Path, attempt: int) -> Path:
    """Return the file whose modification time is the runner's last heartbeat."""
    return folder / "attempts" / f"{attempt}.beat"


def beat(path: Path, silent_s: float) -> None:
    """Beat: the file's times are now, and when the run was last heard of, by one clock.

    A clock that is set meanwhile moves both. Takes no room of a full disk.
    """
    now = time.time()
    os.utime(path, (now - silent_s, now))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def boot_id() -> str:
    """Return what distinguishes this start of the machine from every other."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def process_start(pid: int) -> int | None:
    """Return when a living process began (clock ticks since boot), or None; a zombie is dead.

    A pid is used again sooner or later; pid and start time together are not.
    """
    stat = _stat(pid)
    return None if stat is None or stat[0] in ("Z", "X") else int(stat[19])


def is_frozen(pid: int) -> bool:
    """Return whether a signal has stopped a process, which goes on at SIGCONT."""
    stat = _stat(pid)
    return stat is not None and stat[0] == "T"


def _stat(pid: int) -> list[str] | None:
    """Return `/proc/PID/stat` from its third field on; the second may hold blanks and brackets."""
    try:
        text = _read(f"/proc/{pid}/stat").decode("utf-8", errors="replace")
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def _read(path: str) -> bytes:
    """Return a file of the process table, of which hundreds are read at a time."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a `Path` takes as long as reading
        return file.readall()


def processes_of(folder: Path) -> list[int]:
    """Return the living processes that carry a run folder's mark, the runner among them."""
    return [pid for pid in _pids() if _marked(pid, folder) and process_start(pid) is not None]


def _marked(pid: int, folder: Path) -> bool:
    mark = f"{FOLDER_MARK}={folder}".encode()
    try:
        environment = _read(f"/proc/{pid}/environ")
    except OSError:  # gone, or somebody else's
        return False
    return mark in environment and mark in environment.split(b"\0")


def folder_of(pid: int) -> str:
    """Return the run folder whose mark a process carries; empty for somebody else's."""
    try:
        environment = _read(f"/proc/{pid}/environ").split(b"\0")
    except OSError:
        return ""
    mark = f"{FOLDER_MARK}=".encode()
    found = (each[len(mark) :] for each in environment if each.startswith(mark))
    return next(found, b"").decode(errors="replace")


def _pids() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are all that is needed
        if name.isdigit():
            yield int(name)


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record under a temporary name, sync it, rename it: it is whole or absent."""
    temporary = path.with_suffix(".new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(record, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def search_path(folder: Path) -> str | None:
    """Return what `PYTHONPATH` is for a run with code of its own; None where it has none.

    What another user has put there is not executed.

    Raises:
        FileNotFoundError: that code is gone.
        PermissionError: the note on it is not ours.
    """
    note = folder / CODE_NAME
    try:
        facts = note.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(facts.st_mode) or facts.st_uid not in (0, os.geteuid()):
        raise PermissionError(f"{note} is not yours, and says which code to execute")
    said = json.loads(note.read_text(encoding="utf-8"))
    code = Path(said["folder"])
    if not code.is_dir():  # the lab may have been moved
        code = folder.absolute().parents[1] / ".cxrlab" / "code" / code.name
    if not code.is_dir():
        raise FileNotFoundError(f"the code that the run was queued with is gone: {said['folder']}")
    return os.pathsep.join([str(code), *said["search_path"]])


def overwrite_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record over the one that is there, which takes no room of a full disk.

    Raises:
        OSError: there is none, or its blocks do not hold the new one.
    """
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        file.write(json.dumps(record, indent=1).encode().ljust(size))  # blanks end it
        file.flush()
        os.fsync(file.fileno())


class Silence:
    """How long nothing was written to a run's log or events, by a clock that nobody sets."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / name for name in _HEARD_IN]
        self._seen = self._sizes()
        self._since = time.monotonic()

    def seconds(self) -> float:
        """Return the seconds since one of the files was first seen as it is."""
        now = self._sizes()
        if now != self._seen:
            self._seen, self._since = now, time.monotonic()
        return time.monotonic() - self._since

    def _sizes(self) -> list[int]:
        return [_size(path) for path in self._paths]


class Runner:
    """One attempt of one run, from start to exit record."""

    def __init__(self, folder: Path, attempt: int, command: Sequence[str]) -> None:
        self.folder = folder
        self.attempt = attempt
        self.command = list(command)
        self.trainer: subprocess.Popen[bytes] | None = None
        self.asked = 0
        self.passed_on = 0
        self.marks = marks.Held.taken_over()
        self.record: dict[str, Any] = {
            "attempt": attempt,
            "host": os.uname().nodename,
            "boot_id": boot_id(),
            "command": self.command,
            "runner": {"pid": os.getpid(), "start": process_start(os.getpid())},
            "trainer": None,
            "started": time.time(),
            "ended": None,
            "exit_code": None,
            "signal": None,
            "oom": None,
            "left": [],
            "log_from": _size(folder / LOG_NAME),
        }

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass a wish to stop on to the trainer alone; it decides about its children."""
        self.asked += 1
        self.pass_on()

    def pass_on(self) -> None:
        """Send what was asked for and not yet sent; does nothing before the trainer is there."""
        while self.trainer is not None and self.passed_on < self.asked:
            self.passed_on += 1
            self.trainer.send_signal(signal.SIGTERM)

    def listen(self) -> None:
        """Say what signals mean."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.on_signal)
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # SIG_IGN would be inherited

    def run(self) -> int:
        """Start the command, wait for it, clear up after it, and record how it ended."""
        self.listen()
        record = record_path(self.folder, self.attempt)
        record.parent.mkdir(exist_ok=True)
        beat_path(self.folder, self.attempt).touch()
        write_record(record, self.record)
        self.before_start()
        with (self.folder / LOG_NAME).open("ab", buffering=0) as log:
            try:
                path = search_path(self.folder)
                environment = os.environ if path is None else {**os.environ, "PYTHONPATH": path}
                self.trainer = subprocess.Popen(
                    self.command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    process_group=0,
                    pass_fds=self.marks.numbers,
                )
            except (OSError, ValueError, LookupError) as error:
                log.write(f"cxrlab: {self.command[0]} cannot be started: {error}\n".encode())
                return self.finish(127)
        pid = self.trainer.pid
        self.record["trainer"] = {"pid": pid, "start": process_start(pid)}
        write_record(record, self.record)
        self.pass_on()
        return self.finish(self.wait())

    def before_start(self) -> None:
        """Do what has to be done before the trainer starts; here nothing."""

    def while_it_runs(self) -> None:
        """Do what has to be done at every beat; here nothing."""

    def wait(self) -> int:
        """Return the trainer's exit status (negative: a signal), beating until it is there."""
        assert self.trainer is not None
        memory, silence = oom.Watch(self.trainer.pid), Silence(self.folder)
        handle = os.pidfd_open(self.trainer.pid)
        ended = select.poll()
        ended.register(handle, select.POLLIN)  # `Popen.wait` with a limit looks every 50 ms
        while not ended.poll(BEAT_S * 1000):
            memory.look()
            self.marks.look_after()
            with contextlib.suppress(OSError):  # the trainer goes on, whatever became of disks
                beat(beat_path(self.folder, self.attempt), silence.seconds())
            self.while_it_runs()
        os.close(handle)
        status = self.trainer.wait()
        seen = memory.at_the_end() if status != 0 else None
        self.record["oom"] = seen._asdict() if seen else None
        return status

    def finish(self, status: int) -> int:
        """Kill what the trainer left behind, then write the exit record."""
        self.record["left"] = self.clear_up()
        self.marks.take_away()
        self.record["ended"] = time.time()
        self.record["exit_code"] = status if status >= 0 else None
        self.record["signal"] = -status if status < 0 else None
        deadline = time.monotonic() + _DISK_WAIT_S
        while True:
            try:
                self.keep()
                return status if status >= 0 else 128 - status
            except OSError as error:  # the record is worth waiting for
                if isinstance(error, FileNotFoundError) or time.monotonic() > deadline:
                    raise
                time.sleep(BEAT_S)

    def keep(self) -> None:
        """Write the record, over the earlier one where the disk is full."""
        path = record_path(self.folder, self.attempt)
        try:
            write_record(path, self.record)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            overwrite_record(path, self.record)

    def others(self) -> set[int]:
        """Return what is alive of the run beside the runner, by its session or by its mark."""
        own, session = os.getpid(), str(os.getsid(0))
        found = set()
        for pid in _pids():
            stat = _stat(pid)
            if pid == own or stat is None or stat[0] in ("Z", "X"):
                continue
            if stat[3] == session or _marked(pid, self.folder):
                found.add(pid)
        return found

    def clear_up(self) -> list[int]:
        """Kill every other process of the run; return those that would not go."""
        deadline = time.monotonic() + _KILL_WAIT_S
        while True:
            others = self.others()
            if not others or time.monotonic() > deadline:
                return sorted(others)
            kill_all(others)
            time.sleep(0.05)


def kill_all(pids: set[int] | list[int]) -> None:
    """Send SIGKILL to each; one that has gone meanwhile is no error."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one attempt; returns the trainer's exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) < 4 or arguments[2] != "--" or not arguments[1].isdigit():
        sys.stderr.write("usage: run_attempt.py FOLDER ATTEMPT -- COMMAND...\n")
        return 2
    folder = Path(arguments[0]).resolve()
    if os.getsid(0) != os.getpid():
        if os.getpgid(0) == os.getpid():
            sys.stderr.write("error: the runner must be started in a session of its own\n")
            return 2
        os.setsid()
    os.environ[FOLDER_MARK] = str(folder)
    os.environ[ATTEMPT_MARK] = arguments[1]
    return Runner(folder, int(arguments[1]), arguments[3:]).run()
