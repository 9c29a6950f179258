"""Where does a program start whose checkout was copied into its run folder when it was queued?

Paths that were made full then name the checkout; those of files that were copied are turned to the
copy. Standard library only.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

NOTE = "copied.json"
FOLDER = "code"


class Copy(NamedTuple):
    """A copy of a checkout, in a run folder."""

    top: Path
    """What it was copied from."""
    place: Path
    note: dict[str, Any]

    @property
    def workdir(self) -> Path:
        """Where the program starts."""
        return self.place / str(self.note["within"])

    def moved(self, words: Sequence[str]) -> list[str]:
        """Return the words of a command, those that name a copied file or folder turned to it."""
        return [self.path(word) if self._has(word) else word for word in words]

    def search_path(self, value: str) -> str:
        """Return the value of `PYTHONPATH` likewise."""
        return os.pathsep.join(self.moved(value.split(os.pathsep)))

    def folder(self, path: Path) -> Path:
        """Return where the program finds a folder that may yet be empty; unless it is linked to."""
        name = self._name(str(path))
        linked = any(name == each or name.startswith(f"{each}/") for each in self.note["linked"])
        return path if not name or linked else self.place / name

    def path(self, word: str) -> str:
        """Return the path of the copy of what a full path names."""
        return str(self.place / self._name(word))

    def _has(self, word: str) -> bool:
        name = self._name(word)
        return bool(name) and any(
            name in (file, ".") or file.startswith(f"{name}/") for file in self.note["files"]
        )

    def _name(self, word: str) -> str:
        """Return a full path within the checkout, as from its root; empty for any other."""
        if word == str(self.top):
            return "."
        start = f"{self.top}/"
        return word.removeprefix(start) if word.startswith(start) else ""


def read(folder: Path) -> Copy:
    """Return the copy in a run folder.

    Raises:
        OSError: there is none.
    """
    note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    return Copy(Path(note["from"]), folder / FOLDER, note)
