"""How does a loss go down? A few series over steps, drawn with block and Braille dots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from rich.text import Text
from textual.app import RenderResult
from textual.color import Color
from textual_plotext import PlotextPlot

from cxrlab import text
from cxrlab.tui.words import tr

OTHER = "state-lost"
"""The theme's colour that is neither the first curve's nor the second's."""


COLOURS = ("primary", "accent", "success", "error", "secondary")
"""The theme's colours of a run's curves, in order."""


class Series(NamedTuple):
    """A curve: what it is called, and its (step, value) points in order."""

    name: str
    points: Sequence[tuple[int, float]]
    other: bool = False
    """Of another run: a line in a colour of its own."""
    line: bool = False
    """Drawn as a line although it is not the first."""


class Curve(PlotextPlot):
    """Draws what it is given."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.series: tuple[Series, ...] = ()
        self.logarithmic = False
        self.cursor: int | None = None
        self.window: tuple[int, int] | None = None
        self.timed = False

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())

    def show(
        self,
        series: Sequence[Series],
        *,
        logarithmic: bool = False,
        cursor: int | None = None,
        window: tuple[int, int] | None = None,
        timed: bool = False,
    ) -> None:
        """Draw these curves in place of the last ones.

        Args:
            series: the curves, with points of the window only.
            logarithmic: whether they are drawn by their logarithm.
            cursor: the step that a line is drawn at.
            window: the first and the last step shown; all where there is none.
            timed: whether steps are seconds.
        """
        self.series = tuple(series)
        self.logarithmic = logarithmic
        self.cursor, self.window, self.timed = cursor, window, timed
        self.redraw()

    def render(self) -> RenderResult:
        """Draw the plot, or say that there is nothing to draw yet."""
        if any(series.points for series in self.series):
            return super().render()
        said = tr("no value at these steps") if self.window else tr("no value yet")
        return Text("\n" * (self.size.height // 2) + said, "dim", justify="center")

    def redraw(self) -> None:
        """Build the plot anew, in the colours of the theme."""
        plot = self.plt
        plot.clear_figure()
        plot.clear_data()
        colours = [self._colour(name) for name in COLOURS]
        every: list[tuple[int, float]] = []
        # another run's lies under this one's
        for i, series in sorted(enumerate(self.series), key=lambda one: not one[1].other):
            points = [(step, math.log10(value)) for step, value in series.points if value > 0
                      ] if self.logarithmic else list(series.points)  # fmt: skip
            if not points:
                continue
            every += points
            steps, values = zip(*points, strict=True)
            colour = self._colour(OTHER) if series.other else colours[i % len(colours)]
            if (i == 0 or series.other or series.line) and len(steps) > 1:
                plot.plot(steps, values, marker="braille", color=colour)
            else:
                plot.scatter(steps, values, marker="◆" if i else "•", color=colour)
        if every:
            self._label(every)
            if self.timed and not self.logarithmic:
                most = max(value for _, value in every)
                share = all(series.name.endswith("/utilization") for series in self.series)
                plot.ylim(0, 100 if share and most <= 100 else most or 1)
            if self.window:
                plot.xlim(*self.window)
            if self.cursor is not None:
                plot.vline(self.cursor, color=self._mix(0.5))
        back = self._colour("surface")
        plot.canvas_color(back)
        plot.axes_color(back)
        plot.ticks_color(self._mix(0.65))
        plot.grid(horizontal=False, vertical=False)
        plot.xaxes(lower=True, upper=False)
        plot.yaxes(left=True, right=False)
        self.refresh()

    def _label(self, every: Sequence[tuple[int, float]]) -> None:
        """Put round steps under the plot, and round values beside a logarithmic one."""
        plot, (steps, values) = self.plt, zip(*every, strict=True)
        first, last = self.window or (min(steps), max(steps))
        round_ones = round_times if self.timed else round_steps
        ticks = round_ones(first, last, most=max(2, self.size.width // 16))
        said = [text.duration(tick) if self.timed else f"{tick:,}" for tick in ticks]
        plot.xticks([float(tick) for tick in ticks], said)
        if self.logarithmic:
            marks = round_values(min(values), max(values), most=max(2, self.size.height // 3))
            plot.yticks([math.log10(mark) for mark in marks], [f"{mark:g}" for mark in marks])

    def _colour(self, name: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[name]).rgb

    def _mix(self, share: float) -> tuple[int, int, int]:
        variables = self.app.theme_variables
        back, front = Color.parse(variables["surface"]), Color.parse(variables["foreground"])
        return back.blend(front, share).rgb


def round_steps(first: int, last: int, *, most: int) -> list[int]:
    """Return at most `most` round numbers from `first` to `last`, evenly apart."""
    return _evenly(first, last, (size * 10**n for n in range(12) for size in (1, 2, 5)), most)


def round_times(first: int, last: int, *, most: int) -> list[int]:
    """Return at most `most` round times from `first` to `last` (s), evenly apart."""
    sizes = (1, 2, 5, 10, 20, 30)
    spans = [size * unit for unit in (1, 60) for size in sizes]
    spans += [size * 3600 for size in (1, 2, 3, 6, 12)]
    spans += [size * 10**n * 86400 for n in range(5) for size in (1, 2, 5)]
    return _evenly(first, last, spans, most)


def _evenly(first: int, last: int, spans: Iterable[int], most: int) -> list[int]:
    apart = next((span for span in spans if (last - first) // span < most), 10**12)
    start = -(-first // apart) * apart
    return list(range(start, last + 1, apart)) or [first]


_DIGITS = (
    (1.0,),
    (1.0, 3.0),
    (1.0, 2.0, 5.0),
    (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
    tuple(n / 10 for n in range(10, 100)),
)
"""First digits of round values, from few to many a power of ten."""


def round_values(low: float, high: float, *, most: int) -> list[float]:
    """Return round values whose base-10 logarithms lie from `low` to `high`, about `most` of them.

    They are powers of ten where there are two of those, else as few others as there have to be; the
    ends themselves where not even `_DIGITS` gives two.
    """
    powers = range(math.floor(low), math.ceil(high) + 1)
    for digits in _DIGITS:
        marks = [digit * 10.0**power for power in powers for digit in digits]
        within = [mark for mark in marks if low <= math.log10(mark) <= high]
        if len(within) >= 2:
            return within[:: -(-len(within) // most)]
    return sorted({float(f"{10**end:.3g}") for end in (low, high)})
