"""`cxrlab logs`: print and follow what a run says."""

from __future__ import annotations

import codecs
import math
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from cxrlab.access import AsJson, RunName, opened
from cxrlab.harmless import kept_colours
from cxrlab.naming import what
from store import within

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database

BLOCK = 65536
"""How much is read at once (bytes)."""

LOOK_S = 0.2
"""How often a followed file is looked at."""

LONGEST_COLOUR = 20
"""Characters that a colour sequence has at most."""

ASK_S = 1.0
"""How often the registry is asked whether a followed run has ended."""


def logs(
    ctx: typer.Context,
    run: RunName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on printing until the run ends.")
    ] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=0, help="How many lines to begin with; 0 for all.")
    ] = 100,
    as_json: AsJson = False,
) -> None:
    """Print the end of a run's log; -f follows it until the run ends.

    Only the end of the file is read, however long it is.
    """
    from cxrlab import console
    from cxrlab.bell import bell
    from cxrlab.errors import Usage
    from cxrlab.exports import facts
    from store import runs

    if as_json and follow:
        raise Usage("--json and --follow do not go together", "leave one of them out")
    with opened(ctx) as (lab, db):
        found = runs.find(db, run)
        path = lab.root / found.folder / "log.txt"
        if as_json:
            said = b"".join(tail(path, lines)).decode("utf-8", "replace") if path.exists() else ""
            document = {"path": str(path), "lines": said.splitlines()}
            console.facts(facts.of_run(found) | document)
            return
        write = writer()
        if follow:
            wanted = lab.settings.notify.bell
            with bell(wanted=wanted, ended=runs.ENDED) as ring:

                def over() -> bool:
                    state = state_now(lab, db, found.id)
                    ring.look({found.id: state}, {found.id: what(found)})
                    return state in runs.ENDED

                for chunk in followed(path, lines, over=over):
                    write(chunk)
            console.say(f"{found.id} {runs.get(db, found.id).state}")
        elif not path.exists():
            console.say(f"{found.id} has no log yet: it is {found.state}")
        else:
            for chunk in tail(path, lines):
                write(chunk)


def state_now(lab: Lab, db: Database, run_id: str) -> str:
    """Return the state of a run; brings the registry up to date to know."""
    from cxrlab import ownership
    from cxrlab.refresh import refresh
    from store import runs

    if not ownership.owner(lab):
        refresh(lab, db)
        return runs.get(db, run_id).state
    now = ownership.open_registry(lab)  # as its owner has it by now
    try:
        return runs.get(now, run_id).state
    finally:
        now.conn.close()


def followed(path: Path, lines: int, *, over: Callable[[], bool]) -> Iterator[bytes]:
    """Give the last `lines` lines of a file and then what is added, until `over` says so.

    The file need not be there yet. One that has become shorter is read from its beginning.
    """
    position: int | None = None
    asked = -math.inf
    ended = False
    while True:
        if time.monotonic() - asked >= ASK_S:
            # asked before reading, so that what was written before the end is still read
            ended, asked = over(), time.monotonic()
        if path.exists():
            with within.open_file(path.parent, path.name) as file:
                if position is None:
                    position = last_lines(file, lines) if lines else 0
                elif file.seek(0, os.SEEK_END) < position:
                    position = 0
                file.seek(position)
                while chunk := file.read(BLOCK):
                    position += len(chunk)
                    yield chunk
        if ended:
            return
        time.sleep(LOOK_S)


def tail(path: Path, lines: int) -> Iterator[bytes]:
    """Give the last `lines` lines of a file in pieces, all of it for 0, read from its end."""
    with within.open_file(path.parent, path.name) as file:
        file.seek(last_lines(file, lines) if lines else 0)
        while chunk := file.read(BLOCK):
            yield chunk


def last_lines(file: BinaryIO, lines: int) -> int:
    """Return the byte at which the last `lines` lines begin; reads no more than they hold."""
    end = position = file.seek(0, os.SEEK_END)
    seen = 0
    while position > 0:
        size = min(BLOCK, position)
        position -= size
        file.seek(position)
        block = file.read(size)
        if position + size == end and block.endswith(b"\n"):
            block = block[:-1]  # the newline that ends the last line begins none
        at = len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            seen += 1
            if seen == lines:
                return position + at + 1
    return 0


def writer() -> Callable[[bytes], None]:
    """Return what puts a log on stdout: as it is in a pipe, and made harmless on a terminal.

    A program that runs elsewhere, or for somebody else, may have written it: it may colour, and
    write over a line, but neither move the cursor, nor set the title, nor make the terminal answer.
    """
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    left = ""

    def write(chunk: bytes) -> None:
        nonlocal left
        sys.stdout.flush()
        if sys.stdout.isatty():
            text = left + decoder.decode(chunk)
            begun = text.rfind("\x1b", -LONGEST_COLOUR)  # which may be cut in two
            whole = len(text) if begun < 0 or "m" in text[begun:] else begun
            left = text[whole:]
            chunk = kept_colours(text[:whole]).encode(errors="replace")
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()

    return write
