"""Where are the checkpoints and samples of a run, and which encoder is the newest of a method?"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from store import runs, within
from store.db import Database, StoreError, writing

REMOVED = "removed.json"
"""The file of a run folder that says which of its checkpoints were removed, and when."""


class Artifact(NamedTuple):
    """A file that a run has named."""

    kind: str
    """`last`, `best`, `encoder` or `epoch` for a checkpoint; `sample` for a picture."""
    path: Path
    """The run's folder included."""
    step: int | None
    saved: float | None
    sha256: str | None
    caption: str
    removed: float | None = None
    """When it was removed to keep within a budget; None where it was not."""


class Encoder(NamedTuple):
    """What a finished pre-training leaves behind."""

    run_id: str
    path: Path
    recipe: str
    """Of the pre-training."""
    saved: float | None
    sha256: str | None


def of_run(db: Database, run_id: str, kind: str | None = None) -> list[Artifact]:
    """Return what the run has saved, of one kind or of all, newest first.

    Raises:
        NoSuchRun: there is no such run.
    """
    folder = Path(runs.get(db, run_id).folder)
    rows = db.conn.execute(
        f"""
        select kind, path, step, saved, sha256, caption, removed from artifacts
        where run = :run {"" if kind is None else "and kind = :kind"}
        order by saved desc, id desc
        """,
        {"run": runs.seq_of(db, run_id), "kind": kind},
    )
    return [Artifact(row[0], folder / row[1], *row[2:]) for row in rows]


def mark_removed(db: Database, run_id: str, path: str, *, at: float) -> None:
    """Note that a file of a run was removed; `path` is within its folder."""
    with writing(db):
        db.conn.execute(
            "update artifacts set removed = :at where run = :run and path = :path",
            {"run": runs.seq_of(db, run_id), "path": path, "at": at},
        )


def removed_of(folder: Path) -> dict[str, Any]:
    """Return what a run folder says of its checkpoints that were removed, by path within it."""
    return within.read_object(folder, REMOVED)


def newest_encoder(db: Database, method: str, *, preset: str | None = None) -> Encoder:
    """Return the encoder of the pre-training of `method` that was saved last.

    Only of runs that have succeeded, and only of one preset where one is given.

    Raises:
        StoreError: no such pre-training has finished.
    """
    rows = db.conn.execute(
        f"""
        select r.id, r.folder, a.path, r.recipe, a.saved, a.sha256
        from runs r join artifacts a on a.run = r.seq and a.kind = 'encoder'
        where r.method = :method and r.task = 'pretrain' and r.state = 'succeeded'
          and a.removed is null
          {"" if preset is None else "and r.preset = :preset"}
        order by a.saved desc, r.seq desc limit 1
        """,
        {"method": method, "preset": preset},
    )
    for run_id, folder, path, recipe, saved, sha256 in rows:
        return Encoder(run_id, Path(folder) / path, recipe, saved, sha256)
    named = f"`{method}`" if preset is None else f"`{method}` with preset `{preset}`"
    raise StoreError(f"no pre-training of {named} has finished")
