"""What waits, for what, and in which order? The queue, which is put in order here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from cxrlab import text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import lists, sentences, telling, words
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import Change, OpenRun, RegistryChanged, StopRun
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Column, Row
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store import queue
from store.db import Database
from store.runs import Run

WIDE = 120
FIRST = 128
"""Rows read when the screen opens."""

HELD = "‖"


class QueueScreen(Screen[None]):
    """The runs that wait, the next one first. The cursor stays on its run while that moves."""

    TITLE = "queue"
    AUTO_FOCUS = "Table"
    BINDINGS = [
        Binding("enter", "open", "Open", tooltip="The run's state, log and settings."),
        Binding("K,shift+up", "move(-1)", "Up", tooltip="Let the run change places upwards."),
        Binding("J,shift+down", "move(1)", "Down", tooltip="Let the run change places downwards."),
        Binding("f", "first", "First", tooltip="Put the run before all others."),
        Binding("F", "last", "Last", tooltip="Put the run behind all others."),
        Binding("h", "hold", "Hold/let go", tooltip="Hold the run, or let it go."),
        Binding("s", "stop", "Stop", tooltip="Stop the run; asks first."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """A window of the queue, freshly read."""

        view: lists.QueueView

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._view: lists.QueueView | None = None
        self._window = (0, FIRST)
        self._asking = Asking(self, lambda *asked: self.Read(lists.read_queue(lab, *asked)))

    def compose(self) -> ComposeResult:
        yield TopBar("queue", lab=self._lab.root.name)
        yield Still(id="queue-title", classes="line quiet")
        yield Table(cursor="row", frozen=2, id="queue", without="h")
        yield Still(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.set_interval(10, self.read)  # ages change by themselves, and agents end unseen

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask(*self._window)

    def on_screen_resume(self) -> None:
        self.read()

    @on(Table.RowsWanted)
    def read_window(self, message: Table.RowsWanted) -> None:
        self._window = (message.offset, message.limit)
        self.read()

    @on(Read)
    def draw(self, message: Read) -> None:
        before = self.selected
        self._view = view = message.view
        self.redraw()
        at = next((i for i, run in enumerate(view.runs) if before and run.id == before.id), None)
        if at is not None:
            self.query_one(Table).move_to(view.offset + at)
        self.describe()

    def redraw(self) -> None:
        """Draw what was read last; ages change by themselves."""
        view = self._view
        if view is None:
            return
        wide = self.size.width >= WIDE
        rows = [
            row_of(run, place, now=self._clock(), wide=wide)
            for place, run in enumerate(view.runs, start=view.offset + 1)
        ]
        table = self.query_one(Table)
        table.empty = tr("nothing waits: `1`, then `l` queues runs")
        table.show(columns_of(wide=wide), rows, offset=view.offset, count=view.total)
        title = self.query_one("#queue-title", Still)
        title.update(Text(title_of(view)))
        title.set_class(not stuck(view), "quiet")

    def on_resize(self) -> None:
        self.redraw()

    @on(Table.Moved)
    def describe(self) -> None:
        """Say in full what the run under the cursor waits for."""
        run = self.selected
        said = detail_of(run, now=self._clock()) if run is not None else Text()
        self.query_one("#detail", Still).update(said)

    @property
    def selected(self) -> Run | None:
        """The run under the cursor, where it has been read."""
        if self._view is None:
            return None
        at = self.query_one(Table).row - self._view.offset
        return self._view.runs[at] if 0 <= at < len(self._view.runs) else None

    @property
    def subject(self) -> str:
        """What a note that is begun here is about."""
        return self.selected.id if self.selected is not None else ""

    # -- keys

    @on(Table.Chosen)
    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(OpenRun(self.selected.id))

    def action_move(self, places: int) -> None:
        run = self.selected
        if run is not None:
            self._change(lambda db: queue.move(db, run.id, places))

    def action_first(self) -> None:
        run = self.selected
        if run is not None:
            self._change(lambda db: queue.put_first(db, [run.id]))

    def action_last(self) -> None:
        run = self.selected
        if run is not None:
            self._change(lambda db: queue.put_last(db, [run.id]))

    def action_hold(self) -> None:
        run = self.selected
        if run is not None:
            self._change(lambda db: lists.hold_or_release(self._lab, db, run))

    def action_stop(self) -> None:
        if self.selected is not None:
            self.post_message(StopRun(self.selected))

    def _change(self, action: Callable[[Database], object]) -> None:
        self.post_message(Change(action))


def stuck(view: lists.QueueView) -> bool:
    """Say whether something waits that an agent would start, and none lives."""
    return view.total > view.held and not view.agent


def title_of(view: lists.QueueView) -> str:
    """Return how many runs wait, how many of them are held, and whether none can start."""
    if not view.total:
        return tr("the queue")
    many = tr("{count} wait") if view.total > 1 else tr("{count} waits")
    said = many.format(count=words.counted(view.total, "run"))
    if view.held:
        said = words.joined([said, tr("{n} held").format(n=f"{view.held:,}")])
    if stuck(view):
        return f"! {said}{tr('; ')}{tr('no agent lives, so none starts: `cxrlab agent start`')}"
    return f"{said}{tr('; ')}{tr('higher priority comes first')}"


def columns_of(*, wide: bool) -> list[Column]:
    """Return the columns; 79 cells in all, more where there is room."""
    columns = [
        Column("", 4, right=True),
        Column(tr("run"), 6),
        Column(tr("state"), 9),
        Column(tr("method task labels"), 30),
        Column(tr("prio"), 4, right=True),
    ]
    if wide:
        columns += [
            Column(tr("seed"), 4, right=True),
            Column(tr("GPUs"), 4, right=True),
            Column(tr("preset"), 6),
            Column(tr("waiting"), 9, right=True),
        ]
    return [*columns, Column(tr("waits for"), 19, grows=True)]


def row_of(run: Run, place: int, *, now: float, wide: bool) -> Row:
    """Return a run's cells; a sign and a word say that it is held."""
    ratio = "" if run.ratio is None else f" {run.ratio} %"
    state = (
        (sentences.state(run.state), run.state)
        if run.held is None
        else (f"{HELD} {tr('held')}", "stopped")
    )
    row: Row = [
        [(str(place), "dim")],
        [(run.id, "strong")],
        [state],
        [(harmless(f"{run.method} {run.task}{ratio}"), "")],
        [(str(run.priority), "" if run.priority else "dim")],
    ]
    if wide:
        row = [
            *row,
            [(str(run.seed), "")],
            [(str(run.gpus), "")],
            [(harmless(run.preset), "dim")],
            [(text.duration(now - (run.queued or run.created)), "dim")],
        ]
    return [*row, [(reason_of(run), "")]]


def reason_of(run: Run) -> str:
    """Return what a run waits for, on one line."""
    if run.held is not None:
        return tr("you: `h` lets it go")
    said = run.reason or (f"waits for {', '.join(run.needs)}" if run.needs else "its turn")
    before = tr("waits for {what}").partition("{what}")[0]  # the head of the column says it
    return harmless(sentences.said(said).removeprefix(before))


def detail_of(run: Run, *, now: float) -> Text:
    """Return what a run is, how long it waits, and its whole reason."""
    waited = text.duration(now - (run.queued or run.created))
    said = Text(no_wrap=True, overflow="ellipsis")
    said.append(telling.name(run), "bold").append(f"  {telling.preset(run)}")
    said.append(f"  {tr('waiting for {time}').format(time=waited)}", "dim")
    said.append("\n")
    if run.held is not None:
        said.append(f"{tr('held {ago}').format(ago=words.ago(run.held, now))}  ")
    waits = tr("waits for {what}").format(what=reason_of(run))
    return said.append(harmless(sentences.said(run.reason)) or waits)
