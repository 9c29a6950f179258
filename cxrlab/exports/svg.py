"""How does a curve look as SVG within a page, without a script and without colour alone?

Colours and fonts are the page's (`.curve-0`, `.curve-1`, `.axis`); dashes and the name at its end
tell the lines apart in print.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 560, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 118, 12, 44
DASHES = ("", "6 3", "2 3")
"""The strokes of the first lines; a fourth looks like the first."""


class Line(NamedTuple):
    """One curve, with what it is called."""

    name: str
    points: Sequence[tuple[int, float]]


class Scale(NamedTuple):
    """How values get their place along one axis."""

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Return where a value stands (px)."""
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def chart(lines: Sequence[Line], *, id: str, title: str, unit: str = "") -> str:
    """Return the markup of a chart of `lines` over their steps; empty where none has a point.

    All text in it is escaped.

    Args:
        lines: at most as many as there are `DASHES` look different.
        id: unique in the page; begins the ids of title and description.
        title: what a screen reader says it is.
        unit: written at the upper end of the values' axis.
    """
    shown = [line for line in lines if line.points]
    if not shown:
        return ""
    steps = [step for line in shown for step, _ in line.points]
    values = [value for line in shown for _, value in line.points]
    x = Scale(*_apart(min(steps), max(steps)), _LEFT, WIDTH - _RIGHT)
    low, high = _apart(min(values), max(values))
    margin = 0.05 * (high - low)
    y = Scale(low - margin, high + margin, HEIGHT - _BOTTOM, _TOP)
    said = "; ".join(told(line) for line in shown)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{id}-t {id}-d">',
        f'<title id="{id}-t">{escape(title)}</title><desc id="{id}-d">{escape(said)}</desc>',
        *_axes(x, y, unit),
        *(_drawn(line, number, x, y) for number, line in enumerate(shown)),
        *_names(shown, y),
        "</svg>",
    ]
    return "".join(parts)


def told(line: Line) -> str:
    """Return a curve in words: where it begins and ends, and its extremes."""
    (first, begun), (last, ended) = line.points[0], line.points[-1]
    values = [value for _, value in line.points]
    if len(line.points) == 1:
        return f"{line.name} {_number(begun)} at step {first}"
    return (
        f"{line.name} from {_number(begun)} at step {first} to {_number(ended)} at step {last}, "
        f"lowest {_number(min(values))}, highest {_number(max(values))}"
    )


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return round numbers from `low` to `high`, at most `most` of them.

    Their distance is 1, 2 or 5 times a power of ten.
    """
    rough = (high - low) / max(1, most - 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * n for n in (1, 2, 5, 10, 20) if power * n >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _apart(low: float, high: float) -> tuple[float, float]:
    """Return two ends that differ, for a scale cannot be a point."""
    if high - low > 1e-12 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) * 0.1 or 1.0
    return low - room, high + room


def _axes(x: Scale, y: Scale, unit: str) -> list[str]:
    parts = []
    for value in ticks(y.low, y.high, 5):
        at = f"{y.place(value):.1f}"
        parts.append(f'<path class="grid" d="M{_LEFT} {at}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text class="axis" x="{_LEFT - 6}" y="{at}" dy=".35em" text-anchor="end">'
                     f"{_number(value)}</text>")  # fmt: skip
    for value in ticks(x.low, x.high, 6):
        if value == int(value):
            at = f"{x.place(value):.1f}"
            parts.append(f'<text class="axis" x="{at}" y="{HEIGHT - _BOTTOM + 16}" '
                         f'text-anchor="middle">{int(value):,}</text>')  # fmt: skip
    bottom = f'<path class="frame" d="M{_LEFT} {HEIGHT - _BOTTOM}H{WIDTH - _RIGHT}"/>'
    middle = (_LEFT + WIDTH - _RIGHT) // 2
    step = f'<text class="axis" x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">step</text>'
    over = f'<text class="axis" x="4" y="{_TOP}" dy=".35em">{escape(unit)}</text>' if unit else ""
    return [*parts, bottom, step, over]


def _drawn(line: Line, number: int, x: Scale, y: Scale) -> str:
    style = f'class="curve curve-{number % len(DASHES)}"'
    dash = DASHES[number % len(DASHES)]
    style += f' stroke-dasharray="{dash}"' if dash else ""
    at = [f"{x.place(step):.1f} {y.place(value):.1f}" for step, value in line.points]
    if len(at) == 1:
        cx, cy = at[0].split()
        return f'<circle {style} cx="{cx}" cy="{cy}" r="2.5"/>'
    return f'<path {style} d="M{"L".join(at)}"/>'


def _names(lines: Sequence[Line], y: Scale) -> list[str]:
    """Write each name beside the end of its line, moved apart where they would overlap."""
    wanted = sorted((y.place(line.points[-1][1]), number) for number, line in enumerate(lines))
    parts, above = [], -math.inf
    for place, number in wanted:
        at = max(place, above + 14)
        above = at
        dash = DASHES[number % len(DASHES)]
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        start = WIDTH - _RIGHT + 6
        parts.append(
            f'<path class="curve curve-{number % len(DASHES)}"{dashes} '
            f'd="M{start} {at:.1f}h18"/>'
            f'<text class="name" x="{start + 22}" y="{at:.1f}" dy=".35em">'
            f"{escape(lines[number].name[:16])}</text>"
        )
    return parts


def _number(value: float) -> str:
    return f"{value:.4g}"
