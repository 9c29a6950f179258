"""Which runs does a filter mean? Ids of runs by terms, newest first, a window at a time.

Without terms it walks the index over time and reads no more than the window. With terms it looks at
every run in that order until the window is full, and counting looks at all of them. So neither
belongs on a thread that draws; docs/filtering.md gives the times.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from store.db import Database

Kind = Literal["word", "text", "number", "setting", "metric"]

TEXTS = {
    "id": "id",
    "method": "method",
    "task": "task",
    "state": "state",
    "preset": "preset",
    "recipe": "recipe",
    "reason": "reason",
    "parent": "coalesce(parent, '')",
    "tag": "",
}
"""Fields that are text; a tag is looked up where it is kept."""

NUMBERS = {
    "ratio": "ratio",
    "seed": "seed",
    "attempt": "attempt",
    "step": "step",
    "epoch": "epoch",
    "gpus": "gpus",
    "priority": "priority",
    "warnings": "warnings",
    "done": "done * 1.0 / total",
    "took": "coalesce(ended, :now) - started",
    "left": "case state when 'running' then eta_s end",
    "age": ":now - created",
}
"""Fields that are numbers; times in seconds, `done` in [0, 1]."""

_BEGINNINGS = ("id", "state", "preset", "recipe", "parent")
"""Named by how they begin; other texts by any part of them."""

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

GROUPS = ("method", "task", "state")
"""By what runs can be gathered."""


class Term(NamedTuple):
    """One condition that a run fits or does not."""

    kind: Kind
    name: str
    """Of the field, setting or metric; empty for a word."""
    sign: str
    """`:` (part or beginning), `=`, `!=`, `<`, `<=`, `>`, `>=`; `is` also minds capitals."""
    values: tuple[str | float, ...]
    """Any of them will do."""
    negated: bool = False


def ids(
    db: Database,
    terms: Sequence[Term],
    *,
    limit: int | None = None,
    offset: int = 0,
    order: str = "newest",
    now: float = 0.0,
) -> list[str]:
    """Return the ids of the runs that every term fits, newest first.

    By another of `ORDERS` all that fit are looked at before the first is given.
    """
    where, values = _where(terms, now)
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


def count(db: Database, terms: Sequence[Term], *, now: float = 0.0) -> int:
    """Return how many runs every term fits."""
    where, values = _where(terms, now)
    (number,) = db.conn.execute(f"select count(*) from runs{where}", values).fetchone()
    return int(number)


def groups(
    db: Database, terms: Sequence[Term], by: str, *, now: float = 0.0
) -> list[tuple[str, int]]:
    """Return each value of one of `GROUPS` with how many runs of it every term fits."""
    assert by in GROUPS
    where, values = _where(terms, now)
    order = ORDERS["state"] if by == "state" else ""
    rows = db.conn.execute(
        f"select {by}, count(*) from runs{where} group by {by} order by {order}{by}", values
    )
    return rows.fetchall()


def _where(terms: Sequence[Term], now: float) -> tuple[str, dict[str, Any]]:
    """Return the condition, each value of it under a name of its own."""
    values: dict[str, Any] = {}
    conditions = []
    for n, term in enumerate(terms):
        each = []
        for m, value in enumerate(term.values):
            name = f"t{n}_{m}"
            lower = isinstance(value, str) and term.sign != "is"
            values[name] = str(value).lower() if lower else value
            each.append(_condition(term, f":{name}"))
        if term.kind in ("setting", "metric"):
            values[f"n{n}"] = term.name
            each = [sql.replace(":name", f":n{n}") for sql in each]
        fits = f"({' or '.join(each)})"
        wanted = (term.sign != "!=") != term.negated
        conditions.append(fits if wanted else f"not coalesce({fits}, 0)")
    if any(":now" in condition for condition in conditions):
        values["now"] = now
    return (f" where {' and '.join(conditions)}" if conditions else ""), values


def _condition(term: Term, value: str) -> str:
    """Return what a run has to be like for one of the term's values; `!=` as if it were `=`."""
    sign = "=" if term.sign in (":", "!=") else term.sign
    if term.kind == "word":
        near = [f"instr(lower({field}), {value})" for field in ("method", "task", "reason")]
        begun = [f"substr(id, 1, length({value})) = {value}"]
        begun += [f"substr(state, 1, length({value})) = {value}", f"preset = {value}"]
        return " or ".join([*near, *begun, _tagged(f"instr(lower(tag), {value})")])
    if term.kind == "number":
        return f"{NUMBERS[term.name]} {sign} {value}"
    if term.kind == "metric":
        fits = f"metric = :name and value {sign} {value}"
        return f"exists (select 1 from results where run = runs.seq and {fits})"
    if term.kind == "setting":
        return _set_to(_of_setting(term.sign, sign, value))
    if term.name == "tag":
        part = f"instr(lower(tag), {value})"
        return _tagged(part if term.sign == ":" else f"lower(tag) = {value}")
    field = TEXTS[term.name]
    if term.sign == "is":
        return f"{field} = {value}"
    if term.sign != ":":
        return f"lower({field}) = {value}"
    if term.name in _BEGINNINGS:
        return f"substr({field}, 1, length({value})) = {value}"
    return f"instr(lower({field}), {value})"


def _tagged(fits: str) -> str:
    return f"seq in (select run from tags where {fits})"


def _set_to(fits: str) -> str:
    return f"""recipe in (
      select r.recipe from settings s join recipe_settings rs on rs.setting = s.id
      join recipes r on r.id = rs.recipe where s.name = :name and {fits}
    )"""


def _of_setting(said: str, sign: str, value: str) -> str:
    """Return what a setting has to be like; a number is compared as one."""
    number = f"(typeof({value}) = 'real' and s.number {sign} {value})"
    if said == ":":
        return f"({number} or typeof({value}) = 'text' and instr(lower(s.value), {value}))"
    if sign == "=":
        return f"({number} or lower(s.value) = {value})"
    return number
