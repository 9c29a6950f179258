"""What is a run called beside others of its cell? The settings by which it differs from its preset.

They are read from its command, so that a run is called the same by whoever made it, and a lab that
was rebuilt from its folders has lost no name.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from typing import Protocol

from cxrlab import text

LAST_OF_THE_LAB = "--threads"
"""The last option that the lab itself gives; what follows it was set by a person."""

LONGEST = 48
"""Letters of a name where it stands in a line with other things."""


def told_by_hand(command: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the settings of a run's command that a person gave; none for other programs."""
    if LAST_OF_THE_LAB not in command or "--" in command:
        return ()
    return tuple(_setting(word) for word in command[command.index(LAST_OF_THE_LAB) + 2 :])


def name(command: Sequence[str], *, longest: int | None = None) -> str:
    """Return what the run of a command is called: `blr=1e-4 batch_size=32`; empty for its preset.

    Args:
        command: of the run.
        longest: how many letters to give at most; any number where None.
    """
    told = [f"{key}={value}" for key, value in told_by_hand(command)]
    said = " ".join([*_start(command), *told])
    if longest is not None and len(said) > longest:
        return said[: longest - 1] + "…"
    return said


class Named(Protocol):
    """Anything that says which cell and seed it is a run of."""

    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def task(self) -> str: ...  # noqa: D102
    @property
    def ratio(self) -> int | None: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102


def what(run: Named) -> str:
    """Return what a run is, in words: `deep_mrm siim 10 % seed 0 blr=1e-4`."""
    told = name(getattr(run, "command", ()), longest=LONGEST)
    parts = [run.method, run.task, text.percent(run.ratio), f"seed {run.seed}", told]
    return " ".join(part for part in parts if part)


def _start(command: Sequence[str]) -> list[str]:
    """Return the epoch whose encoder a run starts from, where that was kept on the way."""
    if LAST_OF_THE_LAB not in command or "--pretrained" not in command or "--" in command:
        return []
    path = PurePath(command[command.index("--pretrained") + 1])
    return [path.stem] if path.match("checkpoints/epoch_*.pt") else []


def _setting(word: str) -> tuple[str, str]:
    key, equals, value = word.removeprefix("--").partition("=")
    if equals:
        return key, value
    return (key.removeprefix("no_"), "false") if key.startswith("no_") else (key, "true")
