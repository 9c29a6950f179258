"""Which runs are there? A window over the registry, filtered as one types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Input, Label

from cxrlab import text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import reading
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import OpenRun, RegistryChanged, ResumeRun, StopRun
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Column, Part, Row, Table
from store.runs import Run

WIDE = 120
FIRST = 128
"""Rows read when the screen opens."""


class Filter(Input):
    """Where the filter is typed; every other key of the screen waits meanwhile."""

    BINDINGS = [
        Binding("enter,down", "screen.leave_filter", "To the runs", tooltip="Back to the table."),
        Binding("escape", "screen.clear", "Drop the filter", tooltip="Show every run again."),
    ]


class RunsScreen(Screen[None]):
    """A table of runs, newest first."""

    TITLE = "runs"
    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("enter", "open", "Open", tooltip="The run's state, curves, log and settings."),
        Binding(
            "slash",
            "filter",
            "Filter",
            key_display="/",
            tooltip="Type words of id, method, task or state.",
        ),
        Binding("s", "stop", "Stop", tooltip="Stop the run; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let a stopped or lost run go on."),
        Binding("escape", "clear", "Clear", show=False, tooltip="Drop the filter."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """A window of rows, freshly read."""

        view: reading.RunsView

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._view: reading.RunsView | None = None
        self._window = (0, FIRST)
        self._asking = Asking(self, lambda *asked: self.Read(reading.read_runs(lab, *asked)))

    def compose(self) -> ComposeResult:
        yield TopBar("runs", lab=self._lab.root.name)
        with Horizontal(id="filter-line"):
            yield Label("/", id="filter-label")
            yield Filter(id="filter", placeholder="filter: mrm  siim  state:running  seed:0")
            yield Label("", id="filter-count", markup=False)
        yield Table(cursor="row", frozen=2, id="runs")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.set_interval(10, self.redraw)

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask(self.query_one(Input).value, *self._window)

    def on_screen_resume(self) -> None:
        self.read()

    @on(Table.RowsWanted)
    def read_window(self, message: Table.RowsWanted) -> None:
        self._window = (message.offset, message.limit)
        self.read()

    @on(Input.Changed)
    def filter_changed(self) -> None:
        self._window = (0, FIRST)
        self.query_one(Table).move_to(0)
        self.read()

    @on(Read)
    def draw(self, message: Read) -> None:
        before = self.selected
        self._view = message.view
        view = message.view
        if before is not None and view.typed == self.query_one(Input).value:
            # new runs come on top: the cursor stays on its run
            at = next((i for i, run in enumerate(view.runs) if run.id == before.id), None)
            if at is not None and self.query_one(Table).row:
                self.query_one(Table).row = view.offset + at
        self.redraw()
        matched = f"{view.fitting:,} of {view.total:,}" if view.typed.strip() else f"{view.total:,}"
        noun = "run" if view.total == 1 else "runs"
        self.query_one("#filter-count", Label).update(f"{matched} {noun}")

    def redraw(self) -> None:
        """Draw what was read last; ages change by themselves."""
        if self._view is None:
            return
        wide = self.size.width >= WIDE
        rows = [row_of(run, now=self._clock(), wide=wide) for run in self._view.runs]
        columns = columns_of(wide=wide)
        table = self.query_one(Table)
        table.show(columns, rows, offset=self._view.offset, count=self._view.fitting)
        table.empty = "no run fits the filter" if self._view.total else "no run yet: `1`, then `l`"

    def on_resize(self) -> None:
        self.redraw()

    @property
    def selected(self) -> Run | None:
        """The run under the cursor, where it has been read."""
        if self._view is None:
            return None
        at = self.query_one(Table).row - self._view.offset
        return self._view.runs[at] if 0 <= at < len(self._view.runs) else None

    # -- keys

    @on(Table.Chosen)
    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(OpenRun(self.selected.id))

    def action_filter(self) -> None:
        self.query_one(Input).focus()

    def action_leave_filter(self) -> None:
        self.query_one(Table).focus()

    def action_clear(self) -> None:
        self.query_one(Input).value = ""
        self.query_one(Table).focus()

    def action_stop(self) -> None:
        if self.selected is not None:
            self.post_message(StopRun(self.selected))

    def action_resume(self) -> None:
        if self.selected is not None:
            self.post_message(ResumeRun(self.selected))


def columns_of(*, wide: bool) -> list[Column]:
    """Return the columns that fit: eight in 79 cells, more where there is room."""
    columns = [
        Column("run", 6),
        Column("state", 11),
        Column("method", 10),
        Column("task", 14),
        Column("labels", 6, right=True),
        Column("seed", 4, right=True),
        Column("progress", 9),
        Column("left/took", 9, right=True),
    ]
    if wide:
        columns += [
            Column("step", 15, right=True),
            Column("preset", 6),
            Column("recipe", 8),
            Column("attempt", 7, right=True),
            Column("queued", 9, right=True),
            Column("why", 20, grows=True),
        ]
    return columns


def row_of(run: Run, *, now: float, wide: bool) -> Row:
    """Return a run's cells; text from outside is made harmless."""
    share = run.done / run.total if run.done is not None and run.total else None
    if run.state == "running":
        time_s = run.eta_s
    else:
        time_s = run.ended - run.started if run.ended and run.started else None
    row: list[Sequence[Part]] = [
        [(run.id, "strong")],
        [(text.state(run.state), run.state)],
        [(harmless(run.method), "")],
        [(harmless(run.task), "")],
        [("" if run.ratio is None else f"{run.ratio} %", "")],
        [(str(run.seed), "")],
        gauge(share, state=run.state),
        [(text.duration(time_s) if time_s is not None else "", "")],
    ]
    if wide:
        row += [
            [(_steps(run), "")],
            [(harmless(run.preset), "dim")],
            [(run.recipe[:8], "dim")],
            [(str(run.attempt) if run.attempt else "", "")],
            [(text.ago(run.created, now), "dim")],
            [(harmless(run.reason), "dim")],
        ]
    return row


def gauge(share: float | None, *, state: str, width: int = 4) -> list[Part]:
    """Return how much is done, as a bar and a number."""
    if share is None:
        return [("", "")]
    full = round(max(0.0, min(1.0, share)) * width)
    style = "running" if state == "running" else "dim"
    return [("█" * full, style), ("░" * (width - full), "dim"), (f"{share * 100:4.0f}%", style)]


def _steps(run: Run) -> str:
    if run.done is None:
        return ""
    return f"{run.done:,}/{run.total:,}" if run.total else f"{run.done:,}"
