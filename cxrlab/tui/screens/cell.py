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
from textual.widgets import Static

from cxrlab import grid, text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import pages, reading, telling
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
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Column, Part, Row, Table
from store.runs import Run
from trainers.catalog import METHODS, PRETRAIN, TASKS


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

        view: reading.CellView

    def __init__(self, lab: Lab, cell: grid.Cell, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._cell = cell
        self._behind: tuple[reading.Behind, ...] = ()
        self._marked: str | None = None
        place = (cell.method, cell.task, cell.ratio, cell.metric)
        self._asking = Asking(self, lambda: self.Read(reading.read_cell(lab, place)))

    def compose(self) -> ComposeResult:
        yield TopBar("cell", lab=self._lab.root.name)
        yield Static(id="cell-title", classes="detail")
        yield Table(cursor="row", frozen=2, id="behind")
        yield Static(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

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
        self.query_one("#cell-title", Static).update(cell_title(view.cell))
        rows = [row_of(behind, view.cell, now=self._clock()) for behind in view.behind]
        table = self.query_one(Table)
        table.empty = "no run of this cell yet: `l` launches one"
        if before is not None and table.row:
            ids = [behind.run.id for behind in view.behind]
            table.row = ids.index(before.id) if before.id in ids else 0
        table.show(columns_of(view.cell), rows, count=len(rows))
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
        self.query_one("#detail", Static).update(said)

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
        if self._cell.state != "none":
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
            self.notify(f"no paper's number of {self._called} is known", markup=False)
            return
        title = f"{cell.method} and its paper"
        self.post_message(OpenPage(title, lambda: pages.distance(self._lab, cell)))

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
        title = f"{names[0]} and {names[1]}"
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
    title = PRETRAIN if cell.task == PRETRAIN else TASKS[cell.task].title
    ratio = "" if cell.ratio is None else f", {cell.ratio} % of the labels"
    said = Text().append(METHODS[cell.method].title, "bold").append(f" · {title}{ratio}\n", "bold")
    said.append(f"{cell.metric}  ").append(cell.number() or "no number yet", "bold")
    if cell.low is not None and cell.high is not None:
        low, high = text.metric(cell.low, cell.unit), text.metric(cell.high, cell.unit)
        said.append(f"  95 % interval {low} to {high}")
    if cell.floor is not None:
        said.append(f"  predicting nothing: {text.metric(cell.floor, cell.unit)}")
    if cell.other:
        said.append(f"  not comparable with its column: other {cell.other}")
    if cell.under_way():
        said.append(f"  {text.STATES[cell.state].symbol} {cell.under_way()}")
    if cell.stale:
        said.append(f"\nstale: {harmless(cell.stale)}")
    if cell.others:
        said.append(f"\n{cell.others} more, not averaged: other {', '.join(cell.differs)}")
    for number in cell.notebook:
        flaws = "".join(f"; {flaw}" for flaw in number.flaws)
        place = f"{number.source}:{number.line}"
        said.append(f"\nnotebook {harmless(f'{number.said} ({place}, {number.origin}){flaws}')}")
    if cell.paper is not None:
        source = harmless(cell.paper_source)
        said.append(f"\npaper {text.metric(cell.paper, cell.unit)}: {source}", "dim")
    return said


def columns_of(cell: grid.Cell) -> list[Column]:
    """Return the columns; 79 cells in all."""
    metric = "value" if cell.metric == "time" else cell.metric
    return [
        Column("", 1),
        Column("run", 6),
        Column("state", 11),
        Column("seed", 4, right=True),
        Column(metric, 7, right=True),
        Column("95 %", 12),
        Column("preset", 6),
        Column("recipe", 8),
        Column("queued", 14, grows=True),
    ]


def row_of(behind: reading.Behind, cell: grid.Cell, *, now: float) -> Row:
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
        [(text.state(run.state), run.state)],
        [(str(run.seed), "")],
        [(number, "strong")],
        [(span, "dim")],
        [(harmless(run.preset), "")],
        [(run.recipe[:8], "dim")],
        [(text.ago(run.created, now), "dim")],
    ]
    return row


def checkpoints_of(behind: reading.Behind, *, root: Path) -> Text:
    """Return the run's state in words and its checkpoints, a line each."""
    said = Text(no_wrap=True, overflow="ellipsis")
    said.append(telling.name(behind.run), "bold")
    if behind.run.reason:
        said.append(f"  {harmless(behind.run.reason)}", "dim")
    for saved in behind.saved[:4]:
        step = "" if saved.step is None else f" at step {saved.step:,}"
        said.append(f"\n{harmless(saved.kind):<8}{step}  ").append(
            telling.within(saved.path, root), "dim"
        )
    if not behind.saved:
        said.append("\nno checkpoint yet", "dim")
    for label, told in made_of(behind, root=root):
        said.append(f"\n{label:<12}").append(harmless(told), "dim")
    return said


def made_of(behind: reading.Behind, *, root: Path) -> list[tuple[str, str]]:
    """Return what a finished run was made of, as far as it tells: data, splits, files, commit."""
    member = behind.member
    if member is None:
        return []
    data = member.data
    parts = [f"version {data['version']}"] if data.get("version") else []
    parts += [f"fingerprint {data['fingerprint'][:12]}"] if data.get("fingerprint") else []
    splits = data.get("split_sha256") or {}
    parts += ["split " + ", ".join(f"{name} {digest[:8]}" for name, digest in splits.items())
              ] if splits else []  # fmt: skip
    start = member.encoder or {}
    digest = f"  sha256 {start['sha256'][:12]}" if start.get("sha256") else ""
    where_from = f"of run {start['run']}" if start.get("run") else str(start.get("path") or "")
    told = [
        ("recipe", behind.run.recipe[:12] if parts or member.commit else ""),
        ("data", "; ".join(parts)),
        ("encoder", f"{where_from}{digest}" if digest else ""),
        (
            "predictions",
            telling.within(Path(member.predictions), root) if member.predictions else "",
        ),
        ("commit", member.commit and member.commit[:12] + " with changes" * member.uncommitted),
    ]
    return [(label, text) for label, text in told if text]
