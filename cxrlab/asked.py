"""What a command line asks for, made of the words of its options; the same in every command.

Imported by commands at their top, so it brings nothing along.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from cxrlab import completion

if TYPE_CHECKING:
    from cxrlab.lab import Lab


class Preset(StrEnum):
    """Named sizes and schedules."""

    paper = "paper"
    quick = "quick"


def split(words: list[str] | None) -> list[str]:
    """Return what was given with commas or by giving the option again, as one list."""
    return [part for word in words or () for part in word.split(",") if part]


def methods_asked(lab: Lab, words: list[str]) -> list[str]:
    """Return the methods that were named; `all` leaves out, aloud, those whose weights it lacks."""
    from cxrlab import console, weights

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
    """Return the whole numbers given to an option.

    Raises:
        Usage: one is none.
    """
    from cxrlab.errors import Usage

    for word in split(words):
        if not word.strip().rstrip("%").isdigit():
            raise Usage(f"`--{option} {word}` is no whole number", f"write `--{option} 1,10`")
    return [int(word.strip().rstrip("%")) for word in split(words)]


def settings(words: list[str]) -> tuple[tuple[str, str], ...]:
    """Return what `--set` was given, as pairs.

    Raises:
        Usage: one has no `=`.
    """
    from cxrlab.errors import Usage

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
    from cxrlab.errors import Usage

    if word is None:
        return None
    if word == "cpu":
        return 0
    if not word.isdigit():
        raise Usage(f"`--gpus {word}` is neither a number nor `cpu`", "write `--gpus 1`")
    return int(word)
