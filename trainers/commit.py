"""At which commit does a folder's code stand, and what in it is not committed?"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_AS_A_PATCH = ("--no-color", "--no-ext-diff", "--binary", "--src-prefix=a/", "--dst-prefix=b/")
"""Whatever a person has set for the differences they read."""


class Commit(NamedTuple):
    """Where code stands in git."""

    name: str | None
    """The commit in full; None where there is no git."""
    diff: str
    """What is not committed, as a patch; empty for nothing."""


def of(folder: Path, *, with_new: bool = False) -> Commit:
    """Return the commit that is checked out at `folder`, and what differs from it there.

    Args:
        folder: in a checkout, or not.
        with_new: whether files that git does not know of and does not ignore are part of the
            difference.
    """
    name = ask(folder, "rev-parse", "HEAD")
    if not name:
        return Commit(None, "")
    diff = ask(folder, "diff", *_AS_A_PATCH, "HEAD", "--", ".") or ""
    return Commit(name.strip(), diff + (_all_new(folder) if with_new else ""))


def of_root(root: Path, new: Sequence[str]) -> Commit:
    """Return the same of the root of a checkout, with some of the files new to git."""
    stands = of(root)
    return stands if stands.name is None else Commit(stands.name, stands.diff + _new(root, new))


def of_package(folder: Path) -> Commit:
    """Return where the source of a package stands, new files included, if it is in git itself.

    One that is installed may lie in the checkout of another project, which ignores it.
    """
    if ask(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return Commit(None, "")
    return of(folder, with_new=True)


def top(folder: Path) -> Path | None:
    """Return the root of the checkout that `folder` is in; None where it is in none."""
    said = ask(folder, "rev-parse", "--show-toplevel")
    return Path(said.rstrip("\n")) if said else None


def ask(folder: Path, *words: str, good: tuple[int, ...] = (0,)) -> str | None:
    """Return what git answers in `folder`; None where it cannot."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    # not as text: the line ends of a patch are part of it
    return done.stdout.decode(errors="replace") if done.returncode in good else None


def _all_new(folder: Path) -> str:
    root = top(folder)
    listed = ask(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", ".")
    return "" if root is None or not listed else _new(root, listed.rstrip("\0").split("\0"))


def _new(root: Path, names: Sequence[str]) -> str:
    # what `--no-index` compares differs, which it says by 1
    patches = [
        ask(root, "diff", *_AS_A_PATCH, "--no-index", "--", "/dev/null", name, good=(0, 1))
        for name in names
    ]
    return "".join(patch for patch in patches if patch)
