"""A registry in a temporary folder, and runs to put into it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from store import runs
from store.db import Database, open_store


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    return tmp_path / "registry.db"


@pytest.fixture
def db(registry: Path) -> Iterator[Database]:
    opened = open_store(registry)
    yield opened
    opened.conn.close()


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., runs.NewRun]:
    """Describe a run; every field has a default that tests may replace."""

    def describe(id: str, **fields: Any) -> runs.NewRun:
        run = runs.NewRun(
            id=id,
            method="mrm",
            task="siim",
            ratio=10,
            seed=0,
            preset="quick",
            recipe=f"recipe-of-{id}",
            folder=str(tmp_path / "runs" / id),
            parent=None,
            command=["python", "-m", "trainers.finetune", "--task", "siim"],
            gpus=0,
        )
        return run._replace(**fields)

    return describe


@pytest.fixture
def add_run(db: Database, new_run: Callable[..., runs.NewRun]) -> Callable[..., Path]:
    """Add a run, with a state where one is given; return its folder, which exists."""

    def add(id: str, *, state: str = "", at: float = 100.0, **fields: Any) -> Path:
        run = new_run(id, **fields)
        runs.add(db, [run], at=at)
        if state:
            runs.change_state(db, id, state, at=at)
        folder = Path(run.folder)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    return add


@pytest.fixture
def write_events() -> Callable[..., None]:
    """Append events to a run folder, each a dict and a line; `t` counts up from 1."""

    def write(folder: Path, *events: dict[str, Any]) -> None:
        with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
            for t, event in enumerate(events, start=1):
                file.write(json.dumps({"t": float(t), **event}) + "\n")

    return write
