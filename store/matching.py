"""Which runs does what a person types mean? Ids of runs by words, newest first, a window at a time.

Without words it walks the index over time and reads no more than the window. With words it looks at
every run in that order until the window is full, and counting looks at all of them. Measured on
two cores: 0.04 s for one word and 0.05 s for three among 10,000 runs; 0.4 s and 1.4 s among 100,000
while other work kept the cores busy. So neither belongs on a thread that draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlite_utils import Database

FIELDS = ("id", "method", "task", "state", "ratio", "seed", "preset", "recipe")
"""What `field:word` may name."""

ORDERS = {
    "newest": "",
    "state": """
        case state when 'running' then 0 when 'queued' then 1 when 'blocked' then 2
        when 'failed' then 3 when 'lost' then 4 when 'stopped' then 5 else 6 end,
    """,
    "method": "method, task, ratio, ",
    "longest": "ended - started desc, ",
}
"""How runs can be sorted; among equals the newest comes first."""


def words(typed: str) -> list[tuple[str, str]]:
    """Return (field, word) for each word typed; the field is empty where none was named.

    `state:run mrm` is `[("state", "run"), ("", "mrm")]`. A field that does not exist is part of
    the word.
    """
    found = []
    for word in typed.lower().split():
        field, colon, rest = word.partition(":")
        found.append((field, rest) if colon and field in FIELDS else ("", word))
    return found


def ids(
    db: Database,
    terms: Sequence[tuple[str, str]],
    *,
    limit: int | None = None,
    offset: int = 0,
    order: str = "newest",
) -> list[str]:
    """Return the ids of the runs that every term fits, newest first.

    By another of `ORDERS` all that fit are looked at before the first is given.
    """
    where, values = _where(terms)
    values |= {"limit": -1 if limit is None else limit, "offset": offset}
    rows = db.conn.execute(
        f"""
        select id from runs{where}
        order by {ORDERS[order]}created desc, seq desc limit :limit offset :offset
        """,
        values,
    )
    return [id for (id,) in rows]


def beginning(db: Database, prefix: str, *, limit: int) -> list[str]:
    """Return the ids that begin so, in their own order, by the index over them."""
    rows = db.conn.execute(
        "select id from runs where id >= :prefix and id < :prefix || '{' order by id limit :limit",
        {"prefix": prefix, "limit": limit},
    )
    return [id for (id,) in rows]


def count(db: Database, terms: Sequence[tuple[str, str]]) -> int:
    """Return how many runs every term fits."""
    where, values = _where(terms)
    (number,) = db.conn.execute(f"select count(*) from runs{where}", values).fetchone()
    return int(number)


def _where(terms: Sequence[tuple[str, str]]) -> tuple[str, dict[str, Any]]:
    """Return the condition, each term in a value of its own.

    An id, a preset, a recipe and a state are named by how they begin, a ratio and a seed in full;
    a method and a task by any part of them.
    """
    conditions = []
    values: dict[str, Any] = {}
    for n, (field, word) in enumerate(terms):
        value = f":term{n}"
        fits = {
            "id": f"substr(id, 1, length({value})) = {value}",
            "method": f"instr(lower(method), {value})",
            "task": f"instr(lower(task), {value})",
            "state": f"substr(state, 1, length({value})) = {value}",
            "ratio": f"cast(ratio as text) = rtrim({value}, '%')",
            "seed": f"cast(seed as text) = {value}",
            "preset": f"substr(preset, 1, length({value})) = {value}",
            "recipe": f"substr(recipe, 1, length({value})) = {value}",
        }
        if field and not word:
            continue  # `state:` on the way to `state:running` leaves nothing out
        values[f"term{n}"] = word
        chosen = [fits[field]] if field else [fits[f] for f in ("id", "method", "task", "state")]
        conditions.append(f"({' or '.join(chosen)})")
    return (f" where {' and '.join(conditions)}" if conditions else ""), values
