"""What becomes of a registry that cannot be read any more? It is kept beside a new one."""

from __future__ import annotations

from pathlib import Path

from cxrlab import agent
from cxrlab.errors import Usage
from cxrlab.lab import Lab
from store.db import DamagedError, is_sound, open_store


def set_aside(lab: Lab) -> Path | None:
    """Move a damaged registry away with its log and index; return where it is, None where sound.

    Looks at every page of it, which takes a second for some hundred megabytes.

    Raises:
        Usage: it is damaged, and an agent has it open.
        StoreError: it cannot be opened for another reason.
    """
    if not lab.registry.exists() or _is_sound(lab.registry):
        return None
    if agent.status(lab).alive:  # it would go on writing to the file that was moved
        raise Usage("the registry is damaged, and the agent has it open", "`cxrlab agent stop`")
    kept = next(
        path
        for n in range(1, 1000)
        if not (path := lab.registry.with_name(f"registry.damaged-{n}.db")).exists()
    )
    for ending in ("", "-wal", "-shm"):
        part = lab.registry.with_name(f"{lab.registry.name}{ending}")
        if part.exists():
            part.rename(kept.with_name(f"{kept.name}{ending}"))
    return kept


def _is_sound(registry: Path) -> bool:
    try:
        db = open_store(registry)
    except DamagedError:
        return False
    try:
        return is_sound(db)
    finally:
        db.conn.close()
