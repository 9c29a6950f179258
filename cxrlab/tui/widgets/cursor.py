"""Which steps of a curve are shown, and what is read there? A cursor and a window of steps."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from rich.text import Text

from cxrlab import text
from cxrlab.harmless import harmless
from cxrlab.tui import telling
from cxrlab.tui.words import joined, tr
from store.points import Point

Window = tuple[int, int]
"""The first and the last step that are shown."""

SMALLEST = 4
"""Steps that a window spans at least."""


@dataclass(frozen=True)
class Place:
    """Where on the curves one is; no window shows all steps."""

    cursor: int | None = None
    window: Window | None = None


class Read(NamedTuple):
    """What one curve says at the cursor."""

    name: str
    metric: str
    step: int
    value: float
    smoothed: float | None = None
    """What is drawn, where that is not `value`."""


def nearest(points: Sequence[Point], step: int) -> Point | None:
    """Return the point that is nearest to `step`, of points in order; the earlier of two."""
    at = bisect_left(points, step, key=lambda point: point[0])
    return min(points[max(0, at - 1) : at + 1], key=lambda p: abs(p[0] - step), default=None)


def within(points: Sequence[Point], window: Window | None) -> list[Point]:
    """Return those of the points in order that lie in the window."""
    if window is None:
        return list(points)
    first = bisect_left(points, window[0], key=lambda point: point[0])
    last = bisect_left(points, window[1] + 1, key=lambda point: point[0])
    return list(points[first:last])


def moved(place: Place, steps: Sequence[int], every: Window, columns: int, by: int) -> Place:
    """Return where one is after moving the cursor by columns, each time onto a logged step.

    A cursor that is not there yet appears at the last step shown. One that leaves the window takes
    it along.

    Args:
        place: where one was.
        steps: the steps shown of the curve that the cursor goes along, in order.
        every: the first and the last step there is.
        columns: how many of them the plot has.
        by: how many columns to go; below zero to the left.
    """
    first, last = place.window or every
    if place.cursor is None:
        return replace(place, cursor=steps[-1] if steps else last)
    ahead = [step for step in steps if (step - place.cursor) * by > 0]
    way = round(by * (last - first) / max(1, columns)) or (1 if by > 0 else -1)
    target = place.cursor + way
    leaves = place.window is not None and not first <= target <= last
    if ahead and not leaves:
        return replace(place, cursor=min(ahead, key=lambda step: abs(step - target)))
    if place.window is None:
        return place
    target = max(every[0], min(every[1], target))
    shift = max(0, target - last) + min(0, target - first)
    return Place(target, (first + shift, last + shift))


def zoomed(place: Place, every: Window, factor: float) -> Place:
    """Return where one is after showing `factor` times as many steps about the cursor, or the end.

    The cursor keeps its column where the run has steps enough on both sides.
    """
    first, last = place.window or every
    span = max(SMALLEST, round((last - first) * factor))
    if span >= every[1] - every[0]:
        return replace(place, window=None)
    about = last if place.cursor is None else max(first, min(last, place.cursor))
    share = (about - first) / max(1, last - first)
    start = max(every[0], min(every[1] - span, round(about - share * span)))
    return replace(place, window=(start, start + span))


def settled(place: Place, every: Window) -> Place:
    """Return where one is once there are other steps: the same, where those are among them."""
    first, last = every
    window = place.window
    if window is not None and (window[1] <= first or window[0] >= last):
        window = None
    at = place.cursor
    return Place(None if at is None else max(first, min(last, at)), window)


def told(read: Sequence[Read], epoch: float | None, *, timed: bool = False) -> Text:
    """Return what is read at the cursor in a line; each curve's step only where it is another.

    Args:
        read: what each curve says.
        epoch: which epoch that is; None where it is not known.
        timed: whether steps are seconds.
    """
    if not read:
        return Text(tr("no value at these steps"), "dim")
    step = read[0].step
    said = Text().append(_place(step, timed=timed), "bold")
    if epoch is not None:
        said.append(f" · {tr('epoch {n}').format(n=f'{epoch:.2f}')}")
    for one in read:
        said.append(f" · {harmless(one.name)} ").append(
            telling.value(one.metric, one.value), "bold"
        )
        more = []
        if one.smoothed is not None:
            value = telling.value(one.metric, one.smoothed)
            more.append(tr("smoothed {value}").format(value=value))
        if one.step != step:
            more.append(_place(one.step, timed=timed))
        if more:
            said.append(f" ({joined(more)})", "dim")
    return said


def _place(step: int, *, timed: bool) -> str:
    if timed:
        return tr("after {time}").format(time=text.duration(step))
    return tr("step {n}").format(n=f"{step:,}")
