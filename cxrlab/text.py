"""How are numbers, durations, sizes and states written, the same in CLI, TUI and exports?"""

from __future__ import annotations

import math
import re
from typing import NamedTuple

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([kKMGTP])(i)?)?B?")

_LONGEST_WHOLE = 18
"""Digits; Python reads thousands of them slowly, and more not at all."""

NOTHING = "-"
"""Stands where there is no number."""


class StateText(NamedTuple):
    """How a state looks: a symbol and a word say it, the style only helps."""

    symbol: str
    style: str


STATES: dict[str, StateText] = {
    "queued": StateText("◦", "dim"),
    "blocked": StateText("…", "dim"),
    "running": StateText("▶", "cyan"),
    "succeeded": StateText("✓", "green"),
    "failed": StateText("✗", "red"),
    "stopped": StateText("■", "yellow"),
    "lost": StateText("?", "magenta"),
}


def state(name: str, reason: str = "") -> str:
    """Write a state with its symbol, and its reason where there is one: `▶ running, quiet ...`."""
    symbol = STATES[name].symbol if name in STATES else "?"
    return f"{symbol} {name}, {reason}" if reason else f"{symbol} {name}"


def duration(seconds: float | None) -> str:
    """Write a span of time in its two largest units: `42s`, `4m 05s`, `2h 05m`, `3d 04h`."""
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600:02d}h"


def ago(t: float | None, now: float) -> str:
    """Write how long before `now` the time `t` was, in its largest unit: `just now`, `5m ago`."""
    if t is None:
        return NOTHING
    passed = now - t
    if passed < 5:
        return "just now"
    for span, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if passed >= span:
            return f"{int(passed // span)}{unit} ago"
    return f"{int(passed)}s ago"


def size(count: float | None) -> str:
    """Write a number of bytes: `512 B`, `3.4 MiB`."""
    if count is None:
        return NOTHING
    if count < 1024:
        return f"{int(count)} B"
    value = float(count)
    for unit in ("KiB", "MiB", "GiB"):
        value /= 1024
        if value < 1023.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1024:.1f} TiB"


def bytes_of(said: str) -> int | None:
    """Return the number of bytes that `200 GiB`, `1.5TB` or `1000` says; None where none."""
    found = _SIZE.fullmatch(said.strip())
    if found is None:
        return None
    power = 0 if not found[2] else "KMGTP".index(found[2].upper()) + 1
    return int(float(found[1]) * (1024 if found[3] else 1000) ** power)


def whole(said: str) -> int | None:
    """Return the whole number that was typed; None where it is none, or longer than any in use."""
    return int(said) if said.isdecimal() and len(said) <= _LONGEST_WHOLE else None


def number(value: float | None, digits: int = 4) -> str:
    """Write a number with `digits` significant digits, without a tail of zeros."""
    if value is None or not math.isfinite(value):
        return NOTHING if value is None else str(value)
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.{digits}g}"


def metric(value: float | None, unit: str = "share") -> str:
    """Write a metric: a share in percent with one decimal (`72.9`), nats with three (`1.314`)."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{100 * value:.1f}" if unit == "share" else f"{value:.3f}"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: `1 run`, `3 runs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def percent(ratio: int | None) -> str:
    """Return a ratio as it is written: `10 %`; empty for a run that has none."""
    return "" if ratio is None else f"{ratio} %"
