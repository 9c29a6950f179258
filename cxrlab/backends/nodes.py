"""How does one run use several nodes? One `torchrun` on each, which meet by c10d on the first.

    python -P -m cxrlab.backends.nodes N -- COMMAND...

The command is that of a single node, with `--standalone`. Here, on the job's first node, it is
started directly, and on the others through srun. A wish to stop is passed to the first alone: the
trainer's processes agree on it among themselves, and srun would kill its tasks at once. Standard
library only.
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
from types import FrameType

STANDALONE = "--standalone"

_LOOK_S = 0.2
_GRACE_S = 60.0
"""How long the rest may go on once one part has ended."""


def meeting(command: Sequence[str], *, nodes: int, endpoint: str, name: str) -> list[str]:
    """Return the command with a rendezvous of several nodes in place of `--standalone`."""
    options = [
        f"--nnodes={nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={endpoint}",
        f"--rdzv-id={name}",
    ]
    at = list(command).index(STANDALONE)
    return [*command[:at], *options, *command[at + 1 :]]


def elsewhere(command: Sequence[str], *, nodes: int) -> list[str]:
    """Return the line that starts a command on every node of the job but the first."""
    each = os.environ.get("SLURM_CPUS_PER_TASK")  # which srun does not take from its job
    options = [f"--nodes={nodes - 1}", f"--ntasks={nodes - 1}", "--ntasks-per-node=1"]
    options += [f"--cpus-per-task={each}"] if each else []
    return ["srun", *options, "--relative=1", "--unbuffered", "--kill-on-bad-exit=1", *command]


def free_port() -> int:
    """Return a port of this node that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("", 0))
        return int(listener.getsockname()[1])


class Nodes:
    """The parts of one run, from start to end."""

    def __init__(self, command: Sequence[str], *, nodes: int) -> None:
        name = f"{os.environ.get('SLURM_JOB_ID', '0')}.{os.environ.get('CXRLAB_ATTEMPT', '0')}"
        endpoint = f"{socket.gethostname()}:{free_port()}"
        self.command = meeting(command, nodes=nodes, endpoint=endpoint, name=name)
        self.nodes = nodes
        self.here: subprocess.Popen[bytes] | None = None
        self.others: subprocess.Popen[bytes] | None = None
        self.asked = 0

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Pass a wish to stop on to the first node's part."""
        self.asked += 1
        self.pass_on()

    def pass_on(self) -> None:
        """Send what was asked for and not yet sent."""
        while self.here is not None and self.asked:
            self.asked -= 1
            self.here.send_signal(signal.SIGTERM)

    def run(self) -> int:
        """Start every part, wait for all, and return how the first node's ended."""
        signal.signal(signal.SIGTERM, self.on_signal)
        self.others = subprocess.Popen(elsewhere(self.command, nodes=self.nodes))
        self.here = subprocess.Popen(self.command)
        self.pass_on()
        parts = (self.here, self.others)
        while all(part.poll() is None for part in parts):
            time.sleep(_LOOK_S)
        deadline = time.monotonic() + _GRACE_S
        for part in parts:
            finish(part, deadline)
        return self.here.returncode or self.others.returncode


def finish(part: subprocess.Popen[bytes], deadline: float) -> None:
    """Wait for a part; end it, then kill it, where it goes on without the others."""
    for act in (part.terminate, part.kill, None):
        with contextlib.suppress(subprocess.TimeoutExpired):
            part.wait(max(0.0, deadline - time.monotonic()))
            return
        if act:
            act()
            deadline = time.monotonic() + 10.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command on every node of this job; returns the first node's exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) < 3 or not arguments[0].isdigit() or arguments[1] != "--":
        sys.stderr.write("usage: python -P -m cxrlab.backends.nodes N -- COMMAND...\n")
        return 2
    status = Nodes(arguments[2:], nodes=int(arguments[0])).run()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
