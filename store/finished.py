"""What does a finished run say of its cell: its numbers, its data, and what it starts from?"""

from __future__ import annotations

import json
from pathlib import PurePath
from typing import Any, NamedTuple

from store.db import Database

Place = tuple[str, str, int | None]
"""Method, task and ratio: all that a run can be asked to fill."""

_ID_LENGTH = 6


class Start(NamedTuple):
    """What a run starts from, as its trainer recorded it."""

    run_id: str
    """The run of this lab that made it; empty for weights from elsewhere."""
    path: str
    sha256: str
    """Empty where the trainer did not tell."""


class Score(NamedTuple):
    """One number, with its interval over test items where one was given."""

    value: float
    low: float | None
    high: float | None


class Finished(NamedTuple):
    """A run that has succeeded."""

    id: str
    seed: int
    recipe: str
    preset: str
    selected: float | None
    """The validation metric that chose its checkpoint."""
    train_split: str
    test_split: str
    version: str
    fingerprint: str
    encoder: str
    processes: int
    """That trained together, a batch each: more of them make a larger batch."""
    start: Start | None
    scores: dict[str, Score]
    """By metric, without the split."""

    @property
    def alike(self) -> tuple[str, ...]:
        """What runs must have in common to be repeats of one another."""
        told = (self.train_split, self.test_split, self.version, self.fingerprint, self.encoder)
        return (self.recipe, *told, str(self.processes))


START = """
  parent, folder, json_extract(result, '$.encoder.run', '$.encoder.path', '$.encoder.sha256')
"""
"""What to select from `runs` for `start_of`."""


def start_of(parent: str | None, folder: str, said: str | None) -> Start | None:
    """Return what a run starts from, from a row selected with `START`; None for nothing.

    A folder beside the run's own is a run of this lab, also when that run is gone by now.
    """
    run, path, sha256 = (str(part or "") for part in json.loads(said)) if said else ("", "", "")
    if parent is None and not path:
        return None
    made_by = parent or ""
    beside = PurePath(path).parent.parent.parent == PurePath(folder).parent
    if not made_by and run and beside and PurePath(path).parent.name == "checkpoints":
        made_by = run[:_ID_LENGTH]
    return Start(made_by, path, sha256)


def of_place(db: Database, place: Place) -> list[Finished]:
    """Return the runs of `place` that have succeeded and have a number, newest first."""
    method, task, ratio = place
    rows = db.conn.execute(
        f"""
        select seq, id, seed, recipe, preset, selected_by,
          json_extract(result, '$.data.split_sha256.train', '$.data.split_sha256.test',
            '$.data.version', '$.data.fingerprint', '$.train_seconds'),
          (select sum(ended - started) from attempts where run = seq and ended > started),
          max(gpus, 1) * nodes,
          {START}
        from runs
        where method = :method and task = :task and state = 'succeeded' and ratio is :ratio
        order by created desc, seq desc
        """,
        {"method": method, "task": task, "ratio": ratio},
    ).fetchall()
    found = [_read(db, row, pretrains=task == "pretrain") for row in rows]
    return [run for run in found if run.scores]


def _read(db: Database, row: tuple[Any, ...], *, pretrains: bool) -> Finished:
    seq, id, seed, recipe, preset, selected_by, data, spent, processes, *origin = row
    train, test, version, fingerprint, trained = json.loads(data) if data else (None,) * 5
    numbers = {
        name: Score(value, low, high)
        for name, value, low, high in db.conn.execute(
            "select metric, value, low, high from results where run = :run", {"run": seq}
        )
        if value is not None
    }
    scores = {n.removeprefix("test/"): s for n, s in numbers.items() if n.startswith("test/")}
    chosen_by = numbers.get(selected_by) if selected_by else None
    if pretrains and (loss := numbers.get("val/loss")):
        scores |= {"loss": loss} | _time(trained, spent)
        chosen_by = loss  # no test set chooses it, and a lower held-out loss is all there is
    start = start_of(*origin)
    return Finished(
        id,
        seed,
        recipe,
        preset,
        chosen_by.value if chosen_by else None,
        str(train or "") if test else "",
        str(test or ""),
        str(version or ""),
        str(fingerprint or ""),
        (start.sha256 or start.run_id or start.path) if start else "",
        processes,
        start,
        scores,
    )


def _time(trained: float | None, spent: float | None) -> dict[str, Score]:
    """Return how long a training took over all its attempts (s), where anybody told.

    The trainer counts what lies behind its last checkpoint. What an attempt did beyond that before
    it was killed was spent all the same, and stands only in how long the attempts lasted.
    """
    if trained is None:
        return {}
    return {"time": Score(max(trained, spent or 0.0), None, None)}
