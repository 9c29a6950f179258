from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from store import artifacts, cells, claims, points, results, runs, schema
from store.db import StoreError, open_store

VERSION_1 = Path(__file__).with_name("version_1.sql")


def definitions(conn: Any) -> set[str]:
    """Every table and index as SQL, without blanks that mean nothing."""
    rows = conn.execute("select sql from sqlite_master where sql is not null")
    return {" ".join(sql.split()).replace(" ,", ",") for (sql,) in rows}


@pytest.fixture
def old_registry(registry: Path) -> Path:
    """A registry as version 1 left it, with a pre-training and a fine-tuning that waits for it."""
    conn = sqlite3.connect(registry)
    conn.executescript(VERSION_1.read_text(encoding="utf-8"))
    conn.close()
    return registry


def test_a_version_1_file_opens_with_everything_it_held(old_registry: Path) -> None:
    db = open_store(old_registry)
    assert schema.version(db) == len(schema.MIGRATIONS)
    assert [(run.id, run.state, run.needs) for run in runs.select(db)] == [
        ("bbbbbb", "running", ("aaaaaa",)),
        ("aaaaaa", "succeeded", ()),
    ]
    assert points.curve(db, "aaaaaa", "train/loss") == [(1, 2.5), (2, 1.25)]
    assert artifacts.newest_encoder(db, "mrm").sha256 == "e" * 64
    assert [(g.metric, g.mean) for g in cells.groups(db)] == [("loss", 0.75)]
    assert results.warnings(db, "aaaaaa")[0].path == "a.png"
    assert results.kept_events(db, "aaaaaa") == [{"t": 6.0, "kind": "stranger", "x": 1}]
    assert claims.held(db) == {"cpu:0": "bbbbbb"}
    assert db.conn.execute("pragma foreign_key_check").fetchall() == []


def test_a_version_1_file_ends_with_the_schema_of_a_new_one(
    old_registry: Path, tmp_path: Path
) -> None:
    new = open_store(tmp_path / "new.db")
    assert definitions(open_store(old_registry).conn) == definitions(new.conn)


def test_the_first_migration_is_what_it_was_when_version_1_was_written(
    old_registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = definitions(sqlite3.connect(old_registry))
    monkeypatch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:1])
    assert definitions(open_store(tmp_path / "new.db").conn) == frozen


def test_a_migration_added_later_runs_once_and_keeps_the_rows(
    old_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(db: Any) -> None:
        db.conn.execute("alter table runs add column mood text not null default 'calm'")

    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, second])
    for _ in range(2):
        db = open_store(old_registry)
        assert schema.version(db) == len(schema.MIGRATIONS)
        moods = db.conn.execute("select id, mood from runs order by id").fetchall()
        assert moods == [("aaaaaa", "calm"), ("bbbbbb", "calm")]
        db.conn.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(
    old_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bad(db: Any) -> None:
        db.conn.execute("delete from points")
        db.conn.execute("alter table nowhere add column x")

    untouched = old_registry.with_name("untouched.db")
    shutil.copy(old_registry, untouched)
    known = len(schema.MIGRATIONS)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, bad])
        with pytest.raises(StoreError, match="nowhere"):
            open_store(old_registry)
    db = open_store(old_registry)
    assert schema.version(db) == known
    assert len(points.curve(db, "aaaaaa", "train/loss")) == 2
    assert definitions(db.conn) == definitions(open_store(untouched).conn)


def test_a_state_that_does_not_exist_is_refused_by_the_file_itself(db: Any, add_run: Any) -> None:
    add_run("aaaaaa")
    with pytest.raises(sqlite3.IntegrityError):
        db.conn.execute("update runs set state = 'asleep'")
