"""What does a job of a cluster do with a run? It is the runner of its next attempt, on a node.

    python -P -m cxrlab.backends.job FOLDER TOKEN

What to start stands in the run folder's `slurm.json`. SIGUSR1 is Slurm's word that the time limit
is near: the trainer saves and ends, and the job starts again from there. SIGUSR2 is the wish that
the run stops. SIGTERM comes from Slurm to every process of the job, so it is not passed on: a
second one would end the trainer before it has saved.

Slurm starts a job again where it has given up a node, and the node may live on. So an attempt waits
until the one before it has ended or its heart stands still, and ends when a later one is there.
Standard library only; the registry is left alone.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from cxrlab import runner, use

HANDED_IN = "slurm.json"
"""In a run folder: what was handed in, and the numbers that Slurm gave it."""

STOP_SIGNAL = "USR2"
LAST_CHECKPOINT = Path("checkpoints/last.pt")

RESTARTABLE = "--restartable"
"""In the command of a program of one's own, before `--`: it goes on when it is started again."""

STILL_S = 10.0
"""How long the heart of an earlier attempt must stand still until it counts as dead."""

_REQUEUE_LIMIT_S = 60.0
_TAIL_BYTES = 65536


def main(argv: Sequence[str] | None = None) -> int:
    """Run the next attempt of what was handed in; returns the trainer's exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 2:
        sys.stderr.write("usage: python -P -m cxrlab.backends.job FOLDER TOKEN\n")
        return 2
    folder = Path(arguments[0]).resolve()
    order = read_order(folder)
    if order.get("token") != arguments[1]:
        sys.stderr.write(f"cxrlab: job {os.environ.get('SLURM_JOB_ID')} is wanted no longer\n")
        return 0
    restarts = int(os.environ.get("SLURM_RESTART_COUNT", "0"))
    attempt = int(order["attempt"]) + restarts
    os.environ |= {
        runner.FOLDER_MARK: str(folder),
        runner.ATTEMPT_MARK: str(attempt),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
    }
    return JobRunner(folder, attempt, order, restarts=restarts).run()


def attempt_command(order: Mapping[str, Any], folder: Path) -> list[str]:
    """Return what an attempt executes on the job's first node."""
    command = resuming(order["command"], folder)
    if order["nodes"] > 1:
        return [
            sys.executable,
            "-P",
            "-m",
            "cxrlab.backends.nodes",
            str(order["nodes"]),
            "--",
            *command,
        ]
    return command


def resuming(command: Sequence[str], folder: Path) -> list[str]:
    """Return the command of an attempt that goes on from a checkpoint where there is one.

    A program of one's own, behind `--`, is started as it was; only it knows what it can go on from.
    """
    last = folder / LAST_CHECKPOINT
    if "--" in command or not last.is_file():
        return list(command)
    return [*command, "--resume", str(last)]


def starts_again(command: Sequence[str]) -> bool:
    """Return whether a run may be started again without a person.

    A trainer goes on from its checkpoint. A program of one's own may begin anew, over what it has
    written, and so is started again only where it was said to go on.
    """
    words = list(command)
    return "--" not in words or RESTARTABLE in words[: words.index("--")]


class JobRunner(runner.Runner):
    """One attempt as a job: it also starts the job again when the time limit is near."""

    def __init__(
        self, folder: Path, attempt: int, order: Mapping[str, Any], *, restarts: int
    ) -> None:
        super().__init__(folder, attempt, attempt_command(order, folder))
        self.order = order
        self.left = int(order["max_requeues"]) - restarts
        self.short_of_time = False
        self.wanted_to_stop = False
        self.record["slurm"] = {
            "job": os.environ.get("SLURM_JOB_ID", ""),
            "nodes": os.environ.get("SLURM_JOB_NODELIST", ""),
            "restarts": restarts,
        }

    def listen(self) -> None:
        """Say what the signals of a job mean."""
        signal.signal(signal.SIGUSR1, self.on_time_limit)
        signal.signal(signal.SIGUSR2, self.on_wish)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        signal.signal(signal.SIGHUP, lambda number, frame: None)  # SIG_IGN would be inherited

    def on_time_limit(self, number: int, frame: FrameType | None) -> None:
        """Have the trainer save and end; once, however often Slurm says so."""
        if not self.short_of_time and not self.wanted_to_stop:
            self.short_of_time = True
            self.on_signal(number, frame)

    def on_wish(self, number: int, frame: FrameType | None) -> None:
        """Stop for good; where it is saving already because of the time limit, that will do."""
        if not (self.short_of_time and not self.wanted_to_stop):
            self.on_signal(number, frame)
        self.wanted_to_stop = True

    def before_start(self) -> None:
        """Let the attempt before this one end, and go on from what it has saved."""
        earlier, seen, since, told = self.attempt - 1, 0.0, time.monotonic(), False
        while (beat := last_beat(self.folder, earlier)) is not None:
            if beat != seen:
                seen, since = beat, time.monotonic()
            elif time.monotonic() - since > STILL_S:
                break
            if not told:
                told = True
                sys.stderr.write(f"cxrlab: waits until attempt {earlier} is over\n")
            runner.beat(runner.beat_path(self.folder, self.attempt), 0.0)
            time.sleep(runner.BEAT_S / 2)
        self.command = attempt_command(self.order, self.folder)
        self.record["command"] = self.command

    def while_it_runs(self) -> None:
        """End at once where Slurm has started the job on another node."""
        if runner.record_path(self.folder, self.attempt + 1).name in names_in(self.folder):
            sys.stderr.write(f"cxrlab: attempt {self.attempt + 1} has begun; this one ends\n")
            runner.kill_all(self.others())

    def wait(self) -> int:
        """Wait as every runner does, and have watched what the run uses of this node."""
        assert self.trainer is not None
        # what `srun` starts for several nodes is below others than the trainer
        pid = 0 if "cxrlab.backends.nodes" in self.command else self.trainer.pid
        with use.watched(self.folder, self.attempt, pid):
            return super().wait()

    def others(self) -> set[int]:
        """Return what is alive of the run on this node; its session is Slurm's, which lives on."""
        return {*runner.processes_of(self.folder)} - {os.getpid()}

    def finish(self, status: int) -> int:
        """Record the end; where only the time was short, have Slurm start the job again."""
        self.record["short_of_time"] = self.short_of_time and not self.wanted_to_stop
        self.record["starts_again"] = starts_again(self.order["command"])
        self.record["requeue"] = (
            self.record["short_of_time"] and self.left > 0 and self.unfinished()
        )
        status = super().finish(status)
        if self.record["requeue"]:
            refusal = requeue(os.environ["SLURM_JOB_ID"])
            if refusal:
                self.record |= {"requeue": False, "requeue_refused": refusal}
                path = runner.record_path(self.folder, self.attempt)
                runner.write_record(path, self.record)
        return status

    def unfinished(self) -> bool:
        """Return whether there is something to go on from, and the trainer wants to."""
        said = last_end(self.folder, self.attempt)
        if said not in ("", "stopped"):
            return False
        command = self.order["command"]
        return (
            starts_again(command) if "--" in command else (self.folder / LAST_CHECKPOINT).is_file()
        )


def requeue(job: str) -> str:
    """Have Slurm put this job back into its queue; returns why it will not, empty where it may.

    Slurm then sends SIGTERM to every process of the job, which scontrol must outlive to say how it
    went. What is silent has refused nothing: the registry asks Slurm what became of the job.
    """
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which scontrol inherits
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job],
            capture_output=True,
            text=True,
            timeout=_REQUEUE_LIMIT_S,
            check=False,
        )
    except OSError as error:
        return f"scontrol requeue: {error}"
    except subprocess.TimeoutExpired:
        return ""
    if done.returncode <= 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"scontrol requeue: exit status {done.returncode}"


def last_beat(folder: Path, attempt: int) -> float | None:
    """Return when the runner of an attempt beat last; None where it has ended, or never was.

    The file is opened, for only then is another node's clock asked for and not remembered.
    """
    try:
        record = json.loads(runner.record_path(folder, attempt).read_text(encoding="utf-8"))
        if record.get("ended") is not None:
            return None
        with runner.beat_path(folder, attempt).open("rb") as file:
            return os.fstat(file.fileno()).st_mtime
    except (OSError, ValueError):
        return None


def names_in(folder: Path) -> list[str]:
    """Return what lies beside the records of attempts, as the file server has it now."""
    try:
        return os.listdir(folder / "attempts")  # noqa: PTH208 - names are all that is needed
    except OSError:
        return []


def last_end(folder: Path, attempt: int) -> str:
    """Return the outcome that the trainer of an attempt has told of itself; empty where none."""
    outcome = ""
    for event in tail(folder / "events.jsonl"):
        if event.get("kind") == "start":
            outcome = ""
        elif event.get("kind") == "end" and event.get("attempt", attempt) == attempt:
            outcome = str(event.get("outcome", ""))
    return outcome


def tail(path: Path) -> list[dict[str, Any]]:
    """Return the last events of a file; what is torn is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return []
    events = []
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


def read_order(folder: Path) -> dict[str, Any]:
    """Return what was handed in of a run; empty where nothing was."""
    try:
        order = json.loads((folder / HANDED_IN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return order if isinstance(order, dict) else {}


def write_order(folder: Path, order: dict[str, Any]) -> None:
    """Write what is handed in, whole or not at all."""
    path = folder / HANDED_IN
    temporary = path.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}")
    temporary.write_text(json.dumps(order, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)


if __name__ == "__main__":
    sys.exit(main())
