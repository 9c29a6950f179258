"""How does a single long job show how far it is: a bar on a terminal, a line at times in a pipe?

Jobs count things, or bytes of one file.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from cxrlab import console, text

TELL_S = 10.0
"""How often a pipe is told."""


@contextmanager
def meter(what: str, noun: str) -> Iterator[Callable[[int, int], None]]:
    """Give a function that is told how many are done, and of how many; shows it on stderr."""
    if console.coloured(sys.stderr):
        with bar(what, noun) as show:
            yield show
        return
    console.say(what)
    began = last = time.monotonic()
    done_at_last = 0
    first: tuple[float, int] | None = None

    def tell(done: int, total: int) -> None:
        nonlocal last, done_at_last, first
        now = time.monotonic()
        done_at_last = done
        first = first or (now, done)  # what was there already took no time
        if now - last > TELL_S:
            last = now
            rate = (done - first[1]) / max(now - first[0], 1e-6)
            left = f", {text.duration((total - done) / rate)} left" if rate else ""
            console.say(f"{done} of {total} {noun}{left}")

    yield tell
    took = text.duration(time.monotonic() - began)
    console.say(f"{done_at_last} {noun} in {took}")


@contextmanager
def busy(what: str) -> Iterator[None]:
    """Say on a terminal what takes some seconds, until it is over; a pipe is told nothing."""
    if not console.coloured(sys.stderr):
        yield
        return
    from rich.console import Console

    with Console(stderr=True).status(f"{what} …"):
        yield


@contextmanager
def bar(what: str, noun: str) -> Iterator[Callable[[int, int], None]]:
    """Give the same on a terminal, as a bar."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TextColumn(noun),
        TimeRemainingColumn(),
    )
    console.say(what)
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        task = progress.add_task("", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


class ByteMeter(NamedTuple):
    """Shows how much of a file has come, and lets something be said meanwhile."""

    show: Callable[[int, int | None], None]
    say: Callable[[str], None]


@contextmanager
def byte_meter(what: str) -> Iterator[ByteMeter]:
    """Give what is told how many bytes have come, and of how many, if that is known."""
    if console.coloured(sys.stderr):
        with byte_bar(what) as shown:
            yield shown
        return
    console.say(what)
    last = time.monotonic()

    def tell(done: int, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last > TELL_S:
            last = time.monotonic()
            share = f", {100 * done // total} %" if total else ""
            console.say(f"{text.size(done)} of {text.size(total)}{share}")

    yield ByteMeter(tell, console.say)


@contextmanager
def byte_bar(what: str) -> Iterator[ByteMeter]:
    """Give the same on a terminal, as a bar."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        BarColumn(bar_width=None),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console.say(what)
    screen = Console(stderr=True, highlight=False)
    with Progress(*columns, console=screen, expand=True) as progress:
        task = progress.add_task("", total=None)

        def show(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield ByteMeter(show, lambda said: screen.print(said, markup=False))
