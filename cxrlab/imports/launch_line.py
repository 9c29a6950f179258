"""What does a line that starts a training say: which program, which options, which effective batch?

Read are lines of `python` and `torchrun`, with or without `torch.distributed.launch`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

_LAUNCHERS = ("torch.distributed.launch", "torch.distributed.run", "torchrun")
_BASE_BATCH = 256
"""Images an update that `blr` is given for. Source: He et al., CVPR 2022; the code of MRM."""


class LaunchLine(NamedTuple):
    """One line that starts a training."""

    environment: dict[str, str]
    launcher: dict[str, str]
    """The options of `torchrun`, without dashes; a switch has an empty value."""
    program: str
    options: dict[str, str]
    """The program's own options, likewise; `_` stands for `-`."""

    @property
    def processes(self) -> int:
        """How many processes train together."""
        return _whole(self.launcher, "nproc_per_node", 1) * _whole(self.launcher, "nnodes", 1)

    @property
    def accum_iter(self) -> int:
        """How many micro-batches make an update."""
        return _whole(self.options, "accum_iter", 1)

    @property
    def batch_size(self) -> int | None:
        """Images a micro-batch and process; None where that is not told."""
        return _whole(self.options, "batch_size", 0) or None

    @property
    def effective_batch(self) -> int | None:
        """Images an update: batch_size x accum_iter x processes."""
        return (
            None
            if self.batch_size is None
            else (self.batch_size * self.accum_iter * self.processes)
        )

    @property
    def lr(self) -> float | None:
        """The peak learning rate: `lr`, or `blr` times the effective batch over 256."""
        said = self.options.get("lr") or self.options.get("blr")
        try:
            value = float(said or "")
        except ValueError:
            return None
        if "lr" in self.options:
            return value
        return None if self.effective_batch is None else value * self.effective_batch / _BASE_BATCH

    def told(self) -> str:
        """Return what the line comes to, in words."""
        model = self.options.get("model") or self.options.get("method") or self.program
        if self.effective_batch is None:
            return f"{model}; its batch size is not told"
        product = f"{self.batch_size} x {self.accum_iter} accumulated x {self.processes}"
        noun = "process" if self.processes == 1 else "processes"
        said = f"{model}, effective batch {self.effective_batch} = {product} {noun}"
        return said if self.lr is None else f"{said}, learning rate {self.lr:g}"


def read_launch_lines(text: str) -> list[LaunchLine]:
    """Return the lines of a shell script that start a Python program; others are left out."""
    joined = re.sub(r"\\[ \t]*(?:\n|$)", " ", text)
    return [line for each in joined.split("\n") if (line := _read(each))]


def _read(text: str) -> LaunchLine | None:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:  # a quotation mark that is never closed
        return None
    words = words[1:] if words[:1] == ["$"] else words
    environment = {}
    while words and re.fullmatch(r"[A-Za-z_]\w*=.*", words[0], re.DOTALL):
        name, _, environment[name] = words.pop(0).partition("=")
    if not words:
        return None
    first = PurePosixPath(words.pop(0)).name
    launcher: dict[str, str] = {}
    if re.fullmatch(r"python[\d.]*", first):
        while words[:1] and words[0] in ("-P", "-u", "-m"):
            words.pop(0)
    elif first == "torchrun":
        words.insert(0, first)
    else:
        return None
    if words[:1] and words[0] in _LAUNCHERS:
        launcher, words = _options(words[1:])
    if not words or words[0].startswith("-"):
        return None
    program = words.pop(0)
    options, _ = _options(words, positional=True)
    return LaunchLine(environment, launcher, program, options)


def _options(words: Sequence[str], *, positional: bool = False) -> tuple[dict[str, str], list[str]]:
    """Return the options at the beginning of `words`, and the rest; all of them if `positional`."""
    options: dict[str, str] = {}
    rest = list(words)
    while rest and (rest[0].startswith("-") or positional):
        word = rest.pop(0)
        if not word.startswith("-"):
            continue
        name, equals, value = word.lstrip("-").partition("=")
        following = rest[0] if rest else "-"
        takes = not following.startswith("-") and (positional or name not in _SWITCHES)
        if not equals and takes:
            value = rest.pop(0)
        options[name.replace("-", "_")] = value
    return options, rest


_SWITCHES = ("standalone", "use_env", "use-env", "no_python", "no-python", "module", "m")
"""Options of `torchrun` that take no value."""


def _whole(options: dict[str, str], name: str, default: int) -> int:
    said = options.get(name, "")
    return int(said) if said.isdecimal() else default
