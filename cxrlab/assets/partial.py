"""What has come of a file that is being fetched, and which file is it a part of?

It lies beside the target as `.NAME.part`, with a note of its origin in `.NAME.part.json`, held by
one process at a time.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cxrlab import text
from cxrlab.assets import digests
from cxrlab.errors import BadInput, CxrlabError


@dataclass(frozen=True)
class Note:
    """A file as its server described it when its fetching began."""

    url: str
    etag: str = ""
    modified: str = ""
    total: int | None = None
    """Its size in bytes, where the server tells."""

    @property
    def validator(self) -> str:
        """What lets the server tell whether its file is still that one; weak tags do not."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


class Part:
    """The file that grows; what was fetched from another address is not gone on with."""

    def __init__(self, target: Path, url: str) -> None:
        self.target = target
        self.path = target.with_name(f".{target.name}.part")
        self.note_path = target.with_name(f".{target.name}.part.json")
        self.note = Note(url)
        self.size = 0

    def __enter__(self) -> Part:
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise self._unwritable(error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise CxrlabError(f"{self.target} is being fetched by somebody else") from None
        self.size = os.fstat(self._file.fileno()).st_size
        kept = self._kept()
        if self.size and kept is not None and kept.url == self.note.url:
            self.note = kept
        else:
            self.empty()
        return self

    def __exit__(self, *problem: object) -> None:
        if not self.size and not self.path.is_symlink():
            self.path.unlink(missing_ok=True)
            self.note_path.unlink(missing_ok=True)
        self._file.close()

    def _kept(self) -> Note | None:
        try:
            return Note(**json.loads(self.note_path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    @property
    def whole(self) -> bool:
        """Whether all of it is here already."""
        return self.size > 0 and self.size == self.note.total

    @property
    def here(self) -> str:
        """How much has come, in words."""
        if self.note.total is None:
            return f"{text.size(self.size)} are here"
        return f"{text.size(self.size)} of {text.size(self.note.total)} are here"

    def empty(self) -> None:
        """Throw away what has come."""
        if self.size:
            self._file.truncate(0)
        self.size, self.note = 0, Note(self.note.url)

    def begin(self, note: Note) -> None:
        """Throw away what has come, and start on the file that `note` describes.

        Raises:
            CxrlabError: there is no room for it.
        """
        self.empty()
        self.note = note
        free = shutil.disk_usage(self.path.parent).free
        if note.total is not None and note.total > free:
            raise CxrlabError(
                f"{self.target.name} takes {text.size(note.total)}, and {text.size(free)} are "
                f"free at {self.path.parent}"
            )
        said = json.dumps(asdict(note))
        with self._on_disk():
            self.note_path.write_text(said, encoding="utf-8")

    def add(self, chunk: bytes) -> None:
        """Write what has come.

        Raises:
            CxrlabError: the disk is full, or will not be written.
        """
        left = memoryview(chunk)
        with self._on_disk():
            while left:
                written = self._file.write(left)
                self.size += written
                left = left[written:]

    def finish(self, expected: digests.Digests) -> digests.Digests:
        """Check the file, give it the target's name, and return its digests.

        Raises:
            BadInput: it is not the file that was expected, and is thrown away.
        """
        with self._on_disk():
            os.fsync(self._file.fileno())
        try:
            found = digests.check(self.path, expected, name=self.target.name)
        except BadInput:
            self.empty()  # to go on with it would make it no better
            raise
        with self._on_disk():
            self.path.replace(self.target)
        self.note_path.unlink(missing_ok=True)
        folder = os.open(self.target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return found

    @contextmanager
    def _on_disk(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> CxrlabError:
        said = (error.strerror or str(error)).lower()
        kept = "what has come is kept; " if self.size else ""
        return CxrlabError(f"{self.path}: {said}", f"{kept}make room, or see who may write there")
