"""Many at work, one registry: nothing is lost, nothing is taken twice, nobody fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from store import claims, intake, points, results, runs
from store.db import open_store

WORKER = Path(__file__).with_name("worker.py")
ROOT = Path(__file__).parents[2]
MANY = 8


def start(job: str, registry: Path, go: Path, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(WORKER), job, str(registry), str(go), *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def together(workers: Sequence[subprocess.Popen[str]], go: Path) -> list[Any]:
    """Let all workers go once every one is ready, and return what each printed."""
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    go.touch()
    answers = []
    for worker in workers:
        out, err = worker.communicate(timeout=900)
        assert worker.returncode == 0, err
        answers.append(json.loads(out))
    go.unlink()
    return answers


def countable(number: int) -> list[dict[str, Any]]:
    """Events of which one taken twice would show: kept lines and counted warnings."""
    events: list[dict[str, Any]] = []
    for step in range(1, number // 3 + 1):
        events.append({"kind": "metrics", "step": step, "values": {"train/loss": 1.0 / step}})
        events.append({"kind": "stranger", "number": step})
        events.append({"kind": "warning", "message": "odd image", "path": "a.png"})
    return events


@pytest.mark.slow
def test_eight_processes_take_in_one_file_and_every_event_arrives_once(
    db: Any, registry: Path, tmp_path: Path, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa")
    events = countable(6000)
    write_events(folder, *events)
    go = tmp_path / "go"
    workers = [start("take_in", registry, go, "aaaaaa", folder, 20_000) for _ in range(MANY)]
    taken = together(workers, go)
    assert sum(taken) == len(events)
    kept = [event["number"] for event in results.kept_events(db, "aaaaaa")]
    assert kept == list(range(1, len(events) // 3 + 1))
    assert runs.get(db, "aaaaaa").warnings == len(events) // 3
    assert len(points.curve(db, "aaaaaa", "train/loss", most=10_000)) == len(events) // 3


@pytest.mark.slow
def test_killing_ingesters_in_mid_work_loses_and_doubles_nothing(
    db: Any, registry: Path, tmp_path: Path, add_run: Any, write_events: Any
) -> None:
    folder = add_run("aaaaaa")
    events = countable(60_000)
    write_events(folder, *events)
    size = (folder / "events.jsonl").stat().st_size
    go = tmp_path / "go"
    killed_at = []
    for _ in range(4):
        before = offset(db)
        worker = start("take_in", registry, go, "aaaaaa", folder, 20_000)
        assert worker.stdout is not None
        worker.stdout.readline()
        go.touch()
        while offset(db) == before:
            time.sleep(0.001)
        worker.kill()
        worker.communicate()
        go.unlink()
        killed_at.append(offset(db))
    assert 0 < killed_at[0] < killed_at[-1] < size, "no worker was killed in mid-work"
    intake.take_in(db, "aaaaaa", folder)
    assert offset(db) == size
    kept = [event["number"] for event in results.kept_events(db, "aaaaaa")]
    assert kept == list(range(1, len(events) // 3 + 1))
    assert runs.get(db, "aaaaaa").warnings == len(events) // 3
    assert db.conn.execute("pragma integrity_check").fetchone() == ("ok",)


def offset(db: Any) -> int:
    return int(db.conn.execute("select events_offset from runs").fetchone()[0])


@pytest.mark.slow
def test_eight_writers_at_once_all_succeed_and_no_write_is_lost(
    db: Any, registry: Path, tmp_path: Path, add_run: Any
) -> None:
    add_run("aaaaaa")
    go = tmp_path / "go"
    workers = [start("write", registry, go, "aaaaaa", 200) for _ in range(MANY)]
    assert together(workers, go) == [200] * MANY
    assert runs.get(db, "aaaaaa").attempt == 200 * MANY
    assert len(results.attempts(db, "aaaaaa")) == 200 * MANY


@pytest.mark.slow
def test_a_registry_that_is_not_there_yet_may_be_opened_by_eight_at_once(tmp_path: Path) -> None:
    tables = set(open_store(tmp_path / "alone.db").table_names())
    barrier = threading.Barrier(MANY)

    def open_at_once(registry: Path) -> set[str]:
        barrier.wait(timeout=900)
        return set(open_store(registry).table_names())

    with ThreadPoolExecutor(MANY) as pool:
        for round in range(6):
            opened = pool.map(open_at_once, [tmp_path / f"{round}.db"] * MANY)
            assert list(opened) == [tables] * MANY


def test_of_equal_launches_at_once_one_adds_the_run(
    db: Any, registry: Path, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    workers = [start("add_unless_there", registry, go, "recipe") for _ in range(4)]
    answers: list[list[str]] = together(workers, go)
    assert sorted(map(len, answers)) == [0, 0, 0, 1]
    assert [run.id for run in runs.select(db)] == [id for ids in answers for id in ids]


def test_of_runs_that_claim_one_gpu_at_once_one_gets_it(
    db: Any, registry: Path, tmp_path: Path, add_run: Callable[..., Path]
) -> None:
    ids = ["aaaaaa", "bbbbbb", "cccccc", "dddddd"]
    for id in ids:
        add_run(id)
    go = tmp_path / "go"
    workers = [start("claim", registry, go, id, "GPU-1", f"GPU-{id}") for id in ids]
    answers = together(workers, go)
    (winner,) = [id for id, won in zip(ids, answers, strict=True) if won]
    assert claims.held(db) == {"GPU-1": winner, f"GPU-{winner}": winner}
