"""What can be a tag, and what does a person mean by `+baseline -draft`?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from cxrlab.errors import Usage

_TAG = re.compile(r'[^\s,"+:#=<>!-][^\s,"]{0,63}')


class Change(NamedTuple):
    """What is said of runs: which, what to give them, and what to take away."""

    rest: tuple[str, ...]
    """Words without a sign: the names of runs, or tags to be given."""
    add: tuple[str, ...]
    drop: tuple[str, ...]


def read(words: Sequence[str]) -> Change:
    """Return words with a sign as tags, and the others apart.

    Raises:
        Usage: what stands behind a sign is no tag.
    """
    return Change(
        tuple(word for word in words if word[:1] not in ("+", "-")),
        tuple(checked(word[1:]) for word in words if word.startswith("+")),
        tuple(checked(word[1:]) for word in words if word.startswith("-")),
    )


def typed(line: str) -> Change:
    """Return what a line of tags says; a word without a sign is a tag to give.

    Raises:
        Usage: one of them is no tag.
    """
    words = [word if word[:1] in ("+", "-") else f"+{word}" for word in line.split()]
    return read(words)


def checked(tag: str) -> str:
    """Return a tag.

    Raises:
        Usage: it is empty, has blanks, commas or quotes in it, or could not be told from a sign.
    """
    if not _TAG.fullmatch(tag) or not tag.isprintable():
        raise Usage(
            f"`{tag[:80]}` is no tag" if tag else "a sign alone is no tag",
            "a word of up to 64 letters, such as `baseline` or `v2`",
        )
    return tag
