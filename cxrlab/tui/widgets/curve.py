"""How does a loss go down? One or two series over steps, drawn with block and Braille dots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rich.text import Text
from textual.app import RenderResult
from textual.color import Color
from textual_plotext import PlotextPlot


class Series(NamedTuple):
    """A curve: what it is called, and its (step, value) points in order."""

    name: str
    points: Sequence[tuple[int, float]]


class Curve(PlotextPlot):
    """Draws what it is given."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.series: tuple[Series, ...] = ()

    def on_mount(self) -> None:
        self.app.theme_changed_signal.subscribe(self, lambda _: self.redraw())

    def show(self, series: Sequence[Series]) -> None:
        """Draw these curves in place of the last ones."""
        self.series = tuple(series)
        self.redraw()

    def render(self) -> RenderResult:
        """Draw the plot, or say that there is nothing to draw yet."""
        if any(series.points for series in self.series):
            return super().render()
        return Text("\n" * (self.size.height // 2) + "no value yet", "dim", justify="center")

    def redraw(self) -> None:
        """Build the plot anew, in the colours of the theme."""
        plot = self.plt
        plot.clear_figure()
        plot.clear_data()
        colours = [self._colour("primary"), self._colour("accent")]
        drawn = False
        for i, series in enumerate(self.series):
            if not series.points:
                continue
            drawn = True
            steps, values = zip(*series.points, strict=True)
            colour = colours[i % 2]
            if i == 0 and len(steps) > 1:
                plot.plot(steps, values, marker="braille", color=colour)
            else:
                plot.scatter(steps, values, marker="◆" if i else "•", color=colour)
        if drawn:
            every = [step for series in self.series for step, _ in series.points]
            ticks = round_steps(min(every), max(every), most=max(2, self.size.width // 16))
            plot.xticks([float(tick) for tick in ticks], [f"{tick:,}" for tick in ticks])
        back = self._colour("surface")
        plot.canvas_color(back)
        plot.axes_color(back)
        plot.ticks_color(self._mix(0.65))
        plot.grid(horizontal=False, vertical=False)
        plot.xaxes(lower=True, upper=False)
        plot.yaxes(left=True, right=False)
        self.refresh()

    def _colour(self, name: str) -> tuple[int, int, int]:
        return Color.parse(self.app.theme_variables[name]).rgb

    def _mix(self, share: float) -> tuple[int, int, int]:
        variables = self.app.theme_variables
        back, front = Color.parse(variables["surface"]), Color.parse(variables["foreground"])
        return back.blend(front, share).rgb


def round_steps(first: int, last: int, *, most: int) -> list[int]:
    """Return at most `most` round numbers from `first` to `last`, evenly apart."""
    spans = (size * 10**power for power in range(12) for size in (1, 2, 5))
    apart = next((span for span in spans if (last - first) // span < most), 10**12)
    start = -(-first // apart) * apart
    return list(range(start, last + 1, apart)) or [first]
