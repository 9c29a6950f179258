"""Which copy of a data set do runs read, and is it still a copy of what lies there?

`cxrlab data prepare` writes it. It says which tables it was made from; where one of them has
changed since, nothing may be trained on it.
"""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

from cxrlab.errors import BadInput
from cxrlab.lab import Lab

ABOUT = "prepared.json"
"""The last file that is written. Without it a copy is not finished."""
TABLE = "training.csv"
"""Where a folder has one, it counts before any other table."""


class Copy(NamedTuple):
    """A prepared copy as it lies there."""

    folder: Path
    state: Literal["fits", "stale", "unfinished"]
    why: str
    """What does not fit, where it does not."""
    about: dict[str, Any]
    """What it says of itself; empty while it is unfinished."""


def find(lab: Lab, name: str) -> Copy | None:
    """Return the prepared copy of a data set; None where there is none.

    Reads the set's tables in full, a quarter of a second for the largest.
    """
    folder = lab.copy_of(name)
    try:
        about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
        tables: dict[str, str] = about["source"]["tables"]
    except OSError:
        begun = folder.is_dir() and any(folder.glob("images-*"))
        return Copy(folder, "unfinished", "it is not finished", {}) if begun else None
    except (ValueError, TypeError, KeyError):
        return Copy(folder, "stale", f"{folder / ABOUT} cannot be read", {})
    known = lab.settings.data.get(name)
    if known is None or not known.root.is_dir():  # the originals may be put away
        return Copy(folder, "fits", "", about)
    if TABLE not in tables and (known.root / TABLE).is_file():
        return Copy(folder, "stale", f"{known.root / TABLE} is there now", about)
    for table, digest in tables.items():
        if _sha256(known.root / table) != digest:
            return Copy(folder, "stale", f"{known.root / table} has changed since", about)
    return Copy(folder, "fits", "", about)


def to_read(lab: Lab, name: str) -> Copy | None:
    """Return the copy that runs are to read; None where they read the originals.

    Raises:
        BadInput: there is one, and it is no longer a copy of what lies there.
    """
    copy = find(lab, name)
    if copy is not None and copy.state == "stale":
        raise BadInput(
            f"the prepared copy of {name} at {copy.folder} is out of date: {copy.why}",
            f"`cxrlab data prepare {name}` brings it up to date",
        )
    return copy if copy and copy.state == "fits" else None


def told(copy: Copy) -> str:
    """Return what a copy is, in words."""
    if copy.state == "fits":
        return f"{copy.folder} ({copy.about['px']} px, {copy.about['store']})"
    return f"{copy.folder}, not used: {copy.why}"


def _sha256(path: Path) -> str:
    try:
        seen = path.stat()
    except OSError:
        return ""
    return _sha256_of(path, seen.st_size, seen.st_mtime_ns)


@lru_cache(maxsize=8)
def _sha256_of(path: Path, size: int, modified_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
