"""What a command line asks for, made of the words of its options; the same in every command.

Imported by commands at their top, so it brings nothing along but Typer.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from cxrlab import completion, text
from cxrlab.errors import Usage, unknown_name

if TYPE_CHECKING:
    from cxrlab.lab import Lab


MOST_AT_ONCE = 1000
"""Seeds of a range and combinations of a sweep; more are a slip of the hand."""


class Preset(StrEnum):
    """Named sizes and schedules."""

    paper = "paper"
    quick = "quick"


class Backend(StrEnum):
    """Who starts runs."""

    local = "local"
    slurm = "slurm"


class Asked(NamedTuple):
    """Which part of the grid is to be filled; empty means all that the grid shows."""

    methods: Sequence[str] = ()
    tasks: Sequence[str] = ()
    ratios: Sequence[int] = ()
    seeds: Sequence[int] = (0,)
    preset: str = "paper"
    gpus: int | None = None
    """GPUs of each run; 0 for the CPU, None for one where the lab has any."""
    like: str = ""
    """The method whose times are taken for those of methods without any."""
    backend: str = ""
    """Who starts new runs; empty for as the lab says."""


RowNames = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[METHOD...]",
        help="Only these rows; `all` for every method, variants apart. [default: the grid's]",
        autocompletion=completion.methods,
        show_default=False,
    ),
]
TaskNames = Annotated[
    list[str] | None,
    typer.Option(
        "--task",
        metavar="T,...",
        help="Only these columns; `pretrain` for pre-training. [default: the grid's]",
        autocompletion=completion.tasks,
    ),
]
RatioNames = Annotated[
    list[str] | None,
    typer.Option("--ratio", metavar="R,...", help="Only these percents of the labels."),
]
SeedNames = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="S,...", help="Seeds that each cell is to have. [default: 0]"),
]
PresetName = Annotated[
    Preset | None, typer.Option("--preset", help="Sizes and schedule. [default: the lab's]")
]
GpuCount = Annotated[
    str | None,
    typer.Option(
        "--gpus", metavar="N|cpu", help="GPUs of each new run. [default: one where there is one]"
    ),
]
GpuMemory = Annotated[
    float | None,
    typer.Option(
        "--gpu-memory",
        metavar="GIB",
        min=0.1,
        help="Memory of each GPU that a run needs. [default: what earlier ones like it took]",
    ),
]
ShareGpu = Annotated[
    bool | None,
    typer.Option(
        "--share/--no-share",
        help="Let other runs of the lab use its GPUs too, as far as memory allows. "
        "[default: the lab's]",
        show_default=False,
    ),
]


class OnOomWord(StrEnum):
    """What is done where a GPU has too little memory."""

    stop = "stop"
    halve = "halve"


OnOom = Annotated[
    OnOomWord | None,
    typer.Option(
        "--on-oom",
        help="Where a GPU has too little memory: stop, or halve what a micro-batch holds and make "
        "the same updates of twice as many. [default: the lab's]",
    ),
]
BackendName = Annotated[
    Backend | None,
    typer.Option(
        "--backend",
        help="Who starts the runs: this machine, or the cluster of `[slurm]`. [default: the lab's]",
    ),
]
NodeCount = Annotated[
    int | None,
    typer.Option("--nodes", metavar="N", min=1, help="Nodes of each run, of a cluster."),
]
Priority = Annotated[
    int, typer.Option("--priority", metavar="N", help="Runs of a higher one start first.")
]
LikeMethod = Annotated[
    str | None,
    typer.Option(
        "--like",
        metavar="METHOD",
        help="Take this method's times for methods that have none of their own.",
        autocompletion=completion.methods,
    ),
]


def part_of_grid(
    lab: Lab,
    methods: list[str] | None,
    *,
    task: list[str] | None,
    ratio: list[str] | None,
    seed: list[str] | None,
    preset: Preset | None,
    gpus: str | None,
    like: str | None,
    backend: Backend | None = None,
) -> Asked:
    """Return which part of the grid is to be filled, and how.

    Raises:
        Usage: a number is none.
        NotFound: the method whose times are to be taken is not called so.
    """
    from trainers import catalog

    if like and like not in catalog.METHODS:
        raise unknown_name("method", like, catalog.METHODS)
    return Asked(
        methods=methods_asked(lab, split(methods)),
        tasks=every(split(task), completion.task_names()),
        ratios=numbers("ratio", ratio),
        seeds=list(dict.fromkeys(numbers("seed", seed))) or [0],
        preset=preset.value if preset else lab.settings.launch.preset,
        gpus=gpus_asked(gpus),
        like=like or "",
        backend=backend.value if backend else "",
    )


def split(words: list[str] | None) -> list[str]:
    """Return what was given with commas or by giving the option again, as one list."""
    return [part for word in words or () for part in word.split(",") if part]


def methods_asked(lab: Lab, words: list[str]) -> list[str]:
    """Return the methods that were named; `all` leaves out, aloud, those whose weights it lacks."""
    from cxrlab import console
    from cxrlab.assets import weights

    if "all" not in words:
        return words
    lacking = weights.lacking(lab, completion.method_names())
    if lacking:
        console.say(weights.left_out(lacking))
    return [name for name in completion.method_names() if name not in lacking]


def every(words: list[str], names: list[str]) -> list[str]:
    """Return `words`, with `all` as every name."""
    return names if "all" in words else words


def numbers(option: str, words: list[str] | None) -> list[int]:
    """Return the whole numbers given to an option; `0..4` is every one from 0 to 4.

    Raises:
        Usage: one is none, or a range is endless.
    """
    found: list[int] = []
    for word in split(words):
        first, dots, last = word.strip().rstrip("%").partition("..")
        begin, end = text.whole(first), text.whole(last if dots else first)
        if begin is None or end is None:
            raise Usage(
                f"`--{option} {word}` is no whole number",
                f"write `--{option} {'0..4' if option == 'seed' else '1,10'}`",
            )
        if not 0 <= end - begin < MOST_AT_ONCE:
            raise Usage(f"`--{option} {word}` goes nowhere, or too far", "write `0..4`")
        found += range(begin, end + 1)
    return found


def settings(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Return what `--set` was given, as pairs.

    Raises:
        Usage: one has no `=`.
    """
    pairs = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise Usage(f"`--set {word}` sets nothing", "write `--set KEY=VALUE`")
        pairs.append((key.strip(), value))
    return tuple(pairs)


def gpus_asked(word: str | None) -> int | None:
    """Return how many GPUs each run takes: 0 for the CPU, None where nothing was said.

    Raises:
        Usage: neither a number nor `cpu`.
    """
    if word is None:
        return None
    if word == "cpu":
        return 0
    count = text.whole(word)
    if count is None:
        raise Usage(f"`--gpus {word}` is neither a number nor `cpu`", "write `--gpus 1`")
    return count
