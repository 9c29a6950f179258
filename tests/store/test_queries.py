"""Every statement that the store makes goes by an index."""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from store import (
    artifacts,
    cells,
    claims,
    finished,
    intake,
    jobs,
    matching,
    mending,
    notices,
    offspring,
    peaks,
    points,
    predecessors,
    queue,
    rebuild,
    results,
    runs,
    settings,
    tags,
    use,
    work,
)

MODULES = (
    "runs", "queue", "jobs", "notices", "points", "artifacts", "results", "cells", "finished",
    "claims", "intake", "matching", "mending", "settings", "tags", "offspring", "peaks",
    "predecessors", "use", "work",
)  # fmt: skip
NO_QUERY = {
    "runs.new_id",
    "runs.read_row",
    "points.thin",
    "points.is_use",
    "use.stretches",
    "settings.as_text",
    "settings.as_number",
    "finished.start_of",
    "artifacts.removed_of",
    "jobs.told",
}

TERMS = [
    matching.Term("text", "state", ":", ("run",)),
    matching.Term("setting", "blr", ">", (1e-4,)),
    matching.Term("metric", "test/Dice", ">", (0.7,)),
    matching.Term("text", "tag", "=", ("x",)),
]

QUERIES: dict[str, Callable[[Any], object]] = {
    "runs.get": lambda db: runs.get(db, "aaaaaa"),
    "runs.find": lambda db: runs.find(db, "aaa"),
    "runs.select": lambda db: [
        runs.select(db, states=states, method=method, task=task, limit=20)
        for states in ((), ("queued",), ("queued", "running", "lost"))
        for method in (None, "mrm")
        for task in (None, "siim")
    ],
    "runs.count": lambda db: [
        runs.count(db, states=states, method=method, task=task)
        for states in ((), ("queued",), ("queued", "running", "lost"))
        for method in (None, "mrm")
        for task in (None, "siim")
    ],
    "queue.next_queued": lambda db: queue.next_queued(db, 3),
    "queue.unexplained": lambda db: queue.unexplained(db, 3),
    "artifacts.mark_removed": lambda db: artifacts.mark_removed(db, "aaaaaa", "a.pt", at=1.0),
    "notices.due": lambda db: notices.due(db, ("failed", "succeeded"), since=1.0),
    "notices.take": lambda db: notices.take(db, runs.get(db, "aaaaaa")),
    "queue.waiting": lambda db: queue.waiting(db),
    "queue.running": lambda db: queue.running(db),
    "matching.beginning": lambda db: matching.beginning(db, "aa", limit=5),
    "jobs.begin": lambda db: jobs.begin(db, ["cccccc"], "token", 1.0),
    "jobs.note": lambda db: jobs.note(db, "cccccc", "token", "12"),
    "jobs.close": lambda db: jobs.close(db, "cccccc", 2.0),
    "jobs.restore": lambda db: jobs.restore(db, jobs.Job("cccccc", 1, "token", "12", 1.0, None)),
    "jobs.open_jobs": lambda db: jobs.open_jobs(db),
    "jobs.open_job": lambda db: jobs.open_job(db, "cccccc"),
    "jobs.of_run": lambda db: jobs.of_run(db, "cccccc"),
    "queue.hold": lambda db: queue.hold(db, ["cccccc"]),
    "queue.release": lambda db: queue.release(db, ["cccccc"]),
    "queue.put_first": lambda db: queue.put_first(db, ["cccccc"]),
    "queue.put_last": lambda db: queue.put_last(db, ["cccccc"]),
    "queue.put_before": lambda db: queue.put_before(db, "cccccc", "bbbbbb"),
    "queue.move": lambda db: queue.move(db, "cccccc", -1),
    "queue.set_priority": lambda db: queue.set_priority(db, ["cccccc"], 2),
    "queue.newest_ended": lambda db: queue.newest_ended(db, "mrm", "siim", 3),
    "peaks.peak": lambda db: peaks.peak(
        db, "perf/peak_gib", method="mrm", task="siim", preset="quick", recipe="r-bbbbbb"
    ),
    "runs.seq_of": lambda db: runs.seq_of(db, "aaaaaa"),
    "runs.add": lambda db: runs.add(db, [describe("dddddd", needs=("aaaaaa",))]),
    "runs.add_unless_there": lambda db: runs.add_unless_there(db, [describe("eeeeee")]),
    "runs.change_state": lambda db: runs.change_state(db, "aaaaaa", "running"),
    "runs.release_waiting": lambda db: runs.release_waiting(db),
    "runs.start_attempt": lambda db: runs.start_attempt(db, "aaaaaa", 1.0),
    "runs.set_command": lambda db: runs.set_command(db, "aaaaaa", ["true"]),
    "mending.of_run": lambda db: mending.of_run(db, "aaaaaa"),
    "mending.keep": lambda db: mending.keep(db, "aaaaaa", mending.Mending()),
    "mending.begin_anew": lambda db: mending.begin_anew(db, "aaaaaa", on_oom="halve"),
    "runs.request_stop": lambda db: runs.request_stop(db, "aaaaaa", 1.0),
    "runs.remove": lambda db: runs.remove(db, "cccccc"),
    "points.curve": lambda db: points.curve(db, "aaaaaa", "train/loss", after=3),
    "points.metric_names": lambda db: points.metric_names(db, "aaaaaa"),
    "points.every": lambda db: list(points.every(db, "aaaaaa")),
    "points.pieces": lambda db: points.pieces(db, "aaaaaa", "train/loss"),
    "offspring.of_task": lambda db: offspring.of_task(db, "siim"),
    "predecessors.best": lambda db: predecessors.best(db, runs.get(db, "cccccc")),
    "work.repeats": lambda db: work.repeats(db, "mrm", "siim"),
    "work.spent": lambda db: work.spent(db, "mrm", "siim"),
    "points.is_logged": lambda db: points.is_logged(db, "aaaaaa", "train/loss"),
    "points.last": lambda db: points.last(db, "aaaaaa"),
    "use.take_in": lambda db: use.take_in(db, "aaaaaa", Path(runs.get(db, "aaaaaa").folder)),
    "use.forget": lambda db: use.forget(db, 1),
    "use.of_run": lambda db: use.of_run(db, "aaaaaa", now=1.0),
    "use.of_runs": lambda db: use.of_runs(db, ["aaaaaa", "bbbbbb"], now=1.0),
    "use.lately": lambda db: use.lately(db, "aaaaaa"),
    "artifacts.of_run": lambda db: artifacts.of_run(db, "aaaaaa", "last"),
    "artifacts.newest_encoder": lambda db: artifacts.newest_encoder(db, "mrm", preset="quick"),
    "results.of_run": lambda db: results.of_run(db, "aaaaaa"),
    "results.document": lambda db: results.document(db, "aaaaaa"),
    "results.division": lambda db: results.division(db, "aaaaaa"),
    "results.of_data_version": lambda db: results.of_data_version(db, "pretrain", "V3"),
    "results.warnings": lambda db: results.warnings(db, "aaaaaa"),
    "results.attempts": lambda db: results.attempts(db, "aaaaaa"),
    "results.kept_events": lambda db: results.kept_events(db, "aaaaaa"),
    "cells.groups": cells.groups,
    "cells.open_runs": cells.open_runs,
    "cells.groups of some": lambda db: cells.groups(db, {("siim", "Dice")}),
    "cells.waiting": cells.waiting,
    "cells.methods": cells.methods,
    "cells.encoders": lambda db: cells.encoders(db, ["bbbbbb"]),
    "finished.of_place": lambda db: finished.of_place(db, ("mrm", "pretrain", None)),
    "claims.claim": lambda db: claims.claim(db, "aaaaaa", ["GPU-1"]),
    "claims.release": lambda db: claims.release(db, "aaaaaa"),
    "claims.held": claims.held,
    "claims.every": claims.every,
    "intake.take_in": lambda db: intake.take_in(db, "aaaaaa", Path(runs.get(db, "aaaaaa").folder)),
    "intake.forget": lambda db: intake.forget(db, "aaaaaa"),
    "matching.ids": lambda db: matching.ids(db, TERMS[:1], limit=20),
    "matching.count": lambda db: matching.count(db, TERMS),
    "matching.groups": lambda db: matching.groups(db, TERMS, "method"),
    "settings.unread": settings.unread,
    "settings.keep": lambda db: settings.keep(db, [("r-aaaaaa", {"blr": 1e-4})]),
    "settings.names": settings.names,
    "settings.of_recipes": lambda db: settings.of_recipes(db, ["r-aaaaaa"], ["blr"]),
    "tags.change": lambda db: tags.change(db, ["aaaaaa"], add=["x"], drop=["y"]),
    "tags.of": lambda db: tags.of(db, ["aaaaaa"]),
    "tags.counts": tags.counts,
    "results.one_each": lambda db: results.one_each(db, {"aaaaaa": "test/Dice"}),
    "rebuild.rebuild": lambda db: rebuild.rebuild(db, Path(runs.get(db, "aaaaaa").folder).parent),
}

# tables with a row a metric, a device, a number of the grid, a tag or a value that a setting has
# had, of which all are wanted; and what is asked itself
SMALL = {
    "tags",
    "settings",
    "json_each",
    "asked",
    "wanted",
    "m",
    "metrics",
    "claims",
    "CONSTANT",
    "cells_changed",
    "cell_groups",
    "each",
}


def describe(id: str, **fields: Any) -> runs.NewRun:
    new = runs.NewRun(id, "mrm", "siim", 10, 0, "quick", f"r-{id}", f"/{id}", None, ["true"], 0)
    return new._replace(**fields)


@pytest.fixture
def filled(db: Any, add_run: Any, write_events: Any) -> Any:
    folder = add_run("aaaaaa", task="pretrain", state="succeeded")
    add_run("bbbbbb", needs=("aaaaaa",))
    add_run("cccccc")
    claims.claim(db, "bbbbbb", ["GPU-0"])
    write_events(
        folder,
        {"kind": "start", "step": 0},
        {"kind": "metrics", "step": 5, "values": {"train/loss": 1.0}},
        {"kind": "checkpoint", "kind_of": "encoder", "path": "e.pt"},
    )
    stretch = {"t": 1.0, "attempt": 1, "at": 5.0, "s": 900.0, "values": {"gpu/0/utilization": 9.0}}
    (folder / use.FILE_NAME).write_text(json.dumps(stretch) + "\n")
    intake.take_in(db, "aaaaaa", folder)
    with (folder / use.FILE_NAME).open("a") as file:
        file.write(json.dumps(stretch | {"at": 905.0}) + "\n")
    write_events(
        folder,
        {"kind": "start", "step": 4},
        {"kind": "metrics", "step": 5, "values": {"val/loss": 1.0}},
        {"kind": "sample", "path": "s.png"},
        {"kind": "warning", "message": "w"},
        {"kind": "result", "values": {"test/Dice": 1.0}},
        {"kind": "end", "outcome": "succeeded"},
    )
    return db


def plans_of(db: Any, act: Callable[[Any], object]) -> list[tuple[str, str]]:
    """Every statement that `act` makes, with each line of its plan."""
    made: list[str] = []
    db.conn.set_trace_callback(made.append)
    act(db)
    db.conn.set_trace_callback(None)
    planned = [sql for sql in made if re.match(r"\s*(select|insert|update|delete)", sql)]
    assert planned, "nothing was asked of the registry"
    return [
        (sql, detail)
        for sql in planned
        for *_, detail in db.conn.execute(f"explain query plan {sql}")
    ]


def reads_it_all(detail: str) -> bool:
    """Whether a plan walks a whole table; the list of runs may, in the order of its index."""
    scan = re.match(r"SCAN (\S+)(.*)", detail)
    if not scan or scan[1] in SMALL or scan[1] == "(subquery-2)":
        return False
    if "INDEX jobs_open" in scan[2]:  # which holds those alone that are not over
        return False
    in_order = re.search(r"USING (COVERING )?INDEX runs_", scan[2])
    return not (scan[1] == "runs" and in_order)


@pytest.mark.parametrize("name", QUERIES)
def test_no_statement_walks_through_a_whole_table(filled: Any, name: str) -> None:
    walks = [(sql, line) for sql, line in plans_of(filled, QUERIES[name]) if reads_it_all(line)]
    assert walks == []


@pytest.mark.parametrize("name", ["runs.select", "queue.next_queued", "matching.ids"])
def test_a_page_of_runs_is_read_in_order_and_not_sorted(filled: Any, name: str) -> None:
    assert [line for _, line in plans_of(filled, QUERIES[name]) if "TEMP B-TREE" in line] == []


def test_every_public_function_of_the_store_is_among_those_looked_at() -> None:
    public = {
        f"{module}.{name}"
        for module in MODULES
        for name, value in vars(importlib.import_module(f"store.{module}")).items()
        if inspect.isfunction(value)
        and value.__module__ == f"store.{module}"
        and not name.startswith("_")
    }
    assert public - NO_QUERY <= set(QUERIES)


def test_a_walk_through_all_points_would_be_noticed(filled: Any) -> None:
    act = lambda db: db.conn.execute("select sum(value) from points").fetchall()  # noqa: E731
    assert any(reads_it_all(line) for _, line in plans_of(filled, act))


def test_open_jobs_are_not_looked_for_among_all_runs(db: Any) -> None:
    lines = [line for _, line in plans_of(db, jobs.open_jobs)]  # nothing is known of the sizes
    assert [line for line in lines if line.startswith("SCAN")] == ["SCAN j USING INDEX jobs_open"]


def test_numbers_and_tags_of_many_runs_are_read_in_one_statement_each(filled: Any) -> None:
    tags.change(filled, ["aaaaaa", "bbbbbb"], add=["b", "a"])
    intake.take_in(filled, "aaaaaa", Path(runs.get(filled, "aaaaaa").folder))
    made: list[str] = []
    filled.conn.set_trace_callback(made.append)
    assert tags.of(filled, ["aaaaaa", "bbbbbb", "cccccc", "gone"]) == {
        "aaaaaa": ("a", "b"),
        "bbbbbb": ("a", "b"),
    }
    found = results.one_each(
        filled, {"aaaaaa": "test/Dice", "bbbbbb": "test/Dice", "gone": "test/Dice"}
    )
    assert {id: (number.metric, number.value) for id, number in found.items()} == {
        "aaaaaa": ("test/Dice", 1.0)
    }
    assert results.one_each(filled, {"aaaaaa": "test/AUROC"}) == {}
    filled.conn.set_trace_callback(None)
    assert len(made) == 3
