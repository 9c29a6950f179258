"""What do the answers in a form mean? The same in every form that launches."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import NamedTuple

from cxrlab import launch, sweeping, text
from cxrlab import plan as plans
from cxrlab.errors import CxrlabError, Usage
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.launch import Launched, Prepared, Where
from cxrlab.tui import sentences
from store.db import Database

GPUS: dict[str, int | None] = {"auto": None, "cpu": 0, "1": 1, "2": 2, "4": 4, "8": 8}
"""What can be chosen for the GPUs of each run, and what the engine makes of it."""

BACKENDS = ("local", "slurm")
ON_OOM = ("stop", "halve")
SWITCH = ("off", "on")

MOST_SEEDS = 20
MOST_PRIORITY = 1_000_000
MOST_NODES = 10_000
LONGEST_QUOTED = 60


class Manner(NamedTuple):
    """How runs are to be queued, as it stands in the fields of a form."""

    priority: str = ""
    on_oom: str = "stop"
    memory: str = ""
    share: str = "off"
    backend: str = "local"
    nodes: str = ""
    encoder: str = ""
    again: str = "off"

    @classmethod
    def of(cls, lab: Lab) -> Manner:
        """Return what is usual in a lab."""
        launches = lab.settings.launch
        share = SWITCH[lab.settings.gpus.share]
        return cls(on_oom=launches.on_oom, share=share, backend=launches.backend)

    def check(self) -> None:
        """Refuse numbers that are none.

        Raises:
            Usage: one of the fields makes no sense.
        """
        priority_of(self.priority)
        self.gib()
        nodes = self.where().nodes or 1
        if nodes > 1 and self.backend == "local":
            raise Usage("this machine is one node", "the backend `slurm` has more")

    def where(self) -> Where:
        """Return who starts the runs, and on how many nodes.

        Raises:
            Usage: the number of nodes is none.
        """
        typed = self.nodes.strip()
        nodes = text.whole(typed)
        if typed and not 0 < (nodes or 0) <= MOST_NODES:
            raise Usage(f"nodes are {_quoted(typed)}; expected a whole number from 1 on")
        return Where(self.backend, nodes)

    def gib(self) -> float | None:
        """Return how much memory of a GPU each run needs; None where that is to be learnt.

        Raises:
            Usage: it is no number above 0.
        """
        typed = self.memory.strip().lower().removesuffix("gib").strip()
        if not typed:
            return None
        try:
            found = float(typed)
        except ValueError:
            found = 0.0
        if not 0.1 <= found < 10_000:  # also what is not a number
            raise Usage(f"the memory is {_quoted(typed)}; expected GiB of each GPU, such as `22`")
        return found

    def prepared(
        self, lab: Lab, db: Database, plan: plans.Plan, *, gpus: int | None
    ) -> list[Prepared]:
        """Return a plan with what its trainers resolve, and what its runs ask for.

        Raises:
            CxrlabError: data is missing, or a trainer refuses its settings.
        """
        self.check()
        ready = launch.prepare(
            lab, db, plan, gpus=gpus, priority=priority_of(self.priority), where=self.where()
        )
        share = None if self.share == self.of(lab).share else self.share == "on"
        return launch.asking(ready, gpu_gib=self.gib(), share=share)

    def on_oom_of(self, lab: Lab) -> str | None:
        """Return what is done where a GPU has too little memory; None for as the lab says."""
        return None if self.on_oom == lab.settings.launch.on_oom else self.on_oom

    def queued(self, lab: Lab, db: Database, ready: Sequence[Prepared]) -> list[Launched]:
        """Queue what was prepared.

        Raises:
            Usage: it is not to be retried with smaller micro-batches.
            CxrlabError: it cannot be queued.
        """
        on_oom = self.on_oom_of(lab)
        if on_oom is not None:
            launch.check_on_oom(on_oom, ready)
        launched = launch.queue(lab, db, ready)
        if on_oom is not None:
            launch.note_on_oom(db, on_oom, launched)
        return launched


def ratios_of(typed: str) -> tuple[int, ...]:
    """Return the shares of the labels of `10` or `1, 10, 100`; nothing typed is all of the task.

    Raises:
        Usage: one is no whole number.
    """
    parts = [part.strip().removesuffix("%").strip() for part in typed.split(",")]
    if not any(parts) or parts == ["all"]:
        return ()
    found = [share for part in parts if (share := text.whole(part)) is not None]
    if len(found) < len(parts):
        raise Usage(f"labels are {_quoted(typed)}; expected percents like `10` or `1,10,100`")
    return tuple(dict.fromkeys(found))


def seeds_of(typed: str) -> tuple[int, ...]:
    """Return the seeds of `0`, `0,1,2` or `0-4`; `0..4` is the same as `0-4`.

    Raises:
        Usage: it is none of these.
    """
    found: list[int] = []
    for part in typed.replace("..", "-").replace(" ", ",").split(","):
        if not part:
            continue
        first, dash, last = part.partition("-")
        begin, end = text.whole(first), text.whole(last if dash else first)
        if begin is None or end is None:
            raise Usage(f"seeds are {_quoted(typed)}; expected a form like `0`, `0,1,2` or `0-4`")
        if end - begin >= MOST_SEEDS:
            raise Usage(f"at most {MOST_SEEDS} seeds can be launched at once")
        found += range(begin, end + 1)
    if not 0 < len(set(found)) <= MOST_SEEDS:
        raise Usage(f"name one to {MOST_SEEDS} seeds, such as `0` or `0,1,2`")
    return tuple(dict.fromkeys(found))


def settings_of(typed: str) -> list[sweeping.Settings]:
    """Return the settings of `blr=1e-4,3e-4 pretrain.epochs=20`, each combination for itself.

    As `--set` takes them: several values of one are a run for each.

    Raises:
        Usage: one of the words is no setting, or a quotation mark is open.
    """
    try:
        words = shlex.split(typed)
    except ValueError:
        raise Usage(f"settings are {_quoted(typed)}; a quotation mark is open") from None
    for word in words:
        if not word.partition("=")[1]:
            raise Usage(
                f"{_quoted(word)} sets nothing", "write `KEY=VALUE`, with blanks between them"
            )
    return sweeping.combinations(words, [])


def priority_of(typed: str) -> int:
    """Return a priority; nothing typed is 0.

    Raises:
        Usage: it is no whole number, or a very large one.
    """
    word = typed.strip() or "0"
    size = text.whole(word.removeprefix("-"))
    if size is None or size > MOST_PRIORITY:
        raise Usage(
            f"the priority is {_quoted(word)}; expected a whole number, higher ones start first"
        )
    return -size if word.startswith("-") else size


def _quoted(typed: str) -> str:
    """Return what was typed, as far as a form has room to say it again."""
    return f"`{harmless(typed.strip(), LONGEST_QUOTED)}`"


def in_full(error: CxrlabError) -> str:
    """Return what is wrong and what to do, a line each."""
    lines = [error.message, error.hint] if error.hint else [error.message]
    return "\n".join(map(sentences.said, lines))
