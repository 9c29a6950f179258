"""Which code is this? The source below a folder as one digest, whatever git says of it.

A run that was queued executes a copy of the trainers' source, and finds a note on it in its folder;
by the digest it knows whether the note is about the code that it is. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOTE = "code.json"
"""The file of a run folder that says which code the run was queued with."""

PACKAGE = Path(__file__).resolve().parent
"""Where the code that is running lies."""


def files_below(folder: Path) -> list[str]:
    """Return what counts as source below `folder`, by path from there, in order of name.

    Hidden files and what Python compiles are left out.
    """
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "." and name != "__pycache__"]
        found += [
            os.path.relpath(os.path.join(place, name), folder)  # noqa: PTH118 - 200 files, once a run
            for name in names
            if name[0] != "." and not name.endswith((".pyc", ".pyo"))
        ]
    return sorted(found)


def digest(folder: Path, names: Iterable[str] | None = None) -> str:
    """Return the SHA-256 over names and contents of the files below `folder`, or of those named."""
    total = hashlib.sha256()
    for name in files_below(folder) if names is None else sorted(names):
        own = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        total.update(f"{own}  {name}\n".encode(errors="surrogateescape"))
    return total.hexdigest()


def note(folder: Path) -> dict[str, Any]:
    """Return what a run folder says of the code it was queued with; empty for nothing."""
    try:
        said = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return said if isinstance(said, dict) else {}
