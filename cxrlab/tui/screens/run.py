"""How does one run go? Its state and why, how far it is, its curves, its log, its settings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, Static

from cxrlab.lab import Lab
from cxrlab.tui import reading, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import OpenRun, RegistryChanged, ResumeRun, StopRun
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.curve import Curve, Series
from cxrlab.tui.widgets.log import LogView
from cxrlab.tui.widgets.strip import GpuStrip
from store.points import Point, thin

LOG_NAME = "log.txt"
PAGES = ("watch", "config-page", "files-page")
LOG_S = 0.4
"""How often the log is looked at."""
FIRST_METRICS = ("train/loss", "val/loss")


class RunScreen(Screen[None]):
    """One run, live."""

    TITLE = "run"
    AUTO_FOCUS = "LogView"
    BINDINGS = [
        Binding("m", "metric(1)", "Metric", tooltip="Draw the next metric."),
        Binding("M", "metric(-1)", "Metric back", show=False, tooltip="Draw the metric before."),
        Binding(
            "f", "follow", "Follow", show=False, tooltip="Go to the end of the log and follow it."
        ),
        Binding("c", "page('config-page')", "Config", tooltip="Every setting of the run."),
        Binding("v", "page('files-page')", "Files", tooltip="Results, checkpoints, warnings."),
        Binding("s", "stop", "Stop", tooltip="Stop the run; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let a stopped or lost run go on."),
        Binding("p", "parent", "Parent", show=False, tooltip="The run whose encoder it has."),
        Binding("escape,backspace", "back", "Back", tooltip="Back to where one came from."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """What is known of the run."""

        view: reading.RunView

    @dataclass
    class Drawn(Message, bubble=False):
        """Points of the metrics that are shown."""

        new: list[reading.NewPoints]

    @dataclass
    class Settings(Message, bubble=False):
        """The resolved configuration."""

        settings: dict[str, object]

    def __init__(self, lab: Lab, run_id: str, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._id = run_id
        self._clock = clock
        self._view: reading.RunView | None = None
        self._metric = ""
        self._points: dict[str, list[Point]] = {}
        self._attempt = -1
        self._asking = Asking(self, lambda: self.Read(reading.read_run(lab, run_id)))
        self._pointing = Asking(
            self, lambda *asked: self.Drawn(reading.read_points(lab, run_id, *asked))
        )
        self._setting = Asking(
            self, lambda folder: self.Settings(reading.read_settings(Path(folder)))
        )

    def compose(self) -> ComposeResult:
        yield TopBar("run", lab=self._lab.root.name)
        yield Static(id="run-title", classes="title")
        yield Static(id="run-state", classes="line")
        yield Static(id="run-why", classes="line quiet")
        with ContentSwitcher(initial="watch", id="pages"):
            with Vertical(id="watch"):
                with Horizontal(id="plots"):
                    with Vertical(id="curve-pane"):
                        yield Static(id="curve-title")
                        yield Curve(id="curve")
                    yield Static(id="facts")
                yield Static(id="log-title")
                yield LogView(id="log")
            with VerticalScroll(id="config-page"):
                yield Static(id="config")
            with VerticalScroll(id="files-page"):
                yield Static(id="files")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.set_interval(LOG_S, self.look)
        self.app.theme_changed_signal.subscribe(self, lambda _: self.read())

    def look(self) -> None:
        """Look at the log, and let the times that pass be seen."""
        if self.is_current:
            self.query_one(LogView).poll()
            self.draw_log_title()

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask()

    def on_screen_resume(self) -> None:
        self.read()

    # -- drawing

    @on(Read)
    def draw(self, message: Read) -> None:
        view = self._view = message.view
        log = self.query_one(LogView)
        if log.path is None:
            log.open(Path(view.run.folder) / LOG_NAME)
            self._setting.ask(view.run.folder)
        width = self.size.width
        self.query_one("#run-title", Static).update(telling.title(view.run, width=width))
        self.query_one("#run-state", Static).update(
            telling.progress(
                view.run, now=self._clock(), width=width, colours=self.app.theme_variables
            )
        )
        self.query_one("#run-why", Static).update(telling.why(view, now=self._clock()))
        self.query_one("#facts", Static).update(telling.facts(view))
        self.query_one("#files", Static).update(telling.files(view, root=self._lab.root))
        if view.run.attempt != self._attempt:
            # a new attempt supersedes points that were drawn: all are read again
            self._attempt = view.run.attempt
            self._points = {}
        if view.metrics and self._metric not in view.metrics:
            found = (name for name in FIRST_METRICS if name in view.metrics)
            self._metric = next(found, view.metrics[0])
        self.draw_curve()
        self.read_points()

    def read_points(self) -> None:
        """Ask for what is new of the metrics shown."""
        asked = []
        for name in self._shown():
            held = self._points.get(name)
            asked.append((name, held[-1][0] if held else None))
        if asked:
            self._pointing.ask(asked, self._attempt)

    def _shown(self) -> list[str]:
        """Return the metric chosen, and its counterpart in training or validation."""
        if not self._metric or self._view is None:
            return []
        split, _, name = self._metric.partition("/")
        other = {"train": "val", "val": "train"}.get(split, "")
        both = [self._metric, f"{other}/{name}"]
        return sorted(n for n in both if n in self._view.metrics)

    @on(Drawn)
    def take_points(self, message: Drawn) -> None:
        for new in message.new:
            held = self._points.get(new.metric, [])
            if new.attempt != self._attempt or new.after != (held[-1][0] if held else None):
                continue  # an answer to an older question
            self._points[new.metric] = thin([*held, *new.points], reading.MOST_POINTS)
        self.draw_curve()

    def draw_curve(self) -> None:
        """Draw the metrics shown, and their last values over them."""
        shown = self._shown()
        series = [Series(name, self._points.get(name, [])) for name in shown]
        curve = self.query_one(Curve)
        same = [drawn.name for drawn in curve.series] == shown
        empty = not any(one.points for one in series)
        if tuple(series) != curve.series and not (same and empty):  # keeps it until all is read
            curve.show([Series(s.name, list(s.points)) for s in series])
        last = self._view.last if self._view else {}
        count = len(self._view.metrics) if self._view else 0
        at = self._view.metrics.index(self._metric) + 1 if self._view and self._metric else 0
        self.query_one("#curve-title", Static).update(
            telling.curve_title(shown, last, at=at, count=count)
        )

    def draw_log_title(self) -> None:
        """Say whether the log is followed."""
        log = self.query_one(LogView)
        how = "following" if log.following else "standing still, `f` follows"
        self.query_one("#log-title", Static).update(Text(f"{LOG_NAME}  {how}"))

    @on(Settings)
    def draw_settings(self, message: Settings) -> None:
        self.query_one("#config", Static).update(telling.settings(message.settings))

    # -- keys

    def action_metric(self, step: int) -> None:
        if self._view is None or not self._view.metrics:
            return
        names = self._view.metrics
        at = names.index(self._metric) if self._metric in names else 0
        self._metric = names[(at + step) % len(names)]
        self.draw_curve()
        self.read_points()

    def action_follow(self) -> None:
        self._turn_to("watch")
        self.query_one(LogView).action_follow()

    def action_page(self, page: str) -> None:
        pages = self.query_one(ContentSwitcher)
        self._turn_to("watch" if pages.current == page else page)

    def _turn_to(self, page: str) -> None:
        self.query_one(ContentSwitcher).current = page
        target = LogView if page == "watch" else f"#{page}"
        self.query_one(target).focus()

    def action_stop(self) -> None:
        if self._view is not None:
            self.post_message(StopRun(self._view.run))

    def action_resume(self) -> None:
        if self._view is not None:
            self.post_message(ResumeRun(self._view.run))

    def action_parent(self) -> None:
        if self._view is not None and self._view.parent is not None:
            self.post_message(OpenRun(self._view.parent.id))

    def action_back(self) -> None:
        if self.query_one(ContentSwitcher).current != "watch":
            self._turn_to("watch")
        else:
            self.dismiss()
