"""What has a person called runs, besides their ids? Tags live in the registry alone.

Removing the registry loses them; `cxrlab rebuild` keeps those of the runs that it finds again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable

from store import runs
from store.db import Database, writing


def change(
    db: Database, ids: Iterable[str], *, add: Collection[str] = (), drop: Collection[str] = ()
) -> None:
    """Give tags to runs and take others from them, in one transaction.

    Raises:
        NoSuchRun: one of the runs is not there; nothing has been changed.
    """
    with writing(db):
        for seq in [runs.seq_of(db, id) for id in ids]:
            for tag in drop:
                values = {"run": seq, "tag": tag}
                db.conn.execute("delete from tags where tag = :tag and run = :run", values)
            for tag in add:
                values = {"run": seq, "tag": tag}
                db.conn.execute("insert or ignore into tags (tag, run) values (:tag, :run)", values)


def of(db: Database, ids: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return the tags of each run that has any, in alphabetical order."""
    rows = db.conn.execute(
        """
        select runs.id, tag from json_each(:ids) asked join runs on runs.id = asked.value
        join tags on run = seq order by tag
        """,
        {"ids": json.dumps(list(ids))},
    )
    found: dict[str, tuple[str, ...]] = {}
    for id, tag in rows.fetchall():
        found[id] = (*found.get(id, ()), tag)
    return found


def counts(db: Database) -> dict[str, int]:
    """Return every tag with the number of runs that have it."""
    rows = db.conn.execute("select tag, count(*) from tags group by tag order by tag")
    return dict(rows.fetchall())
