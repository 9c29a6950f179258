"""What is on a chart: panels of series, each in pieces where values are missing between them.

Functions from values to values. `exports.terminal` draws a chart with characters, and
`trainers.draw` as a picture.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Points = Sequence[tuple[float, float]]
Marks = Literal["line", "points"]


@dataclass(frozen=True)
class Series:
    """A curve or a cloud: what it is called, and its points."""

    name: str
    pieces: Sequence[Points]
    """Points in order; between two pieces something is missing, and no line goes."""
    marks: Marks = "line"

    def points(self) -> Iterator[tuple[float, float]]:
        """Give all its points."""
        for piece in self.pieces:
            yield from piece


@dataclass(frozen=True)
class Panel:
    """Series that share their axes."""

    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    log: bool = False
    """Whether y is drawn on a logarithmic scale."""


@dataclass(frozen=True)
class Chart:
    """Panels below one another."""

    panels: tuple[Panel, ...]

    def as_facts(self) -> dict[str, Any]:
        """Return the chart as `trainers.draw` reads it."""
        return {
            "panels": [
                {
                    "title": panel.title,
                    "x_label": panel.x_label,
                    "y_label": panel.y_label,
                    "log": panel.log,
                    "series": [
                        {"name": one.name, "marks": one.marks, "pieces": [*map(list, one.pieces)]}
                        for one in panel.series
                    ],
                }
                for panel in self.panels
            ]
        }


def smooth(pieces: Sequence[Points], weight: float) -> list[list[tuple[float, float]]]:
    """Return the running means of a series, which forget by `weight` a point; 0 changes nothing.

    The first points are not drawn to zero: each mean is divided by the weight it has gathered, as
    TensorBoard does it.
    """
    mean, gathered = 0.0, 0.0
    out = []
    for piece in pieces:
        smoothed = []
        for x, y in piece:
            mean = weight * mean + (1 - weight) * y
            gathered = weight * gathered + (1 - weight)
            smoothed.append((x, mean / gathered))
        out.append(smoothed)
    return out


def positive(pieces: Iterable[Points]) -> list[list[tuple[float, float]]]:
    """Return the pieces cut wherever a value has no logarithm."""
    out: list[list[tuple[float, float]]] = []
    for piece in pieces:
        now: list[tuple[float, float]] = []
        for x, y in piece:
            if y > 0:
                now.append((x, y))
            elif now:
                out.append(now)
                now = []
        out += [now] if now else []
    return out


def round_ticks(low: float, high: float, *, most: int) -> list[float]:
    """Return at most `most` round numbers from `low` to `high`, evenly apart."""
    span = high - low
    if not math.isfinite(span) or span <= 0 or most < 2:
        return [low]
    power = 10 ** math.floor(math.log10(span / most))
    apart = next(s * power for s in (1, 2, 5, 10, 20) if span / (s * power) < most - 1)
    first = math.ceil(low / apart - 1e-9)
    last = math.floor(high / apart + 1e-9)
    return [number * apart for number in range(first, last + 1)] or [low]
