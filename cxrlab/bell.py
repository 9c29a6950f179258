"""How does a terminal tell somebody who looks elsewhere that a run has ended? Bell and title.

Nothing is written where there is no terminal, or `[notify] bell = false` says so. The title that
was there comes back at the end, by the terminal's own memory of it (xterm's window operations 22
and 23); terminals without that memory leave it to the shell, which sets it at every prompt.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

from cxrlab import text
from cxrlab.harmless import harmless

RING = "\a"
KEEP_TITLE, TITLE_BACK = "\x1b[22;2t", "\x1b[23;2t"
LONGEST = 80
"""Characters of a title."""

WITHOUT = ("", "dumb", "linux")
"""Values of TERM of terminals that have no title."""


def titled(words: str) -> str:
    """Return what sets the title; nothing in it can act on the terminal."""
    return f"\x1b]2;{harmless(words, LONGEST)}\x1b\\"


class Bell:
    """Rings when runs that were looked at have ended since, and names them in the title."""

    def __init__(self, stream: TextIO | None, *, ended: Collection[str]) -> None:
        self._stream = stream
        self._ended = ended
        self._seen: dict[str, str] = {}
        self._said = ""

    def look(self, states: Mapping[str, str], names: Mapping[str, str]) -> list[str]:
        """Tell of the runs that have ended since the last look, and return their ids.

        Args:
            states: of each run, by its id.
            names: what each run is, in words.
        """
        new = [
            id
            for id, state in states.items()
            if state in self._ended and self._seen.get(id, state) not in self._ended
        ]
        self._seen |= states
        if new:
            self._write(RING + titled(", ".join(f"{states[id]}: {names[id]}" for id in new)))
        elif not any(state in self._ended for state in self._seen.values()):
            self._write(titled(f"cxrlab: {text.plural(len(states), 'run')} under way"))
        return new

    def _write(self, words: str) -> None:
        if self._stream is not None and words != self._said:
            self._said = words
            self._stream.write(words)
            self._stream.flush()


@contextmanager
def bell(*, wanted: bool, ended: Collection[str], stream: TextIO | None = None) -> Iterator[Bell]:
    """Give a bell for the terminal that talk goes to, and put its title back afterwards.

    Args:
        wanted: what the lab's settings say.
        ended: the states in which a run has ended.
        stream: where talk goes; standard error where it is None.
    """
    stream = sys.stderr if stream is None else stream
    with title_kept(stream, wanted=wanted) as there:
        yield Bell(stream if there else None, ended=ended)


@contextmanager
def title_kept(stream: TextIO, *, wanted: bool) -> Iterator[bool]:
    """Have the terminal keep its title, and put it back; gives whether there is one to change."""
    if not (wanted and stream.isatty() and os.environ.get("TERM", "") not in WITHOUT):
        yield False
        return
    stream.write(KEEP_TITLE)
    stream.flush()
    try:
        yield True
    finally:
        stream.write(TITLE_BACK)
        stream.flush()
