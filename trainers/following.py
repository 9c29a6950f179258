"""What do programs write of their training below the folders that are watched?

JSON lines (`log.txt` of MAE's code, `*.log.json` of mmcv, `scalars.json` of mmengine), logs of
text, and TensorBoard's event files are followed while they are written, from the beginning of this
run: files that were there before are read from where they ended then. Standard library only.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from trainers import framing, scalars
from trainers.events import FILE_NAME
from trainers.loglines import Lines, Told, named, read

DEPTH = 4
"""How many folders below a watched one are looked into."""

WALK_SHARE = 0.05
"""How much of its time is spent in looking for new files (unitless): disks may be slow."""

BATCH_BYTES = 2**20
_WATCHED = ("*log*.txt", "*.log", "*.json", "*.jsonl", scalars.PATTERN)
_TWICE = re.compile(r"\d{8}_\d{6}\.json$")
"""mmengine writes what stands in `scalars.json` into a file named after the time, too."""

Take = Callable[[Told, str], None]
"""Is given what was told, and by which source."""


class Form(Protocol):
    """How one kind of file is read, in any chunks."""

    damaged: int
    """How many lines or records could not be read."""

    def feed(self, chunk: bytes, *, last: bool) -> Iterator[Told]:
        """Give what is said by what is complete now."""


class TextFile:
    """Lines, of JSON or of text."""

    def __init__(self, *, json_alone: bool) -> None:
        self.damaged = 0
        self._json_alone = json_alone
        self._lines = Lines()
        self._has_json = False

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[Told]:
        """Give what each complete line says; one that breaks off at the end says what it can."""
        for line, stays in self._lines.feed(chunk, last=last):
            if not stays:
                continue
            if self._json_alone and not line.lstrip().startswith("{"):
                self.damaged += self._has_json and bool(line.strip())
                continue
            told = read(line, torn=self._lines.torn)
            self.damaged += told.damaged and self._has_json  # a file without any is no JSON log
            self._has_json = self._has_json or (line.startswith("{") and not told.damaged)
            if told:
                yield told


class EventFile:
    """An event file of TensorBoard."""

    def __init__(self) -> None:
        self.damaged = 0
        self._records = framing.Following()
        self._reader = scalars.Reader()

    def feed(self, chunk: bytes, *, last: bool = False) -> Iterator[Told]:
        """Give what each complete record says; one that breaks off at the end says nothing."""
        odd = 0
        for record in self._records.feed(chunk):
            try:
                event = self._reader.read(record)
            except ValueError:
                odd += 1
                continue
            if event.values and event.step >= 0:
                yield Told(named(event.values), step=event.step, exact=True)
        self.damaged += odd + self._records.damaged
        self._records.damaged = 0


class Followed:
    """One file, and how far it has been read."""

    def __init__(self, path: Path, *, at: int = 0) -> None:
        self.path = path
        self.at = at
        self.form = form_of(path.name)
        self._told = 0
        self._inode = 0

    def read(self, *, last: bool) -> Iterator[Told]:
        """Give what is new in it; one that is shorter or another now is read from its beginning."""
        with self.path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_size < self.at or status.st_ino != (self._inode or status.st_ino):
                self.at, self.form = 0, form_of(self.path.name)
            self._inode = status.st_ino
            file.seek(self.at)
            while chunk := file.read(BATCH_BYTES):
                self.at += len(chunk)
                yield from self.form.feed(chunk, last=False)
        if last:
            yield from self.form.feed(b"", last=True)

    def newly_damaged(self) -> int:
        """Return how much could not be read since this was asked last."""
        new, self._told = self.form.damaged - self._told, self.form.damaged
        return max(0, new)


def form_of(name: str) -> Form:
    """Return how a file of that name is read."""
    if fnmatch.fnmatch(name, scalars.PATTERN):
        return EventFile()
    return TextFile(json_alone=".json" in name)


class Watch:
    """Reads what is added below some folders."""

    def __init__(
        self, folders: Sequence[Path], *, run_folder: Path, warn: Callable[[str, str], None]
    ) -> None:
        self.folders = folders
        self.run_folder = run_folder
        self._warn = warn
        self._next_walk = 0.0
        self._followed: dict[Path, Followed] = {}
        for path in self._found():
            with contextlib.suppress(OSError):
                self._followed[path] = Followed(path, at=path.stat().st_size)

    def read(self, take: Take, *, last: bool = False) -> None:
        """Give what every new line and record says; one without an end waits for the `last`."""
        began = time.monotonic()
        if last or began >= self._next_walk:
            for path in self._found():
                self._followed.setdefault(path, Followed(path))
            now = time.monotonic()
            self._next_walk = now + (now - began) / WALK_SHARE
        for path, followed in sorted(self._followed.items()):
            # several event files of one folder are one writer's, one after the other
            events = isinstance(followed.form, EventFile)
            source = str(path.parent if events else path)
            with contextlib.suppress(OSError):  # gone, or not to be read: others go on
                for told in followed.read(last=last):
                    take(told, source)
            for _ in range(followed.newly_damaged()):
                what = "record" if events else "line"
                self._warn(f"a damaged {what} was skipped", str(path))

    def _found(self) -> list[Path]:
        return sorted({path for folder in self.folders for path in self._below(folder)})

    def _below(self, top: Path) -> Iterator[Path]:
        """Give the files to follow; run folders, links to folders and hidden ones are left out."""
        for place, folders, files in os.walk(top):
            here = Path(place)
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            if len(here.relative_to(top).parts) >= DEPTH:
                folders.clear()
            if here == self.run_folder:
                continue
            if FILE_NAME in files:  # another run's: what is there was told by this program
                folders.clear()
                continue
            for name in files:
                followed = any(fnmatch.fnmatch(name, pattern) for pattern in _WATCHED)
                twice = "scalars.json" in files and _TWICE.match(name)
                if followed and not twice and (here / name).is_file():
                    yield here / name
