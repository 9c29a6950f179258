"""Which code is this? The source below a folder as one digest, whatever git says of it.

A run that was queued executes a copy of the trainers' source, and finds a note on it in its folder;
by the digest it knows whether the note is about the code that it is. Standard library only.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any

NOTE = "code.json"
"""The file of a run folder that says which code the run was queued with."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")

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
    """Return what a run folder says of the code it was queued with; empty for nothing.

    A note that is none of ours, or no plain file, says nothing.
    """
    try:
        handle = os.open(folder / NOTE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return {}
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            return {}
        try:
            said = json.loads(file.read())
        except (ValueError, RecursionError):
            return {}
    return said if isinstance(said, dict) and _is_ours(said) else {}


def _is_ours(said: dict[str, Any]) -> bool:
    """Return whether a note has the form that queueing gives it."""
    earlier = said.get("before", [])
    if not isinstance(earlier, list) or not all(isinstance(each, dict) for each in earlier):
        return False
    return all(
        isinstance(each.get("digest"), str)
        and _DIGEST.fullmatch(each["digest"]) is not None
        and (each.get("commit") is None or _COMMIT.fullmatch(str(each["commit"])) is not None)
        for each in (said, *earlier)
    )
