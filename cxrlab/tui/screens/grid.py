"""How far is each method on each task? The home screen. `cxrlab.grid` decides what cells say."""

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

from cxrlab import entries, grid
from cxrlab.lab import Lab
from cxrlab.tui import errands, grid_rows, reading, remembered, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.cell_words import (
    MARKED,
    Mark,
    copies_of,
    detail_of,
    mark_of,
    name_of,
    what,
)
from cxrlab.tui.grid_rows import Laid, laid_out
from cxrlab.tui.messages import (
    Begin,
    Drawn,
    OpenCell,
    OpenCopy,
    OpenExport,
    OpenFill,
    OpenLaunch,
    OpenPage,
    OpenRun,
    RegistryChanged,
)
from cxrlab.tui.welcome import welcome_text
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.still import Still
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
        Binding(
            "n",
            "notebook",
            "Notebook",
            show=False,
            tooltip="The notebook's columns and texts, or the lab's.",
        ),
        Binding(
            "D",
            "begin('demo')",
            "Demo",
            show=False,
            tooltip="Run the demo in this lab; asks first.",
        ),
        Binding(
            "R", "begin('data')", "Radiographs", show=False, tooltip="Draw radiographs; asks first."
        ),
        Binding(
            "W", "begin('weights')", "Weights", show=False, tooltip="Fetch published weights; asks."
        ),
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
        self._laid = Laid()
        self._shows_notebook = False
        self._notebook: bool | None = None
        """Whether the notebook's columns are asked for; None for as it was the last time."""
        self._asking = Asking(self, lambda which: self.Read(reading.read_grid(lab, which)))

    def compose(self) -> ComposeResult:
        yield TopBar("grid", lab=self._lab.root.name)
        yield Still(id="welcome")
        yield Table(cursor="cell", frozen=1, id="grid", without="l")
        yield Still(id="now")
        yield Still(id="detail", classes="detail")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one("#welcome").display = False
        self.app.theme_changed_signal.subscribe(self, lambda _: self.read())
        self.set_interval(10, self.draw)  # ages change by themselves

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask(self._notebook)

    def on_screen_resume(self) -> None:
        self.read()

    def on_resize(self) -> None:
        self.draw()

    @on(Read)
    def take(self, message: Read) -> None:
        first, self._view = self._view is None, message.view
        self.draw()
        if first:
            self.call_after_refresh(self.app.post_message, Drawn())

    def draw(self) -> None:
        """Draw what was read last."""
        view = self._view
        if view is None:
            return
        self._grid = view.grid
        first = not self._laid.places
        self._laid = laid_out(view.grid, root=self._lab.root, marked=self._marked)
        table = self.query_one(Table)
        table.show(self._laid.columns, self._laid.lines, count=len(self._laid.lines))
        if first or view.notebook != self._shows_notebook:
            table.move_to(table.row, self._laid.first_number)
        self._shows_notebook = view.notebook
        self.set_class(not view.runs, "-new")
        all_of_it = table.virtual_size.height + 1  # and the scrollbar's line
        tight = not view.runs and self.has_class("-short")  # beside what to do next
        table.styles.height = "1fr" if tight else all_of_it
        now = telling.now(
            view.under_way,
            view.ended,
            at=self._clock(),
            width=self.size.width,
            colours=self.app.theme_variables,
        )
        self.query_one("#now", Still).update(now)
        welcome = self.query_one("#welcome", Still)
        welcome.display = not view.runs
        if not view.runs:
            width = self.size.width - 10
            welcome.update(welcome_text(view.places, view.lacking, width=width))
        self.refresh_bindings()
        self.describe()

    @on(Table.Moved)
    def describe(self) -> None:
        """Say in full what the cell under the cursor says in short."""
        cell, row, width = self.cell, self.row, self.size.width - 2
        said = detail_of(cell) if cell else Text()
        if row is not None and isinstance(self.place, str):
            said = grid_rows.detail_of(row, self.place, root=self._lab.root, width=width)
        if self._marked is not None:
            said.append(f"\n{MARKED} {what(self._marked)} {tr('is marked')}: ", "bold")
            said.append(tr("`c` on another compares, here the paper"))
        self.query_one("#detail", Still).update(said)

    @property
    def row(self) -> grid.Row | None:
        """The method under the cursor."""
        at = self.query_one(Table).row
        return self._laid.rows[at] if at < len(self._laid.rows) else None

    @property
    def place(self) -> int | str:
        """What is under the cursor: the index of a cell, or the name of a text of the row."""
        return self._laid.places[self.query_one(Table).column - 1]

    @property
    def cell(self) -> grid.Cell | None:
        """The cell under the cursor; none where a text is."""
        if self.row is None or not self._laid.places or isinstance(self.place, str):
            return None
        return self.row.cells[self.place]

    @property
    def subject(self) -> str:
        """What a note that is begun here is about."""
        if self.cell is not None:
            return name_of(self.cell)
        return self.row.method if self.row is not None else ""

    @on(Table.Chosen)
    def action_open(self) -> None:
        if self.cell is not None:
            self.post_message(OpenCell(self.cell))
        elif self.row is not None and self.place == "log" and grid_rows.log_of(self.row):
            self.post_message(OpenRun(grid_rows.log_of(self.row)))
        elif self.row is not None:
            name = str(self.place)
            said = grid_rows.text_of(self.row, name, root=self._lab.root)
            title = f"{self.row.method} · {grid_rows.heading(name)}"
            self.post_message(
                OpenPage(title, lambda: lambda width: entries.folded(said, columns=width))
            )

    def action_launch(self) -> None:
        cell = self.cell_of_numbers()
        if cell is None:
            return
        if cell.state == "none":
            said = tr("{method} is taken as it is: there is nothing to pre-train")
            self.tell(said.format(method=METHODS[cell.method].title.lower()))
            return
        self.post_message(OpenLaunch(cell.method, cell.task, cell.ratio))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer what begins a lab only until something has run in it."""
        if action != "begin":
            return True
        view = self._view
        return (
            view is not None
            and not view.runs
            and (parameters != ("weights",) or bool(view.lacking))
        )

    def action_begin(self, errand: str) -> None:
        if errand == "demo":
            self.post_message(Begin(errands.demo(self._lab)))
        elif errand == "data":
            self.post_message(Begin(errands.make_data(self._lab)))
        elif self._view is not None and self._view.lacking:
            self.post_message(Begin(errands.fetch(self._lab, self._view.lacking[0])))

    def action_fill(self) -> None:
        if self.cell is not None:
            self.post_message(OpenFill(self.cell.method, self.cell.task, self.cell.ratio))
        elif self.row is not None:
            self.post_message(OpenFill(self.row.method))

    def action_export(self) -> None:
        self.post_message(OpenExport())

    def action_copy(self) -> None:
        if self.cell is not None:
            title = tr("Copy {what}").format(what=what(mark_of(self.cell)))
            self.post_message(OpenCopy(title, copies_of(self.cell)))
        elif self.row is not None:
            name = str(self.place)
            said = grid_rows.text_of(self.row, name, root=self._lab.root)
            title = tr("Copy {what}").format(what=f"{self.row.method} {grid_rows.heading(name)}")
            self.post_message(OpenCopy(title, [(grid_rows.heading(name), said)]))

    def action_gap(self) -> None:
        from cxrlab.tui import pages

        cell = self.cell_of_numbers()
        if cell is None:
            return
        if cell.paper is None:
            said = tr("no paper's number of {cell} is known")
            self.tell(said.format(cell=what(mark_of(cell))))
            return
        title = tr("{method} and its paper").format(method=cell.method)
        self.post_message(OpenPage(title, lambda: pages.distance(self._lab, cell)))

    def action_compare(self) -> None:
        from cxrlab.tui import pages

        cell = self.cell_of_numbers()
        if cell is None:
            return
        if cell.task == PRETRAIN:
            self.tell(tr("a pre-training leaves no predictions to compare; mark a cell of a task"))
            return
        marked, here = self._marked, mark_of(cell)
        if marked is None:
            self.mark(here)
            return
        if marked[1:] != here[1:]:
            said = tr("two methods of one column compare; {cell} is marked, Esc forgets it")
            self.tell(said.format(cell=what(marked)))
            return
        other = here[0] if here != marked else "paper"
        if other == "paper" and cell.paper is None:
            said = tr("no paper's number of {cell} is known; mark a second method")
            self.tell(said.format(cell=what(here)))
            return
        self.mark(None)
        names = (marked[0], other)
        both = tr("{a} and {b}").format(a=names[0], b=names[1])
        title = f"{both}: {what(here).partition(' ')[2]}"
        self.post_message(OpenPage(title, lambda: pages.compared(self._lab, names, cell)))

    def action_notebook(self) -> None:
        """Show the notebook's columns in place of the lab's own, or these again."""
        if self._view is None:
            return
        if not self._view.notebook and self._grid.fields:
            self.tell(tr("the lab's own table is laid out as a notebook's already"))
            return
        self._notebook = not self._view.notebook
        remembered.remember_soon(self._lab, reading.NOTEBOOK, self._notebook)
        self.read()

    def cell_of_numbers(self) -> grid.Cell | None:
        """Return the cell under the cursor; says so where a text is there instead."""
        if self.cell is None and self.row is not None:
            self.tell(tr("this is a text of the row; go to one of its numbers"))
        return self.cell

    def action_unmark(self) -> None:
        self.mark(None)

    def mark(self, place: Mark | None) -> None:
        """Mark a cell to compare with, or none."""
        self._marked = place
        self.draw()

    def tell(self, said: str) -> None:
        """Say why a key does nothing here."""
        self.notify(said, markup=False)
