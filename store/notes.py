"""Which notes, open points, ideas and references are there, and which of them are done?

They live in the registry alone. An entry is named by its number, which is never given to another.
One that came from a notebook is known again at the next import by its words, so that what a person
has ticked off here since stays ticked off.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import NamedTuple

from store.db import Database, StoreError, writing

KINDS = ("note", "todo", "idea", "fact", "reference", "command")
STATES = ("", "open", "done", "warning", "endorsed")
"""`open` and `done` are of todos and ideas; a notebook marks others as a warning or endorsed."""

_REMOVED = "removed"
"""The state of what is left of an entry of a notebook: enough to not bring it in again."""


class NewEntry(NamedTuple):
    """What is known of an entry before it has a number."""

    kind: str
    text: str
    state: str = ""
    written: str = ""
    """When it was written, `2023-03-20 21:00`; empty where that is not told."""
    section: str = ""
    """The heading it stands under in its notebook."""
    source: str = ""
    """The notebook's file name; empty for what was typed here."""
    line: int | None = None
    about: str = ""
    """A run's id, a cell, a method or a task; empty for none."""


class Entry(NamedTuple):
    """One entry; as `NewEntry` has it, but with its number."""

    id: int
    kind: str
    text: str
    state: str
    written: str
    section: str
    source: str
    line: int | None
    about: str


class Brought(NamedTuple):
    """What an import did to the entries of a source."""

    new: int
    changed: int
    unchanged: int
    kept: int
    """How many stand otherwise in the notebook, and were left as a person here has set them."""
    missing: int
    """How many of an earlier import the notebook no longer has; they stay."""


class NoSuchEntry(StoreError):
    """No entry has that number."""

    def __init__(self, number: int) -> None:
        super().__init__(f"no entry has the number {number}")
        self.number = number


_COLUMNS = "id, kind, text, state, written, section, source, line, about"


def add(db: Database, new: NewEntry) -> Entry:
    """Add an entry that was typed here, and return it with its number."""
    _check(new)
    with writing(db):
        return get(db, _insert(db, new, source_state=None, key=None))


def get(db: Database, number: int) -> Entry:
    """Return the entry of that number.

    Raises:
        NoSuchEntry: there is none.
    """
    values = {"id": number, "removed": _REMOVED}
    for row in db.conn.execute(
        f"select {_COLUMNS} from entries where id = :id and state != :removed", values
    ):
        return Entry._make(row)
    raise NoSuchEntry(number)


def select(
    db: Database,
    *,
    kinds: Collection[str] = (),
    states: Collection[str] = (),
    about: str | None = None,
) -> list[Entry]:
    """Return the entries that fit every filter given, newest first; undated ones come last."""
    rows = db.conn.execute(
        f"""
        select {_COLUMNS} from entries
        where state != :removed
          and (:kinds = '[]' or kind in (select value from json_each(:kinds)))
          and (:states = '[]' or state in (select value from json_each(:states)))
          and (:about is null or about = :about)
        order by written desc, id desc
        """,
        {
            "removed": _REMOVED,
            "kinds": json.dumps(list(kinds)),
            "states": json.dumps(list(states)),
            "about": about,
        },
    )
    return [Entry._make(row) for row in rows]


def change_state(db: Database, number: int, state: str) -> Entry:
    """Set the state of an entry and return it; a later import leaves that state alone.

    Raises:
        NoSuchEntry: there is no such entry.
        StoreError: there is no such state.
    """
    if state not in STATES:
        raise StoreError(f"an entry is {', '.join(filter(None, STATES))}, and never `{state}`")
    with writing(db):
        get(db, number)
        db.conn.execute(
            "update entries set state = :state where id = :id", {"id": number, "state": state}
        )
        return get(db, number)


def rewrite(db: Database, number: int, text: str, about: str | None = None) -> Entry:
    """Change the words of an entry and return it; its notebook's next import leaves them alone.

    Where `about` is given, that changes as well.

    Raises:
        NoSuchEntry: there is no such entry.
        StoreError: there are no words.
    """
    with writing(db):
        before = get(db, number)
        _check(NewEntry(before.kind, text))
        db.conn.execute(
            "update entries set text = :text, about = :about where id = :id",
            {"id": number, "text": text, "about": before.about if about is None else about},
        )
        return get(db, number)


def remove(db: Database, number: int) -> Entry:
    """Remove an entry for good and return what it was.

    Of one from a notebook the digest of its words stays, so that the next import leaves it out.

    Raises:
        NoSuchEntry: there is no such entry.
    """
    with writing(db):
        gone = get(db, number)
        values = {"id": number, "removed": _REMOVED}
        if gone.source:
            db.conn.execute(
                """
                update entries set state = :removed, text = '', section = '', about = '',
                  written = '', line = null
                where id = :id
                """,
                values,
            )
        else:
            db.conn.execute("delete from entries where id = :id", values)
        return gone


def bring_in(db: Database, source: str, entries: Sequence[NewEntry]) -> Brought:
    """Bring in the entries of a notebook: new ones are added, known ones brought up to date.

    What a person has changed here is not reset, and what the notebook no longer has stays.
    """
    for new in entries:
        _check(new)
    with writing(db):
        known = {
            key: (number, state, before, line)
            for number, state, before, line, key in db.conn.execute(
                """
                select id, state, source_state, line, source_key from entries
                where source = :source and source_key is not null
                """,
                {"source": source},
            )
        }
        counts = dict.fromkeys(("new", "changed", "unchanged", "kept"), 0)
        seen: set[str] = set()
        for new in entries:
            key = _key(new, seen)
            if key not in known:
                _insert(db, new._replace(source=source), source_state=new.state, key=key)
                counts["new"] += 1
            else:
                counts[_update(db, new, *known[key])] += 1
        missing = sum(
            key not in seen and state != _REMOVED for key, (_, state, _, _) in known.items()
        )
    return Brought(**counts, missing=missing)


def _update(
    db: Database, new: NewEntry, number: int, state: str, before: str, line: int | None
) -> str:
    """Bring one known entry up to date, and return as what that counts."""
    if state == _REMOVED:
        return "kept"
    told = state if state != before else new.state  # a person here has the last word
    if (told, new.state, new.line) != (state, before, line):
        db.conn.execute(
            """
            update entries set state = :state, source_state = :told, line = :line where id = :id
            """,
            {"id": number, "state": told, "told": new.state, "line": new.line},
        )
    if told != state:
        return "changed"
    return "unchanged" if told == new.state else "kept"


def _key(new: NewEntry, seen: set[str]) -> str:
    """Return what makes it the same entry at the next import; marks and lines have no say."""
    words = [new.kind, new.written, " ".join(new.section.split()), " ".join(new.text.split())]
    again = 0
    while (key := _digest([*words, str(again)])) in seen:  # the same words twice
        again += 1
    seen.add(key)
    return key


def _digest(words: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _insert(db: Database, new: NewEntry, *, source_state: str | None, key: str | None) -> int:
    values = new._asdict() | {"source_state": source_state, "source_key": key}
    cursor = db.conn.execute(
        f"insert into entries ({', '.join(values)}) values (:{', :'.join(values)})", values
    )
    return int(cursor.lastrowid or 0)


def _check(new: NewEntry) -> None:
    if new.kind not in KINDS or new.state not in STATES:
        raise StoreError(f"no entry is a {new.kind} that is `{new.state}`")
    if not new.text.strip():
        raise StoreError("an entry needs words")
