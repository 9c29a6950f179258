from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from store import runs, schema
from store.db import StoreError, data_version, open_store, writing


def add_metric(db: Any, name: str) -> None:
    db.conn.execute("insert into metrics (name) values (:name)", {"name": name})


def metrics(db: Any) -> list[str]:
    return [name for (name,) in db.conn.execute("select name from metrics order by id")]


def add_and_fail(db: Any, name: str) -> None:
    with writing(db):
        add_metric(db, name)
        raise KeyError


def test_a_new_registry_is_in_write_ahead_mode_with_foreign_keys_on(db: Any) -> None:
    assert db.conn.execute("pragma journal_mode").fetchone() == ("wal",)
    assert db.conn.execute("pragma foreign_keys").fetchone() == (1,)
    assert db.conn.execute("pragma synchronous").fetchone() == (1,)


def test_a_file_that_is_no_database_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    path.write_text("a letter to a friend, longer than the header of a database\n" * 30)
    with pytest.raises(StoreError, match=r"registry\.db.*not a database"):
        open_store(path)


def test_a_registry_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open the registry"):
        open_store(tmp_path / "nowhere" / "registry.db")
    assert not (tmp_path / "nowhere").exists()


def test_who_looks_after_a_registry_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        open_store(tmp_path / "a #?%.db", make=False)
    assert list(tmp_path.iterdir()) == []
    open_store(tmp_path / "a #?%.db").conn.close()
    open_store(tmp_path / "a #?%.db", make=False).conn.close()
    assert (tmp_path / "a #?%.db").exists()


def test_opening_waits_for_another_process_that_is_at_the_new_file(registry: Path) -> None:
    other = sqlite3.connect(registry, isolation_level=None, check_same_thread=False)
    other.execute("create table first_come (x)")
    other.execute("begin immediate")
    other.execute("insert into first_come values (1)")
    timer = threading.Timer(0.3, lambda: other.execute("rollback"))
    timer.start()
    db = open_store(registry)
    timer.join()
    assert schema.version(db) == len(schema.MIGRATIONS)


def test_an_exception_undoes_the_whole_of_writing(db: Any) -> None:
    with pytest.raises(KeyError):
        add_and_fail(db, "a")
    assert metrics(db) == []
    assert not db.conn.in_transaction


def test_an_exception_caught_inside_an_outer_writing_undoes_the_inner_alone(db: Any) -> None:
    with writing(db):
        add_metric(db, "outer")
        with pytest.raises(KeyError):
            add_and_fail(db, "inner")
        with writing(db):
            add_metric(db, "second")
    assert metrics(db) == ["outer", "second"]


def test_a_writer_that_waited_in_vain_is_told_so_after_its_time(db: Any, registry: Path) -> None:
    other = open_store(registry)
    with writing(other):
        began = time.monotonic()
        with pytest.raises(StoreError, match=r"busy for 0\.2 s"), writing(db, wait_s=0.2):
            pass
        assert 0.15 < time.monotonic() - began < 60
    with writing(db, wait_s=0.2):
        add_metric(db, "later")
    assert metrics(other) == ["later"]


def test_a_reader_sees_the_old_rows_while_a_writer_is_at_work(db: Any, registry: Path) -> None:
    other = open_store(registry)
    with writing(other):
        add_metric(other, "new")
        assert metrics(db) == []
    assert metrics(db) == ["new"]


def test_a_broken_foreign_key_is_found_at_the_end_of_writing(db: Any, add_run: Any) -> None:
    add_run("aaaaaa")
    with pytest.raises(sqlite3.IntegrityError), writing(db):
        db.conn.execute("update runs set parent = 'nobody'")
    assert runs.get(db, "aaaaaa").parent is None
    assert not db.conn.in_transaction


def test_the_data_version_changes_when_another_connection_has_written(
    db: Any, registry: Path
) -> None:
    before = data_version(db)
    assert data_version(db) == before
    other = open_store(registry)
    with writing(other):
        add_metric(other, "new")
    assert data_version(db) != before


def test_the_data_version_stays_when_nothing_was_written_under_the_lock(
    db: Any, registry: Path
) -> None:
    other = open_store(registry)
    before = data_version(db)
    with writing(other):
        metrics(other)
    assert data_version(db) == before


def test_a_registry_of_a_newer_version_is_refused_and_left_as_it_is(
    db: Any, registry: Path
) -> None:
    newer = len(schema.MIGRATIONS) + 1
    db.conn.execute(f"pragma user_version = {newer}")
    with pytest.raises(StoreError, match=f"schema is {newer}, this one knows {newer - 1}"):
        open_store(registry)
    assert schema.version(db) == newer
