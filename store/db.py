"""How is the registry opened, and how is it written to by many processes at once?

A connection belongs to one thread. The file lies on a local disk: write-ahead mode needs shared
memory. Reads need nothing; every write sits inside `writing`.
"""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from store import schema

_numpy = sys.modules.get("numpy")
if _numpy is None:
    # sqlite-utils loads it where it is there, for columns of its types, of which there are none
    # here; every command would begin a tenth of a second later
    sys.modules["numpy"] = None  # type: ignore[assignment]
try:
    from sqlite_utils import Database as Database  # for all the rest
finally:
    if _numpy is None:
        del sys.modules["numpy"]

COMMAND_WAIT_S = 15.0
"""How long a command waits for the write lock; agent and runner pass `math.inf`."""

_OPEN_WAIT_S = 10.0
_LONGEST_MS = 2**31 - 1


class StoreError(Exception):
    """The registry cannot do what was asked, with what stands in the way."""


class DamagedError(StoreError):
    """What lies there is no registry, or one that the disk or somebody has spoilt."""


class ReadOnlyError(StoreError):
    """A registry that was opened for reading alone would have been written to."""


def open_store(path: Path, *, make: bool = True) -> Database:
    """Open the registry at `path`, make it where it is missing, and bring its schema up to date.

    Takes half a millisecond for a file that is up to date. The folder must exist.

    Args:
        path: the file.
        make: whether to make one that is missing; the agent does not, which ends without it.

    Raises:
        StoreError: the file cannot be opened, is no registry, or comes from a newer cxrlab.
    """
    uri = f"{path.resolve().as_uri()}?mode={'rwc' if make else 'rw'}"
    try:
        conn = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            _settle(conn)
            db = Database(conn, execute_plugins=False)
            _migrate(db, path)
        except BaseException:
            conn.close()
            raise
    except sqlite3.Error as error:
        kind = DamagedError if is_damage(error) else StoreError
        raise kind(f"cannot open the registry `{path}`: {error}") from error
    return db


def is_damage(error: BaseException) -> bool:
    """Return whether SQLite complains of what is in the file, not of who may do what with it."""
    codes = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in codes


def is_sound(db: Database) -> bool:
    """Return whether a registry can be read from end to end; looks at every page of it."""
    try:
        return bool(db.conn.execute("pragma quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError:
        return False


def open_read_only(path: Path) -> Database:
    """Open a registry that is somebody else's, without writing to it or beside it.

    One whose schema is older is brought up to date in memory. Where no write-ahead log is there,
    nobody has it open, and it is read as a file that does not change: SQLite could not make the
    log's index in a folder that is not ours. What its owner writes meanwhile is seen by the next
    that opens it.

    Raises:
        StoreError: the file cannot be opened, is no registry, or comes from a newer cxrlab.
    """
    logged = path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.resolve().as_uri()}?{'mode=ro' if logged else 'immutable=1'}"
    try:
        conn = sqlite3.connect(uri, uri=True, isolation_level=None)
        try:
            _wait(conn, COMMAND_WAIT_S)
            version = schema.version(Database(conn, execute_plugins=False))
            if version < len(schema.MIGRATIONS):
                conn = _copied(conn)
            db = Database(conn, execute_plugins=False)
            _migrate(db, path)
            conn.execute("pragma query_only = on")
        except BaseException:
            conn.close()
            raise
    except sqlite3.Error as error:
        raise StoreError(f"cannot read the registry `{path}`: {error}") from error
    return db


def _copied(conn: sqlite3.Connection) -> sqlite3.Connection:
    """Return a copy in memory, and close what was copied."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    conn.backup(copy)
    conn.close()
    return copy


@contextmanager
def writing(db: Database, wait_s: float = COMMAND_WAIT_S) -> Iterator[None]:
    """Hold the write lock from the first statement to the last; roll back on any exception.

    Inside another `writing` it joins it: only the outer one commits, and what the inner one did
    is undone alone when it raises. Waits `wait_s` for other writers; `math.inf` is as long as it
    takes.

    Raises:
        StoreError: the lock was not to be had in `wait_s`.
    """
    nested = db.conn.in_transaction
    if nested:
        begin, undo, end = (
            ["savepoint inner"],
            ["rollback to inner", "release inner"],
            "release inner",
        )
    else:
        begin, undo, end = ["begin immediate"], ["rollback"], "commit"
        _wait(db.conn, wait_s)
    try:
        for statement in begin:
            db.conn.execute(statement)
    except sqlite3.OperationalError as error:
        if _is_read_only(db.conn, error):
            raise ReadOnlyError("the registry is open for reading alone") from error
        if not _is_busy(error):
            raise StoreError(f"cannot write to the registry: {error}") from error
        raise StoreError(f"another process has kept the registry busy for {wait_s:g} s") from error
    try:
        yield
        db.conn.execute(end)
    except BaseException:
        # a full disk or a broken file may have ended the transaction by itself
        if db.conn.in_transaction:
            for statement in undo:
                db.conn.execute(statement)
        raise


def data_version(db: Database) -> int:
    """Return a number that changes when another connection has written; asking costs nothing."""
    (version,) = db.conn.execute("pragma data_version").fetchone()
    return int(version)


def _settle(conn: sqlite3.Connection) -> None:
    """Set what holds for the connection, and switch a new file to write-ahead mode."""
    _wait(conn, COMMAND_WAIT_S)
    conn.execute("pragma foreign_keys = on")
    conn.execute("pragma synchronous = normal")
    deadline = time.monotonic() + _OPEN_WAIT_S
    while True:
        try:
            (mode,) = conn.execute("pragma journal_mode = wal").fetchone()
        except sqlite3.OperationalError as error:
            # the switch does not heed busy_timeout: of eight first openings at once, one in
            # seventy failed
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise StoreError(
                f"the registry needs SQLite's write-ahead mode and got `{mode}`; "
                "does it lie on a local disk?"
            )
        return


def _migrate(db: Database, path: Path) -> None:
    known = len(schema.MIGRATIONS)
    if schema.version(db) < known:
        with writing(db, wait_s=30.0):
            # asked again: another process may have come first
            for number in range(schema.version(db), known):
                schema.MIGRATIONS[number](db)
                db.conn.execute(f"pragma user_version = {number + 1}")
    elif schema.version(db) > known:
        raise StoreError(
            f"`{path}` was written by a newer cxrlab: its schema is {schema.version(db)}, "
            f"this one knows {known}"
        )


def _wait(conn: sqlite3.Connection, wait_s: float) -> None:
    conn.execute(f"pragma busy_timeout = {int(min(wait_s * 1000, _LONGEST_MS))}")


def _is_read_only(conn: sqlite3.Connection, error: sqlite3.OperationalError) -> bool:
    (query_only,) = conn.execute("pragma query_only").fetchone()
    return bool(query_only) or error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_READONLY


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
