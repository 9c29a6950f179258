"""Which curves of a run are drawn, and how? One metric with its counterpart, and another run's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Static

from cxrlab import chart, text, use_words
from cxrlab.lab import Lab
from cxrlab.tui import reading_run, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.widgets import cursor
from cxrlab.tui.widgets.curve import COLOURS, Curve, Series
from cxrlab.tui.words import tr
from store.points import Point, thin
from store.runs import Run

FIRST_METRICS = ("train/loss", "val/loss")
WEIGHTS = (0.0, 0.6, 0.9)
"""How much of the running mean before is kept at each point, in [0, 1)."""


LABELS = 7
"""Columns that the values beside a plot take, about."""


class CurvePane(Vertical, can_focus=True):
    """The curves of one run under a line that names them. It reads the points that it draws.

    While it has the focus there is a cursor, and a line that says what the curves are there.
    """

    @dataclass
    class Drawn(Message, bubble=False):
        """Points of the metrics that are shown."""

        new: list[reading_run.NewPoints]

    @dataclass
    class OtherDrawn(Message, bubble=False):
        """Points of another run, for one metric."""

        run: Run
        new: reading_run.NewPoints

    @dataclass
    class WindowRead(Message, bubble=False):
        """Points of a window of steps, by run and metric."""

        attempt: int
        window: cursor.Window
        new: dict[tuple[str, str], tuple[Point, ...]]

    def __init__(self, lab: Lab, run_id: str, *, id: str) -> None:
        super().__init__(id=id)
        self._run_id = run_id
        self.place = cursor.Place()
        """Where the cursor is, or was, and which steps are shown."""
        self._reads = False
        self._near: dict[tuple[str, str], tuple[cursor.Window, Sequence[Point]]] = {}
        """The points last read of a window of steps, and of the steps before it, by what."""
        self.metric = ""
        self.of_use = False
        """Whether curves are drawn of what the run uses of its machine, over time."""
        self.logarithmic = False
        self.other = ""
        """The id of the run that is drawn over this one."""
        self._weight = 0
        self._view: reading_run.RunView | None = None
        self._points: dict[str, list[Point]] = {}
        self._others: dict[tuple[str, str], list[Point]] = {}
        self._other_runs = True
        self._attempt = -1
        self._settled = True
        """Whether the steps shown are known to be some of this attempt's."""
        self._asking = Asking(
            self, lambda *asked: self.Drawn(reading_run.read_points(lab, run_id, *asked))
        )
        self._asking_other = Asking(
            self, lambda *asked: self.OtherDrawn(*reading_run.read_other(lab, *asked))
        )
        self._asking_window = Asking(self, partial(self._read_window, lab))

    def compose(self) -> ComposeResult:
        yield Static(id="curve-title")
        yield Curve(id="curve")
        line = Static(id="curve-reading")
        line.display = False
        yield line

    def show(self, view: reading_run.RunView) -> None:
        """Draw what is known of the run, and ask for what is new."""
        self._view = view
        if view.run.attempt != self._attempt:
            # a new attempt supersedes points that were drawn: all are read again
            self._attempt = view.run.attempt
            self._points, self._near, self._settled = {}, {}, False
        names = self._names()
        if names and self.metric not in names:
            self.metric = next((name for name in FIRST_METRICS if name in names), names[0])
        self.draw()
        self._read()

    def _names(self) -> tuple[str, ...]:
        """Return the metrics that one turns through; of each GPU's one stands for all."""
        if self._view is None:
            return ()
        if self.of_use:
            kinds = use_words.by_kind(self._view.use_metrics)
            return tuple(names[0] for names in kinds.values())
        return self._view.metrics

    def _read(self) -> None:
        asked = []
        for name in self._shown():
            held = self._points.get(name)
            asked.append((name, held[-1][0] if held else None))
        if asked:
            self._asking.ask(asked, self._attempt)
        if self.other and (self._other_runs or (self.other, self.metric) not in self._others):
            self._asking_other.ask(self.other, self.metric)
        window = self.place.window
        near = [
            (run, metric)
            for _, run, metric in self._curves()
            if (run, metric) not in self._near or self._near[run, metric][0] != window
        ]
        if window and near:
            self._asking_window.ask(near, self._attempt, window)

    @classmethod
    def _read_window(
        cls, lab: Lab, asked: list[tuple[str, str]], attempt: int, window: cursor.Window
    ) -> WindowRead:
        """Read the points of a window, and as many steps before it for the running means."""
        first, last = window
        new = reading_run.read_window(lab, asked, 2 * first - last, last)
        return cls.WindowRead(attempt, window, new)

    def _curves(self) -> list[tuple[str, str, str]]:
        """Return what is drawn: the name, the run and the metric of each curve."""
        drawn = [(name, self._run_id, name) for name in self._shown()]
        return drawn + [(self.other, self.other, self.metric)] * bool(self.other and self.metric)

    def _whole(self, run: str, metric: str) -> Sequence[Point]:
        """Return the points held of a whole curve."""
        if run == self._run_id:
            return self._points.get(metric, [])
        return self._others.get((run, metric), [])

    def _held(self, run: str, metric: str) -> Sequence[Point]:
        """Return the points that the curve is drawn from, those before the window too.

        Until those of the window have been read it is drawn from what there is.
        """
        whole, window = self._whole(run, metric), self.place.window
        if window is None:
            return whole
        of, near = self._near.get((run, metric), (None, ()))
        return near if of == window else sorted({*whole, *near})

    def _shown(self) -> list[str]:
        """Return the metric chosen, and its counterpart in training or validation, or of GPUs."""
        if not self.metric or self._view is None:
            return []
        if self.of_use:
            return use_words.by_kind(self._view.use_metrics).get(use_words.kind(self.metric), [])
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
            self._points[new.metric] = thin([*held, *new.points], reading_run.MOST_POINTS)
        every = self._every()
        if not self._settled and every is not None:
            self.place, self._settled = cursor.settled(self.place, every), True
        self.draw()

    @on(OtherDrawn)
    def _take_other(self, message: OtherDrawn) -> None:
        self._others[message.run.id, message.new.metric] = list(message.new.points)
        if message.run.id == self.other:
            self._other_runs = message.run.state == "running"
        self.draw()

    @on(WindowRead)
    def _take_window(self, message: WindowRead) -> None:
        if message.attempt == self._attempt:
            self._near |= {what: (message.window, new) for what, new in message.new.items()}
            self.draw()

    def draw(self) -> None:
        """Draw the metrics shown, and their last values over them."""
        place = self.place
        series = [
            Series(
                name,
                cursor.within(self._made(self._held(run, metric)), place.window),
                other=run != self._run_id,
                line=self.of_use,
            )
            for name, run, metric in self._curves()
        ]
        last = dict(self._view.last) if self._view else {}
        if self.other and (points := self._whole(self.other, self.metric)):
            last |= {self.other: points[-1][1]}
        curve = self.query_one(Curve)
        same = [drawn.name for drawn in curve.series] == [one.name for one in series]
        empty = not any(one.points for one in series)
        at = place.cursor if self._reads else None
        drawn = (curve.series, curve.logarithmic, curve.cursor, curve.window)
        changed = drawn != (tuple(series), self.logarithmic, at, place.window)
        unread = not all(name in self._points for name in self._shown())
        if changed and not (same and empty and unread):  # keeps it until all is read
            curve.show(
                series,
                logarithmic=self.logarithmic,
                cursor=at,
                window=place.window,
                timed=self.of_use,
            )
        self._draw_reading(at)
        self._draw_title(series, last)

    def _draw_reading(self, at: int | None) -> None:
        """Say what the curves are at the cursor, where there is one."""
        line = self.query_one("#curve-reading", Static)
        line.display = at is not None
        if at is None:
            return
        read = []
        for name, run, metric in self._curves():
            held = self._held(run, metric)
            point = cursor.nearest(cursor.within(held, self.place.window), at)
            if point is not None:
                made = dict(self._made(held))[point[0]] if WEIGHTS[self._weight] else None
                read.append(cursor.Read(name, metric, *point, made))
        epoch = self._epoch(read[0].step) if read else None
        line.update(cursor.told(read, epoch, timed=self.of_use))

    def _epoch(self, step: int) -> float | None:
        """Return the epoch at a step; the registry knows that of the last one."""
        run = self._view.run if self._view else None
        if run is None or run.epoch is None or not run.step or self.of_use:
            return None
        return run.epoch * step / run.step

    def _draw_title(self, series: Sequence[Series], last: Mapping[str, float]) -> None:
        names = self._names()
        count = len(names)
        at = names.index(self.metric) + 1 if self.metric in names else 0
        weight = WEIGHTS[self._weight]
        how = [tr("log scale")] * self.logarithmic
        how += [tr("smoothed {weight:g}").format(weight=weight)] * bool(weight)
        if self.place.window:
            first, end = self.place.window
            how.append(
                tr("{low} to {high}").format(low=text.duration(first), high=text.duration(end))
                if self.of_use
                else tr("steps {first} to {last}").format(first=f"{first:,}", last=f"{end:,}")
            )
        self.query_one("#curve-title", Static).update(
            telling.curve_title(
                [one.name for one in series],
                last,
                at=at,
                count=count,
                how=how,
                other=self.other,
                metric=self.metric,
                colours=[self.app.theme_variables[name] for name in COLOURS] if self.of_use else (),
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
        names = self._names()
        if not names:
            return
        at = names.index(self.metric) if self.metric in names else 0
        self.metric = names[(at + step) % len(names)]
        self.draw()
        self._read()

    def turn_group(self) -> bool:
        """Turn from the training to what the run uses of its machine, and back.

        Returns:
            False where there is nothing of the latter.
        """
        if self._view is None or not (self.of_use or self._view.use_metrics):
            return False
        self.of_use = not self.of_use
        self.metric, self.place = "", cursor.Place()
        self.show(self._view)
        return True

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

    # -- the cursor

    def on_focus(self) -> None:
        self._reads = True
        if self.place.cursor is None:
            self.move_cursor(0)
        self.draw()

    def on_blur(self) -> None:
        self._reads = False
        self.draw()

    def move_cursor(self, columns: int) -> None:
        """Move the cursor by columns; show it where it is hidden."""
        every = self._every()
        if every is None:
            return
        if not self._reads and columns:
            self.focus()
            return
        held = (self._held(run, metric) for _, run, metric in self._curves())
        along = next(filter(None, (cursor.within(each, self.place.window) for each in held)), [])
        width = self.query_one(Curve).size.width - LABELS
        self._go(cursor.moved(self.place, [step for step, _ in along], every, width, columns))

    def hide_cursor(self) -> bool:
        """Forget the cursor; return whether there was one to be seen."""
        shown = self._reads
        self.place = replace(self.place, cursor=None)
        self._reads = False
        self.draw()
        return shown

    def zoom(self, factor: float) -> None:
        """Show `factor` times as many steps; all where it is 0."""
        every = self._every()
        if every is not None and factor:
            self._go(cursor.zoomed(self.place, every, factor))
        else:
            self._go(replace(self.place, window=None))

    def _go(self, place: cursor.Place) -> None:
        self.place = place
        self.draw()
        self._read()

    def _every(self) -> cursor.Window | None:
        """Return the first and the last step there is."""
        whole = [self._whole(run, metric) for _, run, metric in self._curves()]
        ends = [step for points in whole if points for step in (points[0][0], points[-1][0])]
        return (min(ends), max(ends)) if ends else None
