"""What were runs set to? Kept once for each recipe, since all its runs are set alike.

A hundred thousand runs of sixty settings would be six million rows; their recipes are fewer, and a
value that many share is written once. Where a run lies and which repeat it is are no part of a
recipe, and are not kept here.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from store import runs
from store.db import Database, writing

LONGEST = 200
"""Characters of a value that are kept."""


class Unread(NamedTuple):
    """A recipe whose settings are not known yet, and the folder of a run that has them."""

    recipe: str
    folder: str
    ended: bool


def unread(db: Database) -> list[Unread]:
    """Return the recipes of which no settings are kept, each with its newest run."""
    rows = db.conn.execute(
        """
        select recipe, folder, state, max(seq) from runs
        where recipe <> '' and recipe not in (select recipe from recipes)
        group by recipe order by recipe
        """
    )
    return [Unread(recipe, folder, state in runs.ENDED) for recipe, folder, state, _ in rows]


def keep(db: Database, found: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Keep the settings of recipes; one that is known keeps what it has."""
    known: dict[tuple[str, str], int] = {}
    with writing(db):
        for recipe, settings in found:
            added = db.conn.execute(
                "insert or ignore into recipes (recipe) values (:recipe)", {"recipe": recipe}
            )
            if not added.rowcount:
                continue
            pairs = [(name, as_text(value)) for name, value in settings.items()]
            for pair in pairs:
                if pair not in known:
                    known[pair] = _setting(db, *pair)
            db.conn.executemany(
                """
                insert or ignore into recipe_settings (setting, recipe) values (:setting, :recipe)
                """,
                [{"setting": known[pair], "recipe": added.lastrowid} for pair in pairs],
            )


def _setting(db: Database, name: str, value: str) -> int:
    """Return the row of a setting with this value, which is made where there is none."""
    values = {"name": name, "value": value, "number": as_number(value)}
    db.conn.execute(
        "insert or ignore into settings (name, value, number) values (:name, :value, :number)",
        values,
    )
    (row,) = db.conn.execute(
        "select id from settings where name = :name and value = :value", values
    ).fetchone()
    return int(row)


def names(db: Database) -> dict[str, int]:
    """Return the name of every setting with how many values of it there are."""
    rows = db.conn.execute("select name, count(*) from settings group by name order by name")
    return dict(rows.fetchall())


def of_recipes(
    db: Database, recipes: Iterable[str], wanted: Sequence[str]
) -> dict[str, dict[str, str]]:
    """Return the values of the settings that are `wanted`, for each recipe."""
    found: dict[str, dict[str, str]] = {}
    for recipe in set(recipes):
        rows = db.conn.execute(
            """
            select s.name, s.value from recipes r
            join recipe_settings rs on rs.recipe = r.id join settings s on s.id = rs.setting
            where r.recipe = :recipe and s.name in (select value from json_each(:wanted))
            """,
            {"recipe": recipe, "wanted": json.dumps(list(wanted))},
        )
        found[recipe] = dict(rows.fetchall())
    return found


def as_text(value: Any) -> str:
    """Return a setting as it is compared with what a person types."""
    if value is None:
        return "none"
    said = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said[:LONGEST]


def as_number(said: str) -> float | None:
    """Return the number that a text is; None where it is none."""
    try:
        number = float(said)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
