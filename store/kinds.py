"""What does each kind of event change in the registry? One function a kind.

What cannot be understood raises `OddEvent` before anything is written, so that an event is taken
as a whole or kept as it came.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from store import points
from store.db import Database

Event = dict[str, Any]

_LONGEST_INT: Final = 2**63


class OddEvent(Exception):
    """An event of a known kind that lacks what its kind must have."""


@dataclass
class Taking:
    """What one batch has said so far of the run `seq`; `row` holds the columns that change."""

    db: Database
    seq: int
    row: dict[str, Any]
    metric_ids: dict[str, int]
    points: list[tuple[int, int, int, float | None]] = field(default_factory=list)


def take_event(taking: Taking, event: Event) -> bool:
    """Carry one event into the registry; return whether all of it was understood.

    Points are gathered, and written by `write_points`.

    Raises:
        OddEvent: it is of a known kind and lacks what belongs to it; nothing has changed.
    """
    kind = event.get("kind")
    t = _number_or_none(event.get("t"))
    if not isinstance(kind, str):
        raise OddEvent
    handler, known_keys = _KINDS.get(kind, (None, _NO_KEYS))
    if handler is not None:
        handler(taking, event)
    if t is not None:
        taking.row["last_event"] = max(t, taking.row["last_event"] or t)
    return known_keys is None or event.keys() <= known_keys


def write_points(taking: Taking) -> None:
    """Write the points gathered; a point of the same metric and step is replaced."""
    taking.db.conn.executemany(
        "insert or replace into points (run, metric, step, value) values (?, ?, ?, ?)",
        taking.points,
    )
    taking.points.clear()


def metric_id(db: Database, name: str) -> int:
    """Return the number of a metric that the registry may not know yet."""
    values = {"name": as_text(name)}
    db.conn.execute("insert or ignore into metrics (name) values (:name)", values)
    (id,) = db.conn.execute("select id from metrics where name = :name", values).fetchone()
    return int(id)


def as_text(value: str) -> str:
    """Return `value` without halves of characters, which JSON can spell and SQLite refuses."""
    return value.encode(errors="replace").decode()


def _start(taking: Taking, event: Event) -> None:
    """Begin an attempt: what an earlier one said of later steps no longer holds."""
    step = _whole(event.get("step"))
    attempt = _whole(event["attempt"]) if "attempt" in event else taking.row["events_attempt"] + 1
    total = _whole_or_none(event.get("total_steps"))
    values = {
        "run": taking.seq,
        "step": step,
        "attempt": attempt,
        "total": total,
        "pid": _whole_or_none(event.get("pid")),
        "host": _text_or_none(event.get("host")),
        "t": _number_or_none(event.get("t")),
    }
    write_points(taking)
    execute = taking.db.conn.execute
    execute(
        f"""
        delete from points
        where run = :run and step > :step
          and metric in (select id from metrics where not ({points.IS_USE}))
        """,
        values,
    )
    execute("delete from artifacts where run = :run and step > :step", values)
    execute("delete from results where run = :run", values)
    execute(
        """
        insert into attempts (run, attempt, started, pid, host, first_step, total_steps)
        values (:run, :attempt, :t, :pid, :host, :step, :total)
        on conflict do update set
          started = coalesce(started, excluded.started), pid = excluded.pid, host = excluded.host,
          first_step = excluded.first_step, total_steps = excluded.total_steps,
          ended = null, outcome = null, reason = ''
        """,
        values,
    )
    taking.row |= {
        "step": step,
        "epoch": None,
        "done": step,
        "total": total,
        "eta_s": None,
        "attempt": max(taking.row["attempt"], attempt),
        "events_attempt": attempt,
        "end_attempt": None,
        "end_outcome": None,
        "end_reason": "",
        "selected_by": None,
        "result": None,
    }


def _metrics(taking: Taking, event: Event) -> None:
    step = _whole(event.get("step"))
    epoch = _number_or_none(event.get("epoch"))
    values = event.get("values")
    if not isinstance(values, dict):
        raise OddEvent
    new = [(name, _number_or_none(value)) for name, value in values.items()]
    for name, value in new:
        metric = taking.metric_ids.get(name)
        if metric is None:
            metric = taking.metric_ids[name] = metric_id(taking.db, name)
        taking.points.append((taking.seq, metric, step, value))
    taking.row["step"] = step
    if epoch is not None:
        taking.row["epoch"] = epoch


def _progress(taking: Taking, event: Event) -> None:
    done, total = _whole(event.get("done")), _whole_or_none(event.get("total"))
    taking.row |= {"done": done, "total": total, "eta_s": _number_or_none(event.get("eta_s"))}


def _checkpoint(taking: Taking, event: Event) -> None:
    _add_artifact(
        taking,
        event,
        kind=_some_text(event.get("kind_of")),
        step=_whole_or_none(event.get("step")),
        sha256=_text_or_none(event.get("sha256")),
    )


def _sample(taking: Taking, event: Event) -> None:
    caption = _text_or_none(event.get("caption"))
    _add_artifact(taking, event, kind="sample", step=taking.row["step"], caption=caption or "")


def _warning(taking: Taking, event: Event) -> None:
    taking.db.conn.execute(
        """
        insert into warnings (run, message, path, times, last)
        values (:run, :message, :path, 1, :t)
        on conflict do update set times = times + 1, last = excluded.last
        """,
        {
            "run": taking.seq,
            "message": _some_text(event.get("message")),
            "path": _text_or_none(event.get("path")) or "",
            "t": _number_or_none(event.get("t")),
        },
    )
    taking.row["warnings"] += 1


def _result(taking: Taking, event: Event) -> None:
    values, bounds = event.get("values"), event.get("bounds") or {}
    if not isinstance(values, dict) or not isinstance(bounds, dict):
        raise OddEvent
    rows = []
    for name, value in values.items():
        low, high = _pair(bounds.get(name))
        row = {"run": taking.seq, "metric": as_text(name), "value": _number_or_none(value)}
        rows.append(row | {"low": low, "high": high})
    selected_by = _text_or_none(event.get("selected_by"))
    document = _document(event)
    taking.db.conn.execute("delete from results where run = :run", {"run": taking.seq})
    taking.db.conn.executemany(
        """
        insert or replace into results (run, metric, value, low, high)
        values (:run, :metric, :value, :low, :high)
        """,
        rows,
    )
    taking.row |= {"selected_by": selected_by, "result": document}


def _end(taking: Taking, event: Event) -> None:
    outcome = event.get("outcome")
    if outcome not in ("succeeded", "stopped", "failed"):
        raise OddEvent
    reason = _text_or_none(event.get("reason")) or ""
    attempt = taking.row["events_attempt"] or taking.row["attempt"]
    taking.row |= {"end_attempt": attempt, "end_outcome": outcome, "end_reason": reason}
    taking.row["eta_s"] = None
    taking.db.conn.execute(
        """
        update attempts set ended = :t, outcome = :outcome, reason = :reason
        where run = :run and attempt = :attempt
        """,
        {
            "run": taking.seq,
            "attempt": attempt,
            "t": _number_or_none(event.get("t")),
            "outcome": outcome,
            "reason": reason,
        },
    )


def _add_artifact(
    taking: Taking,
    event: Event,
    *,
    kind: str,
    step: int | None,
    sha256: str | None = None,
    caption: str = "",
) -> None:
    taking.db.conn.execute(
        """
        insert into artifacts (run, kind, path, step, saved, sha256, caption)
        values (:run, :kind, :path, :step, :t, :sha256, :caption)
        on conflict do update set step = excluded.step, saved = excluded.saved,
          sha256 = excluded.sha256, caption = excluded.caption, removed = null
        """,
        {
            "run": taking.seq,
            "kind": kind,
            "path": _some_text(event.get("path")),
            "step": step,
            "t": _number_or_none(event.get("t")),
            "sha256": sha256,
            "caption": caption,
        },
    )


def _whole(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or not -_LONGEST_INT <= value < _LONGEST_INT:
        raise OddEvent
    return int(value)


def _whole_or_none(value: object) -> int | None:
    return None if value is None else _whole(value)


def _number_or_none(value: object) -> float | None:
    """Return a finite number; None for null and for what is not finite."""
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise OddEvent
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _pair(value: object) -> tuple[float | None, float | None]:
    if value is None:
        return None, None
    if not isinstance(value, list) or len(value) != 2:
        raise OddEvent
    return _number_or_none(value[0]), _number_or_none(value[1])


def _text_or_none(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise OddEvent
    return as_text(value)


def _some_text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise OddEvent
    return as_text(value)


def _document(event: Event) -> str:
    """Return a result as JSON, without what every event has."""
    try:
        return json.dumps(
            {k: v for k, v in event.items() if k not in ("t", "kind")}, allow_nan=False
        )
    except (ValueError, RecursionError):
        raise OddEvent from None


_NO_KEYS: frozenset[str] = frozenset()
_KINDS: dict[str, tuple[Callable[[Taking, Event], None], frozenset[str] | None]] = {
    kind: (handler, frozenset(("t", "kind", *keys.split())))
    for kind, handler, keys in (
        ("start", _start, "step attempt pid host total_steps"),
        ("metrics", _metrics, "step epoch values"),
        ("progress", _progress, "done total eta_s"),
        ("checkpoint", _checkpoint, "kind_of path step sha256"),
        ("sample", _sample, "path caption"),
        ("warning", _warning, "message path"),
        ("end", _end, "outcome reason"),
    )
}
_KINDS["result"] = (_result, None)  # kept as a document, whatever its keys
