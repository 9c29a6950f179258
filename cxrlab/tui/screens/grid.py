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
from textual.widgets import Static

from cxrlab import grid
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import pages, reading, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.cell_words import (
    MARKED,
    Mark,
    best_cells,
    columns_of,
    copies_of,
    detail_of,
    mark_of,
    parts_of,
    what,
)
from cxrlab.tui.messages import (
    OpenCell,
    OpenCopy,
    OpenExport,
    OpenFill,
    OpenLaunch,
    OpenPage,
    RegistryChanged,
)
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from trainers.catalog import METHODS, PRETRAIN


class GridScreen(Screen[None]):
    """Methods by tasks. It draws cells and asks for what is done with them."""

    TITLE = "grid"
    BINDINGS = [
        Binding("enter", "open", "Open", tooltip="The runs, seeds and checkpoints of the cell."),
        Binding("l", "launch", "Launch", tooltip="Launch what this cell needs."),
        Binding("f", "fill", "Fill", tooltip="Fill the row, the column or all; lists it first."),
        Binding("c", "compare", "Compare", tooltip="Mark a cell, then compare another with it."),
        Binding("p", "gap", "Paper", tooltip="How far this cell is from the paper, and why."),
        Binding("e", "export", "Export", tooltip="Write the grid to a file."),
        Binding("y", "copy", "Copy", tooltip="Copy the cell, or the command that shows it."),
        Binding("escape", "unmark", "Forget the mark", show=False),
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
        self._view: reading.GridView | None = None
        self._marked: Mark | None = None
        self._asking = Asking(self, lambda: self.Read(reading.read_grid(lab)))

    def compose(self) -> ComposeResult:
        yield TopBar("grid", lab=self._lab.root.name)
        yield Static(id="welcome")
        yield Table(cursor="cell", frozen=1, id="grid")
        yield Static(id="now")
        yield Static(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one("#welcome").display = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self.read())

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask()

    def on_screen_resume(self) -> None:
        self.read()

    @on(Read)
    def take(self, message: Read) -> None:
        self._view = message.view
        self.draw()

    def draw(self) -> None:
        """Draw what was read last."""
        view = self._view
        if view is None:
            return
        self._grid = view.grid
        best = best_cells(view.grid)
        rows = [
            [
                [(row.method, "strong")],
                *(
                    parts_of(cell, best=cell in best, marked=mark_of(cell) == self._marked)
                    for cell in row.cells
                ),
            ]
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
        said = detail_of(cell) if cell else Text()
        if self._marked is not None:
            said.append(f"\n{MARKED} {what(self._marked)} {tr('is marked')}: ", "bold")
            said.append(tr("`c` on another compares, here the paper"))
        self.query_one("#detail", Static).update(said)

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
            self.tell(f"{title} is taken as it is: there is nothing to pre-train")
            return
        self.post_message(OpenLaunch(cell.method, cell.task, cell.ratio))

    def action_fill(self) -> None:
        if self.cell is not None:
            self.post_message(OpenFill(self.cell.method, self.cell.task, self.cell.ratio))

    def action_export(self) -> None:
        self.post_message(OpenExport())

    def action_copy(self) -> None:
        if self.cell is not None:
            self.post_message(OpenCopy(f"Copy {what(mark_of(self.cell))}", copies_of(self.cell)))

    def action_gap(self) -> None:
        cell = self.cell
        if cell is None:
            return
        if cell.paper is None:
            self.tell(f"no paper's number of {what(mark_of(cell))} is known")
            return
        title = f"{cell.method} and its paper"
        self.post_message(OpenPage(title, lambda: pages.distance(self._lab, cell)))

    def action_compare(self) -> None:
        cell = self.cell
        if cell is None:
            return
        if cell.task == PRETRAIN:
            self.tell("a pre-training leaves no predictions to compare; mark a cell of a task")
            return
        marked, here = self._marked, mark_of(cell)
        if marked is None:
            self.mark(here)
            return
        if marked[1:] != here[1:]:
            self.tell(
                f"two methods of one column compare; {what(marked)} is marked, Esc forgets it"
            )
            return
        other = here[0] if here != marked else "paper"
        if other == "paper" and cell.paper is None:
            self.tell(f"no paper's number of {what(here)} is known; mark a second method")
            return
        self.mark(None)
        names = (marked[0], other)
        title = f"{names[0]} and {names[1]}: {what(here).partition(' ')[2]}"
        self.post_message(OpenPage(title, lambda: pages.compared(self._lab, names, cell)))

    def action_unmark(self) -> None:
        self.mark(None)

    def mark(self, place: Mark | None) -> None:
        """Mark a cell to compare with, or none."""
        self._marked = place
        self.draw()

    def tell(self, said: str) -> None:
        """Say why a key does nothing here."""
        self.notify(said, markup=False)


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
