"""Whose is a lab, and how is it opened where it is somebody else's?

Such a lab is read and never written to: files that another user leaves in it would be in its
owner's way, and its settings name programs and paths that are not to be trusted. See
docs/decisions/labs-of-others.md.
"""

from __future__ import annotations

import os
import pwd
import time
from pathlib import Path

from cxrlab import text
from cxrlab.errors import CxrlabError
from cxrlab.lab import Lab
from store.db import Database, open_read_only, open_store

NOBODY = 65534
"""Whose all files seem to be where a file system or a container hides the true owners."""


class NotYours(CxrlabError):
    """Something would be changed, or run, in a lab of somebody else."""


def me() -> int:
    """Return the user that this process works as."""
    return os.geteuid()


def owner(lab: Lab) -> str:
    """Return whose the lab is, by name; empty for one's own, and for one that is not there yet."""
    try:
        uid = lab.settings_file.stat().st_uid
    except FileNotFoundError:
        return ""
    if uid == me() or (uid == NOBODY and os.access(lab.root, os.W_OK)):
        return ""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def open_registry(lab: Lab) -> Database:
    """Open the registry for reading and writing, or for reading alone where it is another's.

    Raises:
        NotYours: it may not even be read.
        StoreError: it cannot be opened.
    """
    other = owner(lab)
    if not other:
        if lab.registry.exists():
            return open_store(lab.registry)
        lab.make_folder(lab.registry.parent)
        with lab.creating():  # its log and index take their rights from it
            return open_store(lab.registry)
    if not may_read(lab.registry):
        raise NotYours(
            f"{lab.root} is {other}'s and is not shared",
            f'{other} can write `share = "group"` under `[lab]` and type `cxrlab init`',
        )
    return open_read_only(lab.registry)


def may_read(registry: Path) -> bool:
    """Return whether the registry is there, and may be read."""
    try:
        with registry.open("rb"):
            return True
    except OSError:
        return False


def check(lab: Lab) -> None:
    """Refuse to change a lab of somebody else.

    Raises:
        NotYours: it is one.
    """
    if other := owner(lab):
        raise NotYours(
            f"{lab.root} is {other}'s: it is only read",
            "`cxrlab init` makes a lab of your own",
        )


def told(lab: Lab) -> str:
    """Return in words that a lab is only read, and as of when; empty for one's own."""
    other = owner(lab)
    if not other:
        return ""
    return f"{lab.root} is {other}'s and is only read; it is shown as of {age(lab)}"


def age(lab: Lab) -> str:
    """Return in words when the registry was last written to."""
    log = lab.registry.with_name(lab.registry.name + "-wal")
    times = [path.stat().st_mtime for path in (lab.registry, log) if path.exists()]
    return text.ago(max(times), time.time()) if times else "never"
