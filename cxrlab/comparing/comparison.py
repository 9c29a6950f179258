"""Is A better than B, in every cell that both have?

The statistics are a child's work (`trainers.compare`); what is compared with what, and what is
refused, is settled here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cxrlab import cloning, programs
from cxrlab.comparing import differences
from cxrlab.comparing.sides import (
    PAPER,
    Entry,
    Key,
    Side,
    counterpart,
    paper_of,
    shared,
    side_of,
    where,
)
from cxrlab.comparing.verdicts import Compared, SideScore, Test, corrected
from cxrlab.errors import BadInput, CxrlabError
from cxrlab.grid import FOREIGN
from cxrlab.lab import Lab
from store import cells, runs
from store.db import Database
from trainers import metrics
from trainers.catalog import TASKS


@dataclass(frozen=True)
class Refused:
    """A cell that was not compared, and why."""

    task: str
    ratio: int | None
    error: CxrlabError


@dataclass(frozen=True)
class Comparison:
    """Every column that was compared, and what was refused."""

    names: tuple[str, str]
    columns: tuple[Compared, ...]
    refused: tuple[Refused, ...] = field(default=())


@dataclass(frozen=True)
class Asked:
    """How a comparison is to be made."""

    tasks: tuple[str, ...] = ()
    ratios: tuple[int, ...] = ()
    metrics: tuple[str, ...] = ()
    resamples: int | None = None


def compare(
    lab: Lab, db: Database, names: tuple[str, str], asked: Asked, *, say: Callable[[str], None]
) -> Comparison:
    """Return how the two sides compare, with p values corrected across the columns.

    Args:
        lab: where the runs are.
        db: its registry, open.
        names: A and B: runs by id or prefix, methods, or `paper` for B.
        asked: which cells and metrics.
        say: is told of each cell before it is worked on.

    Raises:
        NotFound: a name is neither a run nor a method, or no cell is shared.
        Usage: a run has no test result to compare.
        CxrlabError: every cell was refused; what the first one was refused for.
    """
    groups = cells.groups(db)
    first = side_of(db, names[0], groups)
    second = paper_of(first) if names[1] == PAPER else side_of(db, names[1], groups)
    keys = shared(first, second, tasks=asked.tasks, ratios=asked.ratios)
    columns: list[Compared] = []
    refused: list[Refused] = []
    for key in keys:
        pair = (first.entries[key], second.entries[counterpart(second, key)])
        try:
            refuse(first, second, key, pair)
            say(f"comparing {where(key)}")
            columns += in_cell(lab, db, key, pair, asked)
        except CxrlabError as error:
            refused.append(Refused(*key, error))
    if not columns:
        raise refused[0].error
    return Comparison((first.name, second.name), tuple(corrected(columns)), tuple(refused))


def refuse(first: Side, second: Side, key: Key, pair: tuple[Entry, Entry]) -> None:
    """Refuse two entries that no test can tell apart fairly.

    Raises:
        BadInput: other tasks, other metrics or other test images.
    """
    other = counterpart(second, key)
    if key[0] != other[0]:
        metric, theirs = (TASKS[task].metric for task in (key[0], other[0]))
        told = metrics.difference(theirs, metric) or (
            f"{first.name} is of `{key[0]}` and {second.name} of `{other[0]}`, which are tested on "
            "other images"
        )
        raise BadInput(told, "only runs of one task compare")
    splits = [entry.test_split for entry in pair]
    if all(splits) and splits[0] != splits[1]:
        shown = " and ".join(split[:12] for split in splits)
        raise BadInput(
            f"{where(key)}: the two were tested on other images (test splits {shown})",
            "test both on one list; `cxrlab show RUN` tells each run's",
        )


def in_cell(
    lab: Lab, db: Database, key: Key, pair: tuple[Entry, Entry], asked: Asked
) -> list[Compared]:
    """Return the columns of one cell, a metric each.

    Raises:
        CxrlabError: predictions are not there or do not match; exit code as the child gave it.
    """
    turned = pair[0].paper is not None  # the number stands on the second side for the child
    a, b = reversed(pair) if turned else pair
    command = [sys.executable, "-P", "-m", "trainers.compare", "--task", key[0], "--json", "--a"]
    command += map(str, a.files)
    command += ["--number", repr(b.paper.value)] if b.paper else ["--b", *map(str, b.files)]
    if not b.paper:
        command += [word for name in asked.metrics for word in ("--metric", name)]
    if asked.resamples is not None:
        command += ["--resamples", str(asked.resamples)]
    told = programs.answer_of(lab, command, wanted="comparison", key="rows")
    notes = (*told["notes"], *notes_of(pair), *unlike(db, pair))
    columns = [_column(key, row, told, (a, b), notes) for row in told["rows"]]
    return [_turned(column) for column in columns] if turned else columns


def notes_of(pair: tuple[Entry, Entry]) -> list[str]:
    """Return what a reader must know of two entries before believing a difference."""
    said = []
    if any(entry.paper for entry in pair):
        said.append(
            "the paper gives no spread: its number is taken as exact, and as measured on the same "
            "test images, which nothing here can check"
        )
    if all(len(entry.run_ids) < 2 for entry in pair if not entry.paper):
        said.append("one run a side: nothing is said of other seeds")
    elif any(len(entry.run_ids) == 1 for entry in pair):
        said.append("one side has a single run: no test over seeds")
    if any(entry.preset == "quick" for entry in pair):
        said.append("made with preset `quick`: toy sizes, which say nothing of a paper's method")
    if any(entry.preset == FOREIGN for entry in pair):
        said.append("made elsewhere and brought in: how it was trained is not known")
    trained = [entry.train_split for entry in pair if not entry.paper]
    if len(set(filter(None, trained))) > 1:
        said.append("the two were trained on other images")
    untold = [entry for entry in pair if entry.run_ids and not entry.test_split]
    if untold:
        said.append("a side does not tell its test list: images were paired by their names")
    said += [f"stale: {entry.stale}" for entry in pair if entry.stale]
    more = sum(entry.others for entry in pair)
    if more:
        said.append(f"{more} further recipes have a number here; compared is what the grid shows")
    return said


def unlike(db: Database, pair: tuple[Entry, Entry]) -> list[str]:
    """Return in what the fine-tunings of two entries differ beside the encoder they started from.

    Of each side the newest run counts; predictions made elsewhere tell no settings.
    """
    if any(entry.paper or entry.preset == FOREIGN for entry in pair):
        return []
    first, second = (runs.get(db, entry.run_ids[0]) for entry in pair)
    found = differences.of_settings(
        cloning.configuration(first),
        cloning.configuration(second),
        part="fine-tuning",
        processes=max(1, first.gpus),
        their_processes=max(1, second.gpus),
    )
    said = "; ".join(f"{each.topic}: {each.said}" for each in found)
    return [f"fine-tuned otherwise, so that not the encoders alone differ: {said}"] if said else []


def _column(
    key: Key,
    row: Mapping[str, Any],
    told: Mapping[str, Any],
    pair: tuple[Entry, Entry],
    notes: Sequence[str],
) -> Compared:
    scores = [
        SideScore(
            **row[name],
            runs=entry.run_ids,
            source=entry.paper.source if entry.paper else "",
        )
        for name, entry in zip("ab", pair, strict=True)
    ]
    return Compared(
        task=key[0],
        ratio=key[1],
        metric=row["metric"],
        better=row["better"],
        a=scores[0],
        b=scores[1],
        difference=row["difference"],
        tests=tuple(Test(**test) for test in row["tests"]),
        images=told["images"],
        patients=told["patients"],
        notes=tuple(notes),
        classes=tuple(row["classes"]),
    )


def _turned(column: Compared) -> Compared:
    """Return the column with its sides changed over."""

    def negative(value: float | None) -> float | None:
        return None if value is None else -value

    tests = tuple(
        replace(
            test,
            difference=negative(test.difference),
            low=negative(test.high),
            high=negative(test.low),
        )
        for test in column.tests
    )
    return replace(column, a=column.b, b=column.a, difference=-column.difference, tests=tests)
