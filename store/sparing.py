"""Which runs are needed by others: cited by a cell, started from, or repeated by a newer one?"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePath
from typing import NamedTuple

from store import cells, runs
from store.db import Database

CHECKPOINTS = "checkpoints"
"""The folder of a run folder that checkpoints lie in."""


class Needs(NamedTuple):
    """What the registry says of who needs whom, at one moment."""

    cited: frozenset[str]
    """Runs whose number counts in a cell, and all that they start from in turn."""
    started_from: frozenset[str]
    """Runs that another names: as its parent, as what it needs, or in its command."""
    superseded: frozenset[str]
    """Ended runs whose cell, recipe and seed a newer run has succeeded in."""
    named: frozenset[str]
    """Checkpoints that commands or a cell's runs name: `RUN_FOLDER/checkpoints/FILE`."""
    newest: int
    """The row number of the newest run."""


_NEWER = """
  exists (
    select 1 from runs n
    where n.recipe = o.recipe and n.seed = o.seed and n.method = o.method and n.task = o.task
      and n.ratio is o.ratio and n.state = 'succeeded' and (n.created, n.seq) > (o.created, o.seq)
  )
"""


def look(db: Database) -> Needs:
    """Return who needs whom; walks every run once."""
    # first, so that what is added while this looks counts as later
    (newest,) = db.conn.execute("select coalesce(max(seq), 0) from runs").fetchone()
    groups = cells.groups(db)
    counted = {id for group in groups for id in group.run_ids}
    starts = {start.run_id for group in groups for start in group.starts if start.run_id}
    folders = {PurePath(folder).name: id for id, folder in _folders(db)}
    named, started = set(), set()
    for id, folder, command, checkpoint in db.conn.execute(
        "select id, folder, command, json_extract(result, '$.checkpoint') from runs"
    ):
        if id in counted and checkpoint:
            named.add(f"{PurePath(folder).name}/{checkpoint}")
        for path in _checkpoints_in(command):
            owner = folders.get(path.partition("/")[0])
            if owner != id:
                named.add(path)
                started |= {owner} if owner else set()
    for (id,) in db.conn.execute(
        """
        select parent from runs where parent is not null
        union
        select r.id from needs join runs r on r.seq = need
        """
    ):
        started.add(id)
    superseded = {
        id
        for (id,) in db.conn.execute(
            f"""
            select o.id from runs o
            where o.recipe <> '' and o.state in ('succeeded', 'failed', 'stopped', 'lost')
              and {_NEWER}
            """
        )
    }
    return Needs(
        cited=frozenset(counted | set(cells.encoders(db, starts))),
        started_from=frozenset(started),
        superseded=frozenset(superseded),
        named=frozenset(named),
        newest=newest,
    )


def still_spare(db: Database, run: runs.Run, *, since: int, because_repeated: bool) -> bool:
    """Return whether nothing has happened since `look` that a run's checkpoints are needed for.

    To be asked under the write lock.

    Args:
        db: the registry.
        run: the run, as it was then.
        since: `Needs.newest` of that look; later runs may start from anything.
        because_repeated: whether a checkpoint is to go only because a newer run repeats its run.
    """
    rows = db.conn.execute(
        f"select o.state, o.attempt, {_NEWER} from runs o where o.id = :id", {"id": run.id}
    )
    for state, attempt, superseded in rows:
        if state not in runs.ENDED or attempt != run.attempt:
            return False
        if because_repeated and not superseded:
            return False
        later = db.conn.execute(
            """
            select 1 from runs where seq > :since and (parent = :id or instr(command, :mark))
            limit 1
            """,
            {"since": since, "id": run.id, "mark": f"/{PurePath(run.folder).name}/"},
        ).fetchone()
        return later is None
    return False


def _folders(db: Database) -> list[tuple[str, str]]:
    return list(db.conn.execute("select id, folder from runs"))


def _checkpoints_in(command: str) -> Iterator[str]:
    """Return the checkpoints of run folders that a command (as JSON) names."""
    if f"/{CHECKPOINTS}/" not in command:
        return
    for word in json.loads(command):
        parts = PurePath(str(word)).parts
        if CHECKPOINTS in parts[1:]:
            at = parts.index(CHECKPOINTS, 1)
            yield "/".join(parts[at - 1 :])
