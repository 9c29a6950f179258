"""What do the runs hold that MLflow has kept: in a folder `mlruns`, or in its SQLite file?

Read without MLflow. The folder is one of plain files: `EXPERIMENT/RUN/metrics/NAME` with lines of
time (ms), value and step. Deleted runs are left out.
"""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from cxrlab.errors import BadInput, NotFound
from cxrlab.imports.curves import Found

FINISHED = "FINISHED"
NAMES_TAG = "cxrlab.names"
_STATUSES = {"1": "RUNNING", "2": "SCHEDULED", "3": FINISHED, "4": "FAILED", "5": "KILLED"}
_INFINITE = 1.7976931348623157e308
"""What MLflow's database holds for infinity."""


def read(place: Path) -> Iterator[Found]:
    """Give the runs of a file store, of one experiment or run in it, or of a database.

    Raises:
        NotFound: there is no such folder or file.
        BadInput: a file is not MLflow's.
    """
    if not place.exists():
        raise NotFound(f"{place} does not exist")
    if place.is_file():
        yield from _read_database(place)
        return
    for database in sorted(place.glob("mlflow.db")):
        yield from _read_database(database)
    places = [place, *sorted(place.glob("*/")), *sorted(place.glob("*/*/"))]
    for folder in places:
        if (folder / "metrics").is_dir() and (folder / "meta.yaml").is_file():
            found = _read_folder(folder)
            if found is not None and found.curves:
                yield found


def _read_folder(folder: Path) -> Found | None:
    about = flat_yaml((folder / "meta.yaml").read_text(encoding="utf-8"))
    if about.get("lifecycle_stage", "active") != "active":
        return None
    id = about.get("run_id") or about.get("run_uuid") or folder.name
    experiment = folder.parent / "meta.yaml"
    of = flat_yaml(experiment.read_text(encoding="utf-8")) if experiment.is_file() else {}
    found = Found("mlflow", _name(of.get("name"), about.get("run_name"), id), f"mlflow:{id}")
    _take_status(found, _STATUSES.get(about.get("status", ""), about.get("status", "")),
                 about.get("start_time"), about.get("end_time"))  # fmt: skip
    for kind in ("tags", "params"):
        for path in _files(folder / kind):
            text = path.read_text(encoding="utf-8", errors="replace")
            found.settings[path.relative_to(folder / kind).as_posix()] = text
    for path in _files(folder / "metrics"):
        name = path.relative_to(folder / "metrics").as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                t, value, *step = line.split(" ")
                found.add(name, int(step[0]) if step else 0, float(value), int(t) / 1000)
            except ValueError:
                raise BadInput(
                    f"{path}:{number}: `{line[:60]}`, expected time, value and step"
                ) from None
    _call_by_own_names(found)
    return found


def _call_by_own_names(found: Found) -> None:
    """Undo what an export of this program had to call otherwise."""
    try:
        own: dict[str, str] = dict(json.loads(found.settings.pop(NAMES_TAG, "{}")))
    except (ValueError, TypeError):
        return
    found.curves = {own.get(name, name): curve for name, curve in found.curves.items()}


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _name(experiment: str | None, run: str | None, id: str) -> str:
    return "/".join(filter(None, (experiment, run or id[:8])))


def _take_status(found: Found, status: str, began: object, ended: object) -> None:
    if status != FINISHED:
        found.unfinished = f"it is {status.lower() or 'not finished'} there"
    found.began, found.ended = _seconds(began), _seconds(ended)


def _seconds(ms: object) -> float | None:
    try:
        return int(str(ms)) / 1000
    except ValueError:
        return None


def flat_yaml(text: str) -> dict[str, str]:
    """Return the texts of a YAML file without nesting, as MLflow writes it."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith(("  ", "- ")) and name:  # a long text goes on
            found[name] += " " + line.strip()
        elif ": " in line or line.endswith(":"):
            name, _, value = line.partition(":")
            found[name] = value.strip()
    return {name: _unquoted(value) for name, value in found.items()}


def _unquoted(value: str) -> str:
    if value == "null":
        return ""
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1].replace("''", "'")
    if value.startswith('"'):
        try:
            return str(json.loads(value))
        except ValueError:
            return value[1:-1]
    return value


def _read_database(path: Path) -> Iterator[Found]:
    """Give the runs of a database, which is only read: its SQL stands here, not in the store."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as db:
            runs = db.execute(
                """
                select run_uuid, r.name, e.name, status, start_time, end_time
                from runs r join experiments e using (experiment_id)
                where r.lifecycle_stage = 'active' order by start_time, run_uuid
                """
            ).fetchall()
            for id, name, experiment, status, began, ended in runs:
                found = Found("mlflow", _name(experiment, name, id), f"mlflow:{id}")
                _take_status(found, str(status), began, ended)
                _take_rows(db, id, found)
                if found.curves:
                    yield found
    except sqlite3.Error as error:
        raise BadInput(f"{path} is no database of MLflow: {error}") from None


def _take_rows(db: sqlite3.Connection, id: str, found: Found) -> None:
    for table in ("tags", "params"):
        rows = db.execute(f"select key, value from {table} where run_uuid = :id", {"id": id})
        found.settings |= dict(rows.fetchall())
    for name, value, t, step, is_nan in db.execute(
        """
        select key, value, timestamp, step, is_nan from metrics where run_uuid = :id
        order by step, timestamp
        """,
        {"id": id},
    ):
        number = math.nan if is_nan else value
        if abs(number) >= _INFINITE:
            number = math.copysign(math.inf, number)
        found.add(name, step, number, t / 1000)
