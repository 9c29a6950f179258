"""How does one run go? Its state and why, how far it is, its curves, its log, its settings."""

from __future__ import annotations

import shlex
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
from textual.widgets import ContentSwitcher

from cxrlab.lab import Lab
from cxrlab.tui import acting, file_words, reading_run, telling, tracing
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import GpusRead, OpenRun, RegistryChanged, ResumeRun, StopRun
from cxrlab.tui.screens.pick import Pick
from cxrlab.tui.screens.samples import Samples
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.curves import CurvePane
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.log import LogView
from cxrlab.tui.widgets.log_search import LogSearch
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.words import tr
from store.runs import ENDED, NoSuchRun

LOG_NAME = "log.txt"
PAGES = ("watch", "config-page", "files-page")
LOG_S = 0.4
"""How often the log is looked at."""
SELDOM = 5
"""Of so many looks one is taken at the log of a run that has ended."""
NONE = "no other run"
PAPER = reading_run.PAPER


class RunScreen(Screen[None]):
    """One run, live."""

    TITLE = "run"
    AUTO_FOCUS = "LogView"
    BINDINGS = [
        Binding("m", "metric(1)", "Metric", tooltip="Draw the next metric."),
        Binding("M", "metric(-1)", "Metric back", show=False, tooltip="Draw the metric before."),
        Binding(
            "u",
            "use",
            "Use",
            show=False,
            tooltip="Draw what it uses of its machine, and back.",
        ),
        Binding(
            "f", "follow", "Follow", show=False, tooltip="Go to the end of the log and follow it."
        ),
        Binding("slash", "search", "Search", show=False, tooltip="Search the log upwards."),
        Binding("n", "search_on(-1)", "Older match", show=False, tooltip="The next older match."),
        Binding("N", "search_on(1)", "Newer match", show=False, tooltip="The next newer match."),
        Binding("E", "error", "Error", show=False, tooltip="The log's newest error; again: older."),
        Binding("L", "log_scale", "Log scale", show=False, tooltip="Values by their logarithm."),
        Binding("S", "smooth", "Smooth", show=False, tooltip="Running means: none, 0.6, 0.9."),
        Binding(
            "O",
            "overlay",
            "Overlay",
            show=False,
            tooltip="Draw another run's curve over this one's.",
        ),
        Binding(
            "left", "cursor(-1)", "Left", show=False, tooltip="Read the curves: a column back."
        ),
        Binding("right", "cursor(1)", "Right", show=False, tooltip="A column on."),
        Binding(
            "shift+left",
            "cursor(-10)",
            "Left",
            show=False,
            tooltip="Read the curves: ten columns back; then `left` and `right`.",
        ),
        Binding("shift+right", "cursor(10)", "Right", show=False, tooltip="Ten columns on."),
        Binding(
            "plus,equals_sign",
            "zoom(0.5)",
            "Zoom in",
            show=False,
            tooltip="Show fewer steps, about the cursor or the end.",
        ),
        Binding("minus", "zoom(2)", "Zoom out", show=False, tooltip="Show more steps."),
        Binding("0", "zoom(0)", "All steps", show=False, tooltip="Show all steps again."),
        Binding("c", "page('config-page')", "Config", tooltip="Every setting of the run."),
        Binding("v", "page('files-page')", "Files", tooltip="Checkpoints, origin, GPU use."),
        Binding("i", "samples", "Samples", show=False, tooltip="Its sample pictures."),
        Binding(
            "D",
            "compare",
            "Differences",
            show=False,
            tooltip="In what the settings differ from the paper's or another run's.",
        ),
        Binding(
            "y", "copy", "Copy", show=False, tooltip="Copy the command; the terminal keeps it."
        ),
        Binding("s", "stop", "Stop", tooltip="Stop the run; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let a stopped or lost run go on."),
        Binding("p", "parent", "Parent", show=False, tooltip="The run whose encoder it has."),
        Binding("escape,backspace", "back", "Back", tooltip="Back to where one came from."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """What is known of the run."""

        view: reading_run.RunView

    @dataclass
    class Gone(Message, bubble=False):
        """There is no such run."""

    @dataclass
    class Traced(Message, bubble=False):
        """What stands behind the run's files."""

        traced: tracing.Traced

    @dataclass
    class Compared(Message, bubble=False):
        """In what the run's settings differ from others."""

        compared: reading_run.Compared

    @dataclass
    class Settings(Message, bubble=False):
        """The resolved configuration."""

        settings: dict[str, object]

    def __init__(self, lab: Lab, run_id: str, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._run_id = run_id
        self._clock = clock
        self._view: reading_run.RunView | None = None
        self._settings: dict[str, object] = {}
        self._compared: reading_run.Compared | None = None
        self._traced: tracing.Traced | None = None
        self._gpus: GpusRead | None = None
        self._looks = 0
        self._asking = Asking(self, self._answer)
        self._tracing = Asking(self, lambda: self.Traced(tracing.read_traced(lab, run_id)))
        self._comparing = Asking(
            self, lambda other: self.Compared(reading_run.read_differences(lab, run_id, other))
        )
        self._setting = Asking(
            self, lambda folder: self.Settings(reading_run.read_settings(Path(folder)))
        )

    def _answer(self) -> Message:
        """Read on a thread; a run that is not there, or no more, is told apart."""
        try:
            return self.Read(reading_run.read_run(self._lab, self._run_id, now=self._clock()))
        except NoSuchRun:
            return self.Gone()

    @property
    def run_id(self) -> str:
        """The run that is shown."""
        return self._run_id

    @property
    def page(self) -> str:
        """Which page is open: one of `PAGES`."""
        return str(self.query_one(ContentSwitcher).current)

    @property
    def idle(self) -> tuple[str, ...]:
        """The actions that the run's state, or a folder that is gone, leaves nothing to do for."""
        if self._view is None:
            return ()
        gone = ("resume",) if self._view.gone else ()
        return (*acting.idle([self._view.run]), *gone)

    @property
    def subject(self) -> str:
        """What a note that is begun here is about."""
        return self._run_id

    def compose(self) -> ComposeResult:
        yield TopBar("run", lab=self._lab.root.name)
        yield Still(id="run-title", classes="title")
        yield Still(id="run-state", classes="line")
        yield Still(id="run-why", classes="line quiet")
        yield Still(id="run-next")
        with ContentSwitcher(initial="watch", id="pages"):
            with Vertical(id="watch"):
                with Horizontal(id="plots"):
                    yield CurvePane(self._lab, self._run_id, id="curve-pane")
                    yield Still(id="facts")
                yield Still(id="log-title")
                yield LogView(id="log")
                yield LogSearch()
            with VerticalScroll(id="config-page"):
                yield Still(id="config")
            with VerticalScroll(id="files-page"):
                yield Still(id="files")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.set_interval(LOG_S, self.look)
        self.set_interval(10, self.draw_head)  # ages change by themselves
        for what in ("following", "said"):
            self.watch(self.query_one(LogView), what, self.draw_log_title)
        self.app.theme_changed_signal.subscribe(self, lambda _: self.read())

    def look(self) -> None:
        """Look at the log, and at the GPUs where they are shown."""
        self._looks += 1
        ended = self._view is not None and self._view.run.state in ENDED
        if self.is_current:
            if not (ended and self._looks % SELDOM):
                self.query_one(LogView).poll()
            gpus = self.query_one(GpuStrip).read
            if gpus is not self._gpus and self.page == "files-page":
                self._gpus = gpus
                self.draw_files()

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask()

    def on_screen_resume(self) -> None:
        self.read()

    # -- drawing

    @on(Read)
    def draw(self, message: Read) -> None:
        view = self._view = message.view
        self.refresh_bindings()  # the foot leaves out what is idle
        self.draw_head()
        log = self.query_one(LogView)
        log.empty = tr("there is no log any more") if view.gone else ""
        if log.path is None:
            log.open(Path(view.run.folder) / LOG_NAME)
            self._setting.ask(view.run.folder)
        self.query_one("#facts", Still).update(telling.facts(view))
        self.draw_files()
        if self.page == "files-page":
            self._tracing.ask()
        todo = self.query_one("#run-next", Still)
        todo.display = bool(view.gone or view.next or view.notes)
        todo.update(telling.todo(view))
        self.query_one(CurvePane).show(view)

    def draw_head(self) -> None:
        """Say what it is and how far, by the clock and the width as they are."""
        if self._view is None:
            return
        run, now, width = self._view.run, self._clock(), self.size.width
        self.query_one("#run-title", Still).update(telling.title(run, width=width))
        self.query_one("#run-state", Still).update(
            telling.progress(run, now=now, width=width, colours=self.app.theme_variables)
        )
        self.query_one("#run-why", Still).update(telling.why(self._view, now=now))

    def on_resize(self) -> None:
        self.draw_head()

    @on(Gone)
    def leave(self) -> None:
        """Go back, for there is nothing to see; a question that stands above is left alone."""
        if self.app.screen is self:
            self.notify(tr("{run} is gone").format(run=self._run_id), markup=False)
            self.dismiss()

    @on(Traced)
    def take_traced(self, message: Traced) -> None:
        self._traced = message.traced
        self.draw_files()

    def draw_files(self) -> None:
        """Show what the run has left behind; only while the page is open what stands behind it."""
        if self._view is not None and self.page == "files-page":
            said = file_words.files(
                self._view, root=self._lab.root, traced=self._traced, gpus=self._gpus
            )
            self.query_one("#files", Still).update(said)

    def draw_log_title(self) -> None:
        """Say whether the log is followed, and what there is to say of a search."""
        log = self.query_one(LogView)
        how = tr("following") if log.following else tr("standing still, `f` follows")
        how += f"  {log.said}" if log.said else ""
        self.query_one("#log-title", Still).update(Text(f"{LOG_NAME}  {how}"))

    @on(Settings)
    def take_settings(self, message: Settings) -> None:
        self._settings = message.settings
        self.draw_settings()

    @on(Compared)
    def take_differences(self, message: Compared) -> None:
        self._compared = message.compared
        self.draw_settings()

    def draw_settings(self) -> None:
        """Show in what the run differs from what it was compared to, and every setting."""
        said = telling.differences(self._compared) if self._compared else Text()
        said.append_text(telling.settings(self._settings))
        self.query_one("#config", Still).update(said)

    # -- keys

    def action_metric(self, step: int) -> None:
        self._watch()
        self.query_one(CurvePane).turn_metric(step)

    def action_use(self) -> None:
        self._turn_to("watch")
        if not self.query_one(CurvePane).turn_group():
            self.notify(tr("nobody has seen yet what it uses"), markup=False)

    def action_log_scale(self) -> None:
        self._watch()
        self.query_one(CurvePane).turn_log()

    def action_smooth(self) -> None:
        self._watch()
        self.query_one(CurvePane).turn_smoothing()

    def action_cursor(self, columns: int) -> None:
        if self.query_one(ContentSwitcher).current == "watch":
            self.query_one(CurvePane).move_cursor(columns)

    def action_zoom(self, factor: float) -> None:
        if self.query_one(ContentSwitcher).current == "watch":
            self.query_one(CurvePane).zoom(factor)

    def action_overlay(self) -> None:
        pane = self.query_one(CurvePane)
        if self._view is None or not pane.metric:
            return
        run, metric = self._view.run, pane.metric
        self.app.push_screen(
            Pick(
                tr("Draw {metric} of which run over {run}?").format(metric=metric, run=run.id),
                lambda: reading_run.read_alike(self._lab, run, metric),
                first=NONE,
                now=self._clock(),
            ),
            self._overlay,
        )

    def _overlay(self, chosen: str | None) -> None:
        if chosen is not None:
            self._watch()
            self.query_one(CurvePane).overlay(None if chosen == NONE else chosen)

    def action_compare(self) -> None:
        if self._view is None:
            return
        run = self._view.run
        self.app.push_screen(
            Pick(
                tr("In what do the settings of {run} differ from those of …?").format(run=run.id),
                lambda: reading_run.read_alike(self._lab, run),
                first=PAPER,
                now=self._clock(),
            ),
            self._compare,
        )

    def _compare(self, chosen: str | None) -> None:
        if chosen is not None:
            self._compared = reading_run.Compared(chosen, None)
            self.draw_settings()
            self._turn_to("config-page")
            self._comparing.ask("" if chosen == PAPER else chosen)

    def action_copy(self) -> None:
        if self._view is not None:
            self.app.copy_to_clipboard(shlex.join(self._view.run.command))
            self.notify(tr("the run's command is in the clipboard"), markup=False)

    def action_follow(self) -> None:
        self._turn_to("watch")
        self.query_one(LogView).action_follow()

    def action_search(self) -> None:
        self._turn_to("watch")
        self.query_one(LogSearch).begin()

    def action_search_on(self, step: int) -> None:
        self._turn_to("watch")
        self.query_one(LogView).search_on(step)

    def action_error(self) -> None:
        self._turn_to("watch")
        self.query_one(LogView).search_error()

    def action_page(self, page: str) -> None:
        pages = self.query_one(ContentSwitcher)
        self._turn_to("watch" if pages.current == page else page)

    def _watch(self) -> None:
        """Turn to the curves, where another page is open."""
        if self.page != "watch":
            self._turn_to("watch")

    def _turn_to(self, page: str) -> None:
        self.query_one(ContentSwitcher).current = page
        if page == "files-page":
            self._gpus = self.query_one(GpuStrip).read
            self.draw_files()
            self._tracing.ask()
        self.set_focus(self.query_one("#log" if page == "watch" else f"#{page}"))

    def action_samples(self) -> None:
        if self._view is not None:
            self.app.push_screen(Samples(self._view))

    def action_stop(self) -> None:
        if self._view is not None:
            self.post_message(StopRun(self._view.run))

    def action_resume(self) -> None:
        if self._view is not None:
            self.post_message(ResumeRun(self._view.run))

    def action_parent(self) -> None:
        if self._view is not None and self._view.parent is not None:
            self.post_message(OpenRun(self._view.parent.id))
        elif self._view is not None:
            self.notify(tr("it starts from no run of this lab"), markup=False)

    def action_back(self) -> None:
        if self.query_one(LogView).cancel():
            return
        if self.query_one(ContentSwitcher).current != "watch":
            self._turn_to("watch")
        elif self.query_one(CurvePane).hide_cursor():
            self.query_one(LogView).focus()
        else:
            self.dismiss()
