"""What follows when a lab is found elsewhere than it was: moved there, or copied?

A copy that is opened while its original is there must never start, stop or remove what belongs to
the original. Whether it is one is told by the file system: the same folder under another name, by
a mount or a link, is no other lab.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cxrlab import text
from store import home

if TYPE_CHECKING:
    from cxrlab.lab import Lab
    from store.db import Database


def settle(lab: Lab, db: Database) -> str:
    """Let the runs of one's own lab lie where it lies now; takes microseconds where they do.

    Returns:
        What was done, in a sentence; empty where there was nothing to do.
    """
    here, was = str(lab.root), home.root_of(db)
    if not was:  # a registry that was made before this was remembered
        was = home.told_by_runs(db) or here
        home.set_root(db, was)
    if was == here:
        return ""
    there = Path(was, lab.registry.relative_to(lab.root))
    copied = there.exists()
    if copied and there.samefile(lab.registry):
        return ""
    done = home.rehome(db, here, copied=copied)
    return told(done) if done else ""


def told(done: home.Rehomed) -> str:
    """Return in words what became of the runs."""
    parts = [f"its {text.plural(done.runs, 'run')} {'is' if done.runs == 1 else 'are'} found here"]
    if done.held:
        parts.append(f"{done.held} that waited are held: `cxrlab queue release` lets them start")
    if done.parted:
        parts.append(f"{done.parted} that were running go on there alone")
    how = "is a copy of" if done.copied else "was moved from"
    return f"this lab {how} {done.was}: {', '.join(parts)}"
