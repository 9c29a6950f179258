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
from textual.widgets import Input, Label

from cxrlab import text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import acting, reading
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import ActOnRuns, OpenRun, RegistryChanged, ResumeRun, StopRun
from cxrlab.tui.screens.question import Question
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Column, Part, Row, Table
from store import matching
from store.runs import Run

WIDE = 120
MOST_MARKED = 1000
"""So many runs can be marked at once by one key."""
ORDERS = tuple(matching.ORDERS)
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
        Binding("s", "stop", "Stop", tooltip="Stop the run, or those marked; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let stopped or lost runs go on."),
        Binding("space", "mark", "Mark", show=False, tooltip="Mark the run for the next key."),
        Binding(
            "A",
            "mark_all",
            "Mark all",
            show=False,
            tooltip=f"Mark all that the filter fits, up to {MOST_MARKED:,}.",
        ),
        Binding("o", "sort", "Sort", show=False, tooltip="Newest, by state, by method, longest."),
        Binding("R", "retry", "Retry", show=False, tooltip="Let failed runs try again."),
        Binding(
            "X,delete", "remove", "Remove", show=False, tooltip="Remove run and folder; asks first."
        ),
        Binding(
            "escape", "unmark", "Clear", show=False, tooltip="Drop the marks, then the filter."
        ),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """A window of rows, freshly read."""

        view: reading.RunsView

    @dataclass
    class Marked(Message, bubble=False):
        """The runs that the filter fits."""

        typed: str
        runs: list[Run]

    @dataclass
    class Weighed(Message, bubble=False):
        """How much disk the runs take that are to be removed."""

        runs: list[Run]
        size: int

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._view: reading.RunsView | None = None
        self._window = (0, FIRST)
        self._order = ORDERS[0]
        self._marked: dict[str, Run] = {}
        self._asking = Asking(self, lambda *asked: self.Read(reading.read_runs(lab, *asked)))
        self._marking = Asking(
            self,
            lambda typed, order: self.Marked(
                typed, reading.read_fitting(lab, typed, MOST_MARKED, order)
            ),
        )
        self._weighing = Asking(
            self, lambda chosen: self.Weighed(chosen, acting.freed(chosen, lab))
        )

    def compose(self) -> ComposeResult:
        yield TopBar("runs", lab=self._lab.root.name)
        with Horizontal(id="filter-line"):
            yield Label("/", id="filter-label")
            yield Filter(id="filter", placeholder="filter: mrm  siim  state:running  seed:0")
            yield Label("", id="filter-count", markup=False)
        yield Table(cursor="row", frozen=2, id="runs")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.set_interval(10, self.redraw)

    @on(RegistryChanged)
    def read(self) -> None:
        typed = self.query_one(Input).value
        self._asking.ask(typed, *self._window, self._order, list(self._marked))

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
        shown_before = (self._view.typed, self._view.order) if self._view else None
        view = self._view = message.view
        now = {run.id: run for run in view.marked}
        self._marked = {id: now.get(id, run) for id, run in self._marked.items()}
        asked_for = (self.query_one(Input).value, self._order)
        if before is not None and (view.typed, view.order) == asked_for == shown_before:
            # new runs come on top: the cursor stays on its run
            at = next((i for i, run in enumerate(view.runs) if run.id == before.id), None)
            if at is not None and self.query_one(Table).row:
                self.query_one(Table).row = view.offset + at
        self.redraw()

    def redraw(self) -> None:
        """Draw what was read last; ages change by themselves."""
        if self._view is None:
            return
        wide = self.size.width >= WIDE
        rows = [row_of(run, now=self._clock(), wide=wide) for run in self._view.runs]
        columns = columns_of(wide=wide)
        table = self.query_one(Table)
        table.marked = frozenset(
            at
            for at, run in enumerate(self._view.runs, self._view.offset)
            if run.id in self._marked
        )
        self.query_one("#filter-count", Label).update(self._counted(self._view))
        table.show(columns, rows, offset=self._view.offset, count=self._view.fitting)
        table.empty = "no run fits the filter" if self._view.total else "no run yet: `1`, then `l`"

    def _counted(self, view: reading.RunsView) -> str:
        """Return how many runs are marked, how many fit, and how they are sorted."""
        matched = f"{view.fitting:,} of {view.total:,}" if view.typed.strip() else f"{view.total:,}"
        said = f"{matched} {'run' if view.total == 1 else 'runs'}"
        if self._marked:
            said = f"{len(self._marked):,} marked · {said}"
        if view.order != ORDERS[0]:
            said += f", {view.order} first" if view.order == "longest" else f", by {view.order}"
        return said

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

    # -- marks, and what is done to many

    def action_unmark(self) -> None:
        if self._marked:
            self._marked = {}
            self.redraw()
        else:
            self.action_clear()

    def action_mark(self) -> None:
        run = self.selected
        if run is not None:
            if self._marked.pop(run.id, None) is None:
                self._marked[run.id] = run
            self.redraw()
            self.query_one(Table).action_move(1, 0)

    def action_mark_all(self) -> None:
        self._marking.ask(self.query_one(Input).value, self._order)

    @on(Marked)
    def take_marks(self, message: Marked) -> None:
        if message.typed != self.query_one(Input).value:
            return  # typed on meanwhile
        self._marked = {run.id: run for run in message.runs}
        self.redraw()
        if self._view is not None and self._view.fitting > MOST_MARKED:
            said = f"only the first {MOST_MARKED:,} are marked"
            self.notify(said, severity="warning", markup=False)

    def action_sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self._window = (0, FIRST)
        self.query_one(Table).move_to(0)
        self.read()

    def chosen(self) -> list[Run]:
        """Return the runs that are marked, or else the one under the cursor."""
        if self._marked:
            return list(self._marked.values())
        return [self.selected] if self.selected is not None else []

    def action_stop(self) -> None:
        chosen = self.chosen()
        if self._marked:
            self._ask("stop", chosen)
        elif chosen:
            self.post_message(StopRun(chosen[0]))

    def action_resume(self) -> None:
        chosen = self.chosen()
        if self._marked:
            self._do("resume", chosen)
        elif chosen:
            self.post_message(ResumeRun(chosen[0]))

    def action_retry(self) -> None:
        self._do("retry", self.chosen())

    def action_remove(self) -> None:
        chosen = self.chosen()
        if self._allowed("remove", chosen):
            self._weighing.ask(chosen)

    @on(Weighed)
    def ask_to_remove(self, message: Weighed) -> None:
        self._ask("remove", message.runs, message.size)

    def _ask(self, verb: str, chosen: list[Run], size: int | None = None) -> None:
        """Ask whether something shall be done, and do it after a yes."""
        if not self._allowed(verb, chosen):
            return
        title, said = acting.question(acting.ACTS[verb], chosen, size)
        self.app.push_screen(
            Question(title, said), lambda yes: self._do(verb, chosen) if yes else None
        )

    def _do(self, verb: str, chosen: list[Run]) -> None:
        if self._allowed(verb, chosen):
            self.post_message(ActOnRuns(verb, chosen))
            self._marked = {}
            self.redraw()

    def _allowed(self, verb: str, chosen: list[Run]) -> bool:
        """Tell whether it can be done to any of the runs; says so where it cannot."""
        act = acting.ACTS[verb]
        if chosen and not acting.fitting(act, chosen):
            self.notify(acting.refusal(act, chosen), severity="warning", markup=False)
        return bool(acting.fitting(act, chosen))


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
