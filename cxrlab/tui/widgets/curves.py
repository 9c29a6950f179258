"""Which curves of a run are drawn, and how? One metric with its counterpart, and another run's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from cxrlab import chart
from cxrlab.lab import Lab
from cxrlab.tui import reading, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.widgets.curve import Curve, Series
from cxrlab.tui.words import tr
from store.points import Point, thin
from store.runs import Run

FIRST_METRICS = ("train/loss", "val/loss")
WEIGHTS = (0.0, 0.6, 0.9)
"""How much of the running mean before is kept at each point, in [0, 1)."""


class CurvePane(Vertical):
    """The curves of one run under a line that names them. It reads the points that it draws."""

    @dataclass
    class Drawn(Message, bubble=False):
        """Points of the metrics that are shown."""

        new: list[reading.NewPoints]

    @dataclass
    class OtherDrawn(Message, bubble=False):
        """Points of another run, for one metric."""

        run: Run
        new: reading.NewPoints

    def __init__(self, lab: Lab, run_id: str, *, id: str) -> None:
        super().__init__(id=id)
        self.metric = ""
        self.logarithmic = False
        self.other = ""
        """The id of the run that is drawn over this one."""
        self._weight = 0
        self._view: reading.RunView | None = None
        self._points: dict[str, list[Point]] = {}
        self._others: dict[tuple[str, str], list[Point]] = {}
        self._other_runs = True
        self._attempt = -1
        self._asking = Asking(
            self, lambda *asked: self.Drawn(reading.read_points(lab, run_id, *asked))
        )
        self._asking_other = Asking(
            self, lambda *asked: self.OtherDrawn(*reading.read_other(lab, *asked))
        )

    def compose(self) -> ComposeResult:
        yield Static(id="curve-title")
        yield Curve(id="curve")

    def show(self, view: reading.RunView) -> None:
        """Draw what is known of the run, and ask for what is new."""
        self._view = view
        if view.run.attempt != self._attempt:
            # a new attempt supersedes points that were drawn: all are read again
            self._attempt = view.run.attempt
            self._points = {}
        if view.metrics and self.metric not in view.metrics:
            found = (name for name in FIRST_METRICS if name in view.metrics)
            self.metric = next(found, view.metrics[0])
        self.draw()
        self._read()

    def _read(self) -> None:
        asked = []
        for name in self._shown():
            held = self._points.get(name)
            asked.append((name, held[-1][0] if held else None))
        if asked:
            self._asking.ask(asked, self._attempt)
        if self.other and (self._other_runs or (self.other, self.metric) not in self._others):
            self._asking_other.ask(self.other, self.metric)

    def _shown(self) -> list[str]:
        """Return the metric chosen, and its counterpart in training or validation."""
        if not self.metric or self._view is None:
            return []
        split, _, name = self.metric.partition("/")
        other = {"train": "val", "val": "train"}.get(split, "")
        both = [self.metric, f"{other}/{name}"]
        return sorted(n for n in both if n in self._view.metrics)

    @on(Drawn)
    def _take(self, message: Drawn) -> None:
        for new in message.new:
            held = self._points.get(new.metric, [])
            if new.attempt != self._attempt or new.after != (held[-1][0] if held else None):
                continue  # an answer to an older question
            self._points[new.metric] = thin([*held, *new.points], reading.MOST_POINTS)
        self.draw()

    @on(OtherDrawn)
    def _take_other(self, message: OtherDrawn) -> None:
        self._others[message.run.id, message.new.metric] = list(message.new.points)
        if message.run.id == self.other:
            self._other_runs = message.run.state == "running"
        self.draw()

    def draw(self) -> None:
        """Draw the metrics shown, and their last values over them."""
        shown = self._shown()
        series = [Series(name, self._made(self._points.get(name, []))) for name in shown]
        last = dict(self._view.last) if self._view else {}
        if self.other and self.metric:
            points = self._others.get((self.other, self.metric), [])
            series.append(Series(self.other, self._made(points), other=True))
            last |= {self.other: points[-1][1]} if points else {}
        curve = self.query_one(Curve)
        same = [drawn.name for drawn in curve.series] == [one.name for one in series]
        empty = not any(one.points for one in series)
        changed = tuple(series) != curve.series or curve.logarithmic != self.logarithmic
        if changed and not (same and empty):  # keeps it until all is read
            curve.show(series, logarithmic=self.logarithmic)
        count = len(self._view.metrics) if self._view else 0
        at = self._view.metrics.index(self.metric) + 1 if self._view and self.metric else 0
        weight = WEIGHTS[self._weight]
        how = [tr("log scale")] * self.logarithmic
        how += [tr("smoothed {weight:g}").format(weight=weight)] * bool(weight)
        self.query_one("#curve-title", Static).update(
            telling.curve_title(
                [one.name for one in series],
                last,
                at=at,
                count=count,
                how=how,
                other=self.other,
                metric=self.metric,
            )
        )

    def _made(self, points: Sequence[Point]) -> list[Point]:
        """Return points as they are drawn; the running mean is of those that a plot can show."""
        weight = WEIGHTS[self._weight]
        if not weight:
            return list(points)
        (smoothed,) = chart.smooth([points], weight)
        return [(int(step), value) for step, value in smoothed]

    # -- what the keys of the screen do

    def turn_metric(self, step: int) -> None:
        """Draw the next metric, or one before."""
        if self._view is None or not self._view.metrics:
            return
        names = self._view.metrics
        at = names.index(self.metric) if self.metric in names else 0
        self.metric = names[(at + step) % len(names)]
        self.draw()
        self._read()

    def turn_log(self) -> None:
        """Draw values by their logarithm, or as they are again."""
        self.logarithmic = not self.logarithmic
        self.draw()

    def turn_smoothing(self) -> None:
        """Smooth more, and after the most not at all."""
        self._weight = (self._weight + 1) % len(WEIGHTS)
        self.draw()

    def overlay(self, other: str | None) -> None:
        """Draw another run's curve over this one's, or none."""
        self.other, self._other_runs = other or "", True
        self.draw()
        self._read()
