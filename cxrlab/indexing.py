"""How does the registry come to know what runs were set to? From one `config.json` a recipe.

Nothing is done for it when runs are queued: whoever first asks for runs by a setting has what is
missing read. That is a file for each recipe that no one has asked about yet, 0.3 ms each.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from cxrlab import filters
from cxrlab.errors import NotFound
from store import settings, within
from store.db import Database, StoreError

BATCH = 500
"""Recipes that are kept under one hold of the write lock."""

NOT_KEPT = frozenset(
    "program recipe method task ratio preset seed output_dir resume device threads num_workers "
    "log_every save_every_s compile cache data_path pretrained split_lists".split()
)
"""What a run's row says already, and what is no part of its recipe."""


def bring_up(db: Database, *, limit_s: float = float("inf")) -> int:
    """Read the settings of recipes that are not kept yet, and return how many are left.

    One whose configuration is not there is looked for again as long as its run has not ended. A
    registry that cannot be written to keeps what it has.

    Args:
        db: the registry, open.
        limit_s: after so long the rest is left for next time.
    """
    deadline = time.monotonic() + limit_s
    unread = settings.unread(db)
    done = 0
    while done < len(unread) and (done == 0 or time.monotonic() < deadline):
        batch = unread[done : done + BATCH]
        done += len(batch)
        found = [(each.recipe, kept(Path(each.folder)), each.ended) for each in batch]
        try:
            settings.keep(db, [(recipe, them) for recipe, them, ended in found if them or ended])
        except StoreError:
            return 0
    return len(unread) - done


def kept(folder: Path) -> dict[str, Any]:
    """Return the settings of a run by which it can be found."""
    config = within.read_object(folder, "config.json")
    return {name: value for name, value in config.items() if name not in NOT_KEPT}


def understood(
    db: Database, typed: str, *, limit_s: float = float("inf")
) -> tuple[filters.Filter | None, int]:
    """Return what a filter asks for, and how many recipes have to be read before that is sure.

    None where a name is not known yet and may be that of a setting still to be read.

    Raises:
        NotFound: there is no field, setting or metric of a name.
        Usage: a value does not go with what it is compared to.
    """
    if not filters.names_settings(typed):
        return filters.read(typed), 0
    left = bring_up(db, limit_s=limit_s)
    try:
        return filters.read(typed, settings.names(db)), left
    except NotFound:
        if left:
            return None, left
        raise
