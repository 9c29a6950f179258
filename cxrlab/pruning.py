"""How do the checkpoints of a lab keep within their budget? Looks, and removes what can be spared.

What is removed is noted in the run's folder first, so that it is known whatever happens next, and
under the registry's lock, so that no run comes to need it in between.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import keeping, text
from cxrlab.keeping import File, Owner, Spare
from cxrlab.lab import Lab
from store import artifacts, runs, sparing
from store.db import Database, StoreError, open_store, writing

logger = logging.getLogger("cxrlab.agent")

EVERY_S = 300.0
"""How often the agent looks where a budget is set."""


class Found(NamedTuple):
    """All checkpoints of a lab, and who needs them."""

    files: list[File]
    owners: dict[str, Owner]
    runs: dict[str, runs.Run]
    needs: sparing.Needs

    @property
    def taken(self) -> int:
        """How much they take (bytes)."""
        return sum(file.bytes for file in self.files)

    def spare(self, budget: int) -> list[Spare]:
        """Return what is to go so that they take no more than `budget` (bytes)."""
        return keeping.spare(self.files, self.owners, budget=budget, named=self.needs.named)


def look(lab: Lab, db: Database) -> Found:
    """Return every checkpoint in the lab's run folders; walks all of them."""
    needs = sparing.look(db)
    files: list[File] = []
    known: dict[str, runs.Run] = {}
    owners: dict[str, Owner] = {}
    for run in runs.select(db):
        folder = Path(run.folder)
        if folder.parent != lab.runs_dir:
            continue
        own = list(_files(run, folder))
        if own:
            files += own
            known[run.id] = run
            owners[run.id] = Owner(
                id=run.id,
                ended=run.ended or run.created,
                under_way=run.state not in runs.ENDED,
                cited=run.id in needs.cited,
                started_from=run.id in needs.started_from,
                superseded=run.id in needs.superseded,
            )
    return Found(files, owners, known, needs)


def remove(lab: Lab, db: Database, found: Found, spare: Sequence[Spare]) -> list[Spare]:
    """Remove what can be spared, and return what was; leaves what has come to be needed since."""
    gone = []
    for each in spare:
        run = found.runs[each.file.run]
        folder = Path(run.folder)
        path = lab.runs_dir / each.file.path
        with writing(db):
            repeated = each.why == keeping.SUPERSEDED
            if not sparing.still_spare(
                db, run, since=found.needs.newest, because_repeated=repeated
            ):
                continue
            within = path.relative_to(folder).as_posix()
            now = time.time()
            if each.file.kind != "leftover":
                with lab.creating():
                    _note(folder, within, each, now)
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            artifacts.mark_removed(db, run.id, within, at=now)
        gone.append(each)
    return gone


def told(taken: int, budget: int, spare: Sequence[Spare]) -> str:
    """Return in words how a lab stands to its budget, and what would be or was spared."""
    said = f"checkpoints take {text.size(taken)} of a budget of {text.size(budget)}"
    if taken <= budget:
        return said
    left = taken - sum(each.file.bytes for each in spare)
    if left > budget:
        said += f"; what nobody needs is {text.size(taken - left)}, and all else is needed"
    return said


class Keeper:
    """Looks now and then, beside the agent, and removes what can be spared."""

    def __init__(self) -> None:
        self._due = 0.0
        self._at_work: threading.Thread | None = None
        self._complaint = ""

    def look(self, lab: Lab) -> None:
        """Start to look where a budget is set and it is time to; returns at once."""
        busy = self._at_work is not None and self._at_work.is_alive()
        if lab.settings.checkpoints.budget is None or busy or time.monotonic() < self._due:
            return
        self._due = time.monotonic() + EVERY_S
        self._at_work = threading.Thread(target=self.keep, args=(lab,), daemon=True)
        self._at_work.start()

    def keep(self, lab: Lab) -> None:
        """Look, remove, and say in the agent's log what was done, or once that it does not do."""
        budget = lab.settings.checkpoints.budget
        if budget is None:
            return
        try:
            with contextlib.closing(open_store(lab.registry, make=False).conn) as conn:
                db = Database(conn)
                found = look(lab, db)
                spare = found.spare(budget)
                gone = remove(lab, db, found, spare)
        except (StoreError, OSError) as error:
            logger.error("checkpoints are not looked after: %s", error)
            return
        for each in gone:
            logger.info(
                "removed %s (%s): %s, to keep within the budget",
                each.file.path,
                text.size(each.file.bytes),
                each.why,
            )
        left = found.taken - sum(each.file.bytes for each in spare)
        complaint = told(found.taken, budget, spare) if left > budget else ""
        if complaint and complaint != self._complaint:
            logger.warning("%s", complaint)
        self._complaint = complaint


def _files(run: runs.Run, folder: Path) -> Iterator[File]:
    """Return the checkpoints that lie in a run folder; links are left alone."""
    seen: dict[str, os.stat_result] = {}
    top = folder / sparing.CHECKPOINTS
    if top.is_symlink() or folder.is_symlink():  # what it leads to is not the lab's
        return
    for place, _, names in os.walk(top):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # replaced this very moment
                if not path.is_symlink():
                    seen[path.relative_to(folder).as_posix()] = path.stat()
    kinds = keeping.kinds({within: facts.st_mtime for within, facts in seen.items()})
    for within, facts in seen.items():
        yield File(
            run=run.id,
            path=f"{folder.name}/{within}",
            kind=kinds[within],
            bytes=facts.st_size,
            saved=facts.st_mtime,
        )


def _note(folder: Path, within: str, spare: Spare, at: float) -> None:
    path = folder / artifacts.REMOVED
    said = artifacts.removed_of(folder)
    said[within] = {"at": at, "bytes": spare.file.bytes, "why": spare.why}
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
