"""What stands behind a cell of the grid? Its runs, seeds, recipes and checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen

from cxrlab import grid, text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import acting, cell_words, pages, reading_run, sentences, telling, words
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import (
    OpenLaunch,
    OpenPage,
    OpenRun,
    RegistryChanged,
    ResumeRun,
    StopRun,
)
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Column, Part, Row
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store.runs import Run
from trainers.catalog import METHODS


class CellScreen(Screen[None]):
    """The runs of one cell, newest first; those that make up its number carry a mark."""

    TITLE = "cell"
    BINDINGS = [
        Binding("enter", "open", "Open", tooltip="The run's state, curves, log and settings."),
        Binding("l", "launch", "Launch", tooltip="Launch another seed or preset of this cell."),
        Binding("s", "stop", "Stop", tooltip="Stop the run; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let a stopped or lost run go on."),
        Binding("v", "everything", "All", tooltip="All that `cxrlab show` tells of the cell."),
        Binding("p", "gap", "Paper", show=False, tooltip="How far it is from the paper, and why."),
        Binding("c", "compare", "Compare", show=False, tooltip="Mark a run, then compare another."),
        Binding("escape,backspace", "back", "Back", tooltip="Back to the grid."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """The cell and its runs, freshly read."""

        view: reading_run.CellView

    def __init__(self, lab: Lab, cell: grid.Cell, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._cell = cell
        self._behind: tuple[reading_run.Behind, ...] = ()
        self._marked: str | None = None
        self.idle: tuple[str, ...] = ()
        """The actions that the run under the cursor is in no state for."""
        place = (cell.method, cell.task, cell.ratio, cell.metric)
        self._asking = Asking(self, lambda: self.Read(reading_run.read_cell(lab, place)))

    def compose(self) -> ComposeResult:
        yield TopBar("cell", lab=self._lab.root.name)
        yield Still(id="cell-title", classes="detail")
        yield Table(cursor="row", frozen=2, id="behind", without="l")
        yield Still(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.set_interval(10, self.read)  # ages change by themselves

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask()

    def on_screen_resume(self) -> None:
        self.read()

    @on(Read)
    def draw(self, message: Read) -> None:
        view = message.view
        self._cell = view.cell
        before = self.selected
        self._behind = view.behind
        self.query_one("#cell-title", Still).update(cell_title(view.cell))
        rows = [row_of(behind, view.cell, now=self._clock()) for behind in view.behind]
        table = self.query_one(Table)
        table.empty = tr("no run of this cell yet: `l` launches one")
        shift = 0
        if before is not None and table.row:
            ids = [behind.run.id for behind in view.behind]
            shift = (ids.index(before.id) if before.id in ids else 0) - table.row
            table.row += shift
        table.show(columns_of(view.cell), rows, count=len(rows))
        if shift:  # it stays on its run, and on its line
            table.scroll_relative(y=shift, animate=False)
        self._draw_marks()
        self.describe()

    @on(Table.Moved)
    def describe(self) -> None:
        """Name the checkpoints of the run under the cursor."""
        row = self.query_one(Table).row
        said = (
            checkpoints_of(self._behind[row], root=self._lab.root)
            if row < len(self._behind)
            else Text()
        )
        self.query_one("#detail", Still).update(said)
        idle = acting.idle([self.selected] if self.selected else [])
        if idle != self.idle:
            self.idle = idle
            self.refresh_bindings()

    @property
    def selected(self) -> Run | None:
        """The run under the cursor."""
        row = self.query_one(Table).row
        return self._behind[row].run if row < len(self._behind) else None

    # -- keys

    @on(Table.Chosen)
    def action_open(self) -> None:
        if self.selected is not None:
            self.post_message(OpenRun(self.selected.id))

    def action_launch(self) -> None:
        if self._cell.state == "none":
            said = tr("{method} is taken as it is: there is nothing to pre-train")
            method = METHODS[self._cell.method].title.lower()
            self.notify(said.format(method=method), markup=False)
            return
        self.post_message(OpenLaunch(self._cell.method, self._cell.task, self._cell.ratio))

    def action_stop(self) -> None:
        if self.selected is not None:
            self.post_message(StopRun(self.selected))

    def action_resume(self) -> None:
        if self.selected is not None:
            self.post_message(ResumeRun(self.selected))

    def action_everything(self) -> None:
        cell = self._cell
        self.post_message(OpenPage(self._called, lambda: pages.everything(self._lab, cell)))

    def action_gap(self) -> None:
        cell = self._cell
        if cell.paper is None:
            said = tr("no paper's number of {cell} is known").format(cell=self._called)
            self.notify(said, markup=False)
            return
        title = tr("{method} and its paper").format(method=cell.method)
        self.post_message(OpenPage(title, lambda: pages.distance(self._lab, cell)))

    @property
    def subject(self) -> str:
        """What a note that is begun here is about."""
        return cell_words.name_of(self._cell)

    def action_compare(self) -> None:
        run, marked = self.selected, self._marked
        if run is None:
            return
        if marked is None or marked == run.id:
            self._marked = None if marked else run.id
            self._draw_marks()
            return
        self._marked = None
        self._draw_marks()
        names = (marked, run.id)
        title = tr("{a} and {b}").format(a=names[0], b=names[1])
        self.post_message(OpenPage(title, lambda: pages.compared(self._lab, names, None)))

    def _draw_marks(self) -> None:
        ids = [behind.run.id for behind in self._behind]
        table = self.query_one(Table)
        table.sign = "◆"
        table.marked = frozenset([ids.index(self._marked)] if self._marked in ids else [])
        table.refresh()

    @property
    def _called(self) -> str:
        ratio = [] if self._cell.ratio is None else [f"{self._cell.ratio} %"]
        return " ".join([self._cell.method, self._cell.task, *ratio, self._cell.metric])

    def action_back(self) -> None:
        self.dismiss()


def cell_title(cell: grid.Cell) -> Text:
    """Return what the cell is, its number with its floor, and the paper's with its source."""
    said = Text().append(f"{cell_words.title_of(cell)}\n", "bold")
    said.append(f"{cell.metric}  ").append(cell.number() or tr("no number yet"), "bold")
    if cell.low is not None and cell.high is not None:
        said.append(f"  {cell_words.interval_of(cell)}")
    if cell.floor is not None:
        floor = text.metric(cell.floor, cell.unit)
        said.append(f"  {tr('predicting nothing')}: {floor}")
    if cell.other:
        other = tr("not comparable with its column: other {what}")
        said.append(f"  {other.format(what=tr(cell.other))}")
    if cell.under_way():
        said.append(f"  {cell_words.under_way(cell)}")
    if cell.stale:
        said.append(f"\n{tr('stale')}: {harmless(sentences.said(cell.stale))}")
    if cell.others:
        others = tr("{n} more, not averaged: other {what}")
        differs = words.joined([tr(each) for each in cell.differs])
        said.append(f"\n{others.format(n=cell.others, what=differs)}")
    for number in cell.notebook:
        flaws = "".join(f"; {sentences.said(flaw)}" for flaw in number.flaws)
        place = f"{number.source}:{number.line}, {tr(number.origin)}"
        said.append(f"\n{tr('notebook')} {harmless(f'{number.said} ({place}){flaws}')}")
    if cell.paper is not None:
        said.append(f"\n{cell_words.paper_of(cell)}", "dim")
    return said


def columns_of(cell: grid.Cell) -> list[Column]:
    """Return the columns; 79 cells in all."""
    metric = tr("value") if cell.metric == "time" else cell.metric
    return [
        Column("", 1),
        Column(tr("run"), 6),
        Column(tr("state"), 11),
        Column(tr("seed"), 4, right=True),
        Column(metric, 7, right=True),
        Column("95 %", 12),
        Column(tr("preset"), 6),
        Column(tr("recipe"), 8),
        Column(tr("queued", "column"), 14, grows=True),
    ]


def row_of(behind: reading_run.Behind, cell: grid.Cell, *, now: float) -> Row:
    """Return the cells of one run; a mark says that the grid's number counts it."""
    run, result = behind.run, behind.result
    counted = run.id in cell.run_ids and cell.value is not None
    number = telling.value(result.metric, result.value) if result else ""
    span = ""
    if result is not None and result.low is not None and result.high is not None:
        ends = [telling.value(result.metric, end) for end in (result.low, result.high)]
        span = "–".join(ends)
    row: list[Sequence[Part]] = [
        [("●" if counted else "", "succeeded")],
        [(run.id, "strong")],
        [(sentences.state(run.state), run.state)],
        [(str(run.seed), "")],
        [(number, "strong")],
        [(span, "dim")],
        [(harmless(run.preset), "")],
        [(run.recipe[:8], "dim")],
        [(words.ago(run.created, now), "dim")],
    ]
    return row


def checkpoints_of(behind: reading_run.Behind, *, root: Path) -> Text:
    """Return the run's state in words and its checkpoints, a line each."""
    said = Text(no_wrap=True, overflow="ellipsis")
    said.append(telling.name(behind.run), "bold")
    if behind.run.reason:
        said.append(f"  {harmless(sentences.said(behind.run.reason))}", "dim")
    for saved in behind.saved[:4]:
        step = "" if saved.step is None else f" {tr('at step {n}').format(n=f'{saved.step:,}')}"
        said.append(f"\n{words.padded(harmless(saved.kind), 11)}{step}  ").append(
            telling.within(saved.path, root), "dim"
        )
    if not behind.saved:
        said.append(f"\n{tr('no checkpoint yet')}", "dim")
    for label, told in made_of(behind, root=root):
        said.append(f"\n{words.padded(label, 12)}").append(harmless(told), "dim")
    return said


def made_of(behind: reading_run.Behind, *, root: Path) -> list[tuple[str, str]]:
    """Return what a finished run was made of, as far as it tells: data, splits, files, commit."""
    member = behind.member
    if member is None:
        return []
    data = member.data
    parts = [f"{tr('version')} {data['version']}"] if data.get("version") else []
    parts += [f"{tr('fingerprint')} {data['fingerprint'][:12]}"] if data.get("fingerprint") else []
    splits = data.get("split_sha256") or {}
    if splits:
        digests = ", ".join(f"{name} {digest[:8]}" for name, digest in splits.items())
        parts.append(f"{tr('split')} {digests}")
    start = member.encoder or {}
    digest = f"  sha256 {start['sha256'][:12]}" if start.get("sha256") else ""
    where_from = (
        tr("of run {run}").format(run=start["run"])
        if start.get("run")
        else str(start.get("path") or "")
    )
    changes = f" {tr('with changes')}" if member.uncommitted else ""
    told = [
        (tr("recipe"), behind.run.recipe[:12] if parts or member.commit else ""),
        (tr("data"), "; ".join(parts)),
        (tr("encoder"), f"{where_from}{digest}" if digest else ""),
        (
            tr("predictions"),
            telling.within(Path(member.predictions), root) if member.predictions else "",
        ),
        (tr("commit"), member.commit and member.commit[:12] + changes),
    ]
    return [(label, text) for label, text in told if text]
