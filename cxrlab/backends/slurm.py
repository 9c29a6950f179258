"""How are jobs handed in to Slurm, looked at and ended?

Slurm may be slow, or away: every one of its commands is given a time limit, and what it says is
kept apart from what is known of a run by its folder. submitit reads the lists of sacct.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab.backends import calls
from cxrlab.errors import CxrlabError

COMMAND_S = 10.0
"""How long one of Slurm's commands may take while somebody waits for it."""

FORMAT = "%i|%T|%r|%N|%j"
"""What squeue prints of a job: number, state, reason, nodes, name."""


OVER = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "BOOT_FAIL", "PREEMPTED",
        "DEADLINE", "OUT_OF_MEMORY", "REVOKED")  # fmt: skip


class Seen(NamedTuple):
    """What Slurm says of one job."""

    state: str
    reason: str = ""
    nodes: str = ""
    name: str = ""

    @property
    def over(self) -> bool:
        """Whether it will not run any more, by itself."""
        return self.state in OVER


def sbatch(script: Path) -> list[str]:
    """Return the line that hands in a script."""
    return ["sbatch", "--parsable", str(script)]


def number_of(answer: str) -> str:
    """Return the job's number in what `sbatch --parsable` printed; empty where there is none."""
    found = re.search(r"^(\d+)(;.*)?$", answer.strip(), re.MULTILINE)
    return found[1] if found else ""


def squeue() -> list[str]:
    """Return the line that asks for every job of this user, those that ended lately among them."""
    mine = f"--user={os.getuid()}"
    return ["squeue", mine, "--states=all", "--array", "--noheader", f"--format={FORMAT}"]


def read_squeue(answer: str) -> dict[str, Seen]:
    """Return what squeue printed, by the jobs' numbers: `12`, or `12_3` in an array."""
    found = {}
    for line in answer.splitlines():
        parts = line.split("|", 4)
        if len(parts) == 5:
            number, state, reason, nodes, name = (part.strip() for part in parts)
            reason = "" if reason in ("None", "(null)") else reason
            found[number] = Seen(state, reason, nodes, name)
    return found


def sacct(numbers: Sequence[str]) -> list[str]:
    """Return the line that asks the accounts for jobs that squeue has forgotten."""
    mains = dict.fromkeys(number.split("_")[0] for number in numbers)
    fields = "JobID,State,NodeList,JobName"
    return [
        "sacct",
        "--allocations",
        "--parsable2",
        f"--format={fields}",
        f"--jobs={','.join(mains)}",
    ]


def read_sacct(answer: str) -> dict[str, Seen]:
    """Return what sacct printed, by the jobs' numbers."""
    from submitit.slurm.slurm import SlurmInfoWatcher

    rows: Mapping[str, Mapping[str, str]] = SlurmInfoWatcher().read_info(answer)
    return {
        number: Seen(
            # `CANCELLED by 1000`
            (row.get("State", "").split() or [""])[0],
            "",
            row.get("NodeList", ""),
            row.get("JobName", ""),
        )
        for number, row in rows.items()
    }


def cancel(number: str) -> None:
    """End a job, whether it waits or runs; one that is over is no error.

    Raises:
        CxrlabError: Slurm does not answer, or refuses.
    """
    _tell(scancel(number))


def scancel(number: str) -> list[str]:
    """Return the line that ends a job."""
    return ["scancel", number]


def is_over(error: str) -> bool:
    """Return whether scancel complained of no more than that a job is over."""
    return "already completing or completed" in error or "Invalid job id" in error


def send(number: str, signal: str) -> None:
    """Send a signal to the job's script alone.

    Raises:
        CxrlabError: Slurm does not answer, or refuses.
    """
    _tell(["scancel", "--batch", f"--signal={signal}", number])


def said(stderr: str) -> str:
    """Return the last thing that one of Slurm's commands complained of, without its name."""
    lines = [line for line in stderr.strip().splitlines() if line.strip()]
    return re.sub(r"^\w+: (error|fatal): ", "", lines[-1]) if lines else ""


def _tell(command: Sequence[str]) -> None:
    answer = calls.ask(command, limit_s=COMMAND_S)
    if not answer.good and not is_over(answer.error):
        problem = said(answer.error) or f"{command[0]} failed"
        raise CxrlabError(f"Slurm: {problem}", "`cxrlab runs` shows whether it answers again")
