"""How far is each method on each task? The home screen. `cxrlab.grid` decides what cells say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from cxrlab import grid, ranking, text
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import reading, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import OpenCell, OpenLaunch, RegistryChanged
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Column, Part, Table
from trainers.catalog import METHODS, PRETRAIN, TASKS


class GridScreen(Screen[None]):
    """Methods by tasks. It draws cells and asks for what is done with them."""

    TITLE = "grid"
    BINDINGS = [
        Binding("enter", "open", "Open", tooltip="The runs, seeds and checkpoints of the cell."),
        Binding("l", "launch", "Launch", tooltip="Launch what this cell needs."),
    ]

    @dataclass
    class Read(Message, bubble=False):
        """The grid, freshly read."""

        view: reading.GridView

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._grid = grid.Grid()
        self._asking = Asking(self, lambda: self.Read(reading.read_grid(lab)))

    def compose(self) -> ComposeResult:
        yield TopBar("grid", lab=self._lab.root.name)
        yield Static(id="welcome")
        yield Table(cursor="cell", frozen=1, id="grid")
        yield Static(id="now")
        yield Static(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        self.query_one("#welcome").display = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self.read())

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask()

    def on_screen_resume(self) -> None:
        self.read()

    @on(Read)
    def draw(self, message: Read) -> None:
        view = message.view
        self._grid = view.grid
        best = best_cells(view.grid)
        rows = [
            [[(row.method, "strong")], *(parts_of(cell, best=cell in best) for cell in row.cells)]
            for row in view.grid.rows
        ]
        table = self.query_one(Table)
        table.show(columns_of(view.grid, rows), rows, count=len(rows))
        table.styles.height = table.virtual_size.height + 1  # and the scrollbar's line
        now = telling.now(
            view.under_way,
            view.ended,
            at=self._clock(),
            width=self.size.width,
            colours=self.app.theme_variables,
        )
        self.query_one("#now", Static).update(now)
        welcome = self.query_one("#welcome", Static)
        welcome.display = not view.runs
        if not view.runs:
            welcome.update(welcome_text(view.places))
        self.describe()

    @on(Table.Moved)
    def describe(self) -> None:
        """Say in full what the cell under the cursor says in short."""
        cell = self.cell
        self.query_one("#detail", Static).update(detail_of(cell) if cell else Text())

    @property
    def cell(self) -> grid.Cell | None:
        """The cell under the cursor."""
        table = self.query_one(Table)
        if not self._grid.rows or not self._grid.columns:
            return None
        return self._grid.rows[table.row].cells[table.column - 1]

    @on(Table.Chosen)
    def action_open(self) -> None:
        if self.cell is not None:
            self.post_message(OpenCell(self.cell))

    def action_launch(self) -> None:
        cell = self.cell
        if cell is None:
            return
        if cell.state == "none":
            title = METHODS[cell.method].title.lower()
            self.notify(f"{title} is taken as it is: there is nothing to pre-train", markup=False)
            return
        self.post_message(OpenLaunch(cell.method, cell.task, cell.ratio))


def columns_of(shown: grid.Grid, rows: Sequence[Sequence[Sequence[Part]]]) -> list[Column]:
    """Return the table's columns, each as wide as its widest cell."""
    names = [row[0][0][0] for row in rows]
    columns = [Column("method", max([10, *map(len, names)]))]
    for i, column in enumerate(shown.columns, start=1):
        above, below = column.heading()
        cells = [sum(len(part) for part, _ in row[i]) for row in rows]
        alone = sum(c.heading()[0] == above for c in shown.columns) == 1
        widest = max([len(below), len(above) if alone else 0, 9, *cells])
        columns.append(Column(below, widest, group=above))
    return columns


def best_cells(shown: grid.Grid) -> set[grid.Cell]:
    """Return the best cells of each task's column, among those that compare."""
    found = set()
    for i, column in enumerate(shown.columns):
        if column.task == PRETRAIN:
            continue
        cells = [row.cells[i] for row in shown.rows]
        ranked = ranking.ranks(cells, better=column.better)
        found |= {c for c, rank in zip(cells, ranked, strict=True) if rank == ranking.BEST}
    return found


def parts_of(cell: grid.Cell, *, best: bool) -> list[Part]:
    """Return a cell's text with its styles: the same words as everywhere, with the state's sign."""
    if cell.state == "none":
        return [(grid.NOT_APPLICABLE, "dim")]
    parts: list[Part] = []
    if cell.number():
        parts.append((cell.number(), "best" if best else ""))
    if cell.stale:
        parts.append((" stale", "lost"))
    if cell.under_way():
        sign = text.STATES[cell.state].symbol
        parts.append((f"{' ' if parts else ''}{sign} {cell.under_way()}", cell.state))
    if not parts:
        parts.append((grid.EMPTY, "dim"))
    if cell.bracket():
        parts.append((f" {cell.bracket()}", "paper"))
    return parts


def detail_of(cell: grid.Cell) -> Text:
    """Return two or three lines on a cell: what it is, what is known, what the paper says."""
    said = Text(no_wrap=True, overflow="ellipsis")
    title = PRETRAIN if cell.task == PRETRAIN else TASKS[cell.task].title
    ratio = "" if cell.ratio is None else f", {cell.ratio} % of the labels"
    said.append(f"{METHODS[cell.method].title}", "bold").append(f" · {title}{ratio}\n")
    said.append(_known(cell))
    if cell.paper is not None:
        source = harmless(cell.paper_source)
        said.append(f"\npaper {text.metric(cell.paper, cell.unit)}: {source}", "dim")
    return said


def _known(cell: grid.Cell) -> str:
    if cell.state == "none":
        return "a baseline: its encoder is taken as it is"
    parts = []
    if cell.number_told is not None:
        told = cell.number_told
        parts.append(f"{cell.metric} {cell.number()}, copied from {harmless(told.source)}")
        parts.append(f"line {told.line}, no run behind it")
        parts += [harmless(flaw) for flaw in told.flaws]
    elif cell.value is not None and cell.metric != "time":
        parts.append(f"{cell.metric} {cell.number()}")
        if cell.low is not None and cell.high is not None:
            low, high = text.metric(cell.low, cell.unit), text.metric(cell.high, cell.unit)
            parts.append(f"95 % interval {low} to {high}")
        parts.append(f"{cell.preset} preset, recipe {cell.recipe[:8]}")
        if cell.others:
            parts.append(f"{cell.others} more, which differ in {', '.join(cell.differs)}")
    elif cell.value is not None:
        parts.append(f"took {cell.number()}")
    if cell.stale:
        parts.append(f"stale: {harmless(cell.stale)}")
    if cell.under_way():
        parts.append(f"{text.STATES[cell.state].symbol} {cell.under_way()}")
    return " · ".join(parts) or "nothing has run here; `l` launches it"


def welcome_text(places: Sequence[reading.Place]) -> Text:
    """Return what to do in a lab where nothing has run."""
    said = Text()
    said.append("Nothing has run in this lab yet.\n\n", "bold")
    found = [place for place in places if place.found]
    for place in places:
        sign = "✓" if place.found else "·"
        where = harmless(place.where) or "not in cxrlab.toml"
        missing = "" if place.found or not place.where else "  (not there)"
        said.append(f" {sign} {place.name:<10} {where}{missing}\n")
    said.append("\n")
    if not found:
        said.append("1  Make data: ").append("cxrlab data generate", "bold")
        said.append(", or name yours in cxrlab.toml\n")
    said.append("2  " if not found else "1  ")
    said.append("Stand on a cell and press ").append("l", "bold").append(" to launch it\n")
    said.append("   The whole story, tiny: ").append("cxrlab demo", "bold")
    return said
