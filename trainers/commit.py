"""At which commit does a folder's code stand, and what in it is not committed?"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import NamedTuple


class Commit(NamedTuple):
    """Where code stands in git."""

    name: str | None
    """The commit in full; None where there is no git."""
    diff: str
    """What is not committed, as a patch; empty for nothing."""


def of(folder: Path) -> Commit:
    """Return the commit that is checked out at `folder`, and what differs from it there."""
    name = ask(folder, "rev-parse", "HEAD")
    diff = (ask(folder, "diff", "HEAD", "--", ".") or "") if name else ""
    return Commit(name.strip() if name else None, diff)


def ask(folder: Path, *words: str) -> str | None:
    """Return what git answers in `folder`; None where it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout
