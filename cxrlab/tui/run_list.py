"""How are the runs of a lab listed? A window over the registry: filtered, sorted, gathered.

What is done to runs is the screen's matter, `screens/runs.py`; here a mark is only drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Input, Label

from cxrlab.errors import NotFound, Usage
from cxrlab.harmless import cut, harmless
from cxrlab.lab import Lab
from cxrlab.tui import answers, grouping, reading_runs, run_columns, words
from cxrlab.tui.asking import Asking
from cxrlab.tui.grouping import Group
from cxrlab.tui.messages import OpenRun, RegistryChanged
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.rows import Line, Made
from cxrlab.tui.widgets.still import Still
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store import matching
from store.runs import Run

WIDE = 120
ORDERS = tuple(matching.ORDERS)
GROUPS = ("", *matching.GROUPS)
FIRST = 128
"""Rows read when the screen opens."""


class Filter(Input):
    """Where the filter is typed; every other key of the screen waits meanwhile."""

    BINDINGS = [
        Binding("enter,down", "screen.leave_filter", "To the runs", tooltip="Back to the table."),
        Binding("escape", "screen.clear", "Drop the filter", tooltip="Show every run again."),
    ]


class RunList(Screen[None]):
    """A table of runs, newest first, under a line for a filter."""

    AUTO_FOCUS = "Table"

    @dataclass
    class Read(Message, bubble=False):
        """A window of rows, freshly read."""

        view: reading_runs.RunsView

    @dataclass
    class Wrong(Message, bubble=False):
        """The filter cannot be answered, and why."""

        typed: str
        why: str

    def __init__(self, lab: Lab, *, clock: Callable[[], float]) -> None:
        super().__init__()
        self._lab = lab
        self._clock = clock
        self._view: reading_runs.RunsView | None = None
        self._window = (0, FIRST)
        self._order = ORDERS[0]
        self._by = GROUPS[0]
        self._folded: frozenset[str] = frozenset()
        self._standing: int | None = None
        """Where the cursor shall stand once the groups are folded."""
        self._opens = False
        """Whether the run under the cursor shall be opened once it has been read."""
        self._columns: tuple[str, ...] = ()
        """Names of columns; empty for the usual ones."""
        self._marked: dict[str, Run] = {}
        self._asking = Asking(self, self._answer)

    def _answer(self, asked: reading_runs.RunsAsked) -> Message:
        """Read on a thread; a filter that is wrong is answered in words."""
        try:
            return self.Read(reading_runs.read_runs(self._lab, asked, self._clock()))
        except (NotFound, Usage) as error:
            told = answers.in_full(error).splitlines()
            return self.Wrong(asked.typed, tr("; ").join(told))

    def compose(self) -> ComposeResult:
        yield TopBar("runs", lab=self._lab.root.name)
        with Horizontal(id="filter-line"):
            yield Label("/", id="filter-label")
            yield Filter(id="filter", placeholder=tr("filter: siim state:running blr>1e-4 tag:x"))
            yield Still(id="filter-count", markup=False)
        yield Still(id="filter-wrong")
        yield Table(cursor="row", frozen=2, id="runs")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.set_interval(10, self.redraw)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns: those chosen, or as many as usual in such a width."""
        wide = self.size.width >= WIDE
        return self._columns or (run_columns.WIDE if wide else run_columns.NARROW)

    @property
    def asked(self) -> reading_runs.RunsAsked:
        """What is to be on the screen."""
        return reading_runs.RunsAsked(
            self.query_one(Input).value,
            *self._window,
            self._order,
            self._by,
            tuple(sorted(self._folded)),
            run_columns.settings_of(self.columns),
            tuple(self._marked),
        )

    @on(RegistryChanged)
    def read(self) -> None:
        self._asking.ask(self.asked)

    def on_screen_resume(self) -> None:
        self.read()

    @on(Table.RowsWanted)
    def read_window(self, message: Table.RowsWanted) -> None:
        self._window = (message.offset, message.limit)
        self.read()

    @on(Input.Changed)
    def filter_changed(self) -> None:
        self.read_from_the_top()

    def read_from_the_top(self) -> None:
        """Read anew what is no longer what it was."""
        self._window = (0, FIRST)
        self.query_one(Table).action_go_to(0)
        self.read()

    @on(Wrong)
    def tell_what_is_wrong(self, message: Wrong) -> None:
        if message.typed == self.query_one(Input).value:
            self._tell(message.why)

    def _tell(self, wrong: str) -> None:
        """Say under the filter what is wrong with it; nothing where all is well."""
        line = self.query_one("#filter-wrong", Still)
        line.display = bool(wrong)
        line.update(Content(cut(harmless(wrong), max(1, self.size.width - 2))))

    @on(Read)
    def draw(self, message: Read) -> None:
        view = message.view
        if view.unread:
            if view.asked.typed == self.query_one(Input).value:
                self._tell(
                    tr("reading the settings of runs: {n} more").format(n=f"{view.unread:,}")
                )
                self.read()
            if not view.lines:
                return
        else:
            self._tell("")
        before, shown = self.selected, self._view.asked if self._view else None
        self._view = view
        if self._standing is not None and frozenset(view.asked.closed) == self._folded:
            before, line, self._standing = None, self._standing, None
            self.redraw()
            self.query_one(Table).move_to(line)
        now = {run.id: run for run in view.marked}
        self._marked = {
            id: now.get(id, run)
            for id, run in self._marked.items()
            if id in now or id not in view.asked.marked  # else it is gone
        }
        table, shift = self.query_one(Table), 0
        if before is not None and _same(view.asked, self.asked, shown):
            # new runs come on top: the cursor stays on its run
            at = next((i for i, r in enumerate(view.rows) if _name(r) == _name(before)), None)
            if at is not None and table.row:
                shift = view.asked.offset + at - table.row
                table.row += shift
        self.redraw()
        if shift:  # and on its line
            table.scroll_relative(y=shift, animate=False)
        if self._opens and self.selected is not None:
            self.action_open()

    def redraw(self) -> None:
        """Draw what was read last; ages change by themselves."""
        if self._view is None:
            return
        view, offset = self._view, self._view.asked.offset
        columns = [run_columns.column(name) for name in self.columns]
        table = self.query_one(Table)
        table.marked = frozenset(
            at
            for at, row in enumerate(view.rows, offset)
            if isinstance(row, Run) and row.id in self._marked
        )
        self.query_one("#filter-count", Still).update(self._counted(view))
        lines = Made(lambda at: self._line(view, view.rows[at], columns), len(view.rows))
        table.show([each.column for each in columns], lines, offset=offset, count=view.lines)
        table.empty = (
            tr("no run fits the filter") if view.total else tr("no run yet: `1`, then `l`")
        )

    def _line(
        self,
        view: reading_runs.RunsView,
        row: Run | Group,
        columns: Sequence[run_columns.Choosable],
    ) -> Line:
        if isinstance(row, Group):
            return run_columns.group_head(row, self._by)
        known = run_columns.Known(
            self._clock(),
            view.tags.get(row.id, ()),
            view.settings.get(row.recipe, {}),
            view.scores.get(row.id),
            view.used.get(row.id),
        )
        return run_columns.row_of(row, known, columns)

    def _counted(self, view: reading_runs.RunsView) -> str:
        """Return how many runs are marked, how many fit, and how they are sorted."""
        typed = view.asked.typed.strip()
        said = words.counted(view.total, "run")
        if typed:
            said = tr("{n} of {runs}").format(n=f"{view.fitting:,}", runs=said)
        if self._marked:
            said = f"{tr('{n} marked').format(n=f'{len(self._marked):,}')} · {said}"
        if view.asked.order != ORDERS[0]:
            longest = view.asked.order == "longest"
            how = tr("longest first") if longest else tr("by {what}")
            said = words.joined([said, how.format(what=tr(view.asked.order))])
        return said

    def on_resize(self) -> None:
        self.redraw()

    @property
    def selected(self) -> Run | Group | None:
        """The run or the group under the cursor, where it has been read."""
        if self._view is None:
            return None
        at = self.query_one(Table).row - self._view.asked.offset
        return self._view.rows[at] if 0 <= at < len(self._view.rows) else None

    # -- keys

    @on(Table.Chosen)
    def action_open(self) -> None:
        row = self.selected
        self._opens = row is None and self._view is not None and self._view.lines > 0
        if isinstance(row, Run):
            self.post_message(OpenRun(row.id))
        elif row is not None:
            self.action_fold()

    @on(Table.Moved)
    def open_no_more(self) -> None:
        self._opens = False

    def narrow(self, typed: str) -> None:
        """Filter by `typed`, as if a person had."""
        self.query_one(Input).value = typed
        self.query_one(Table).focus()

    @property
    def subject(self) -> str:
        """What a note that is begun here is about."""
        row = self.selected
        if isinstance(row, Run):
            return row.id
        return row.key if row is not None and self._by != "state" else ""

    def action_filter(self) -> None:
        self.set_focus(self.query_one(Input))  # at once: the next key may be there already

    def action_leave_filter(self) -> None:
        self.query_one(Table).focus()

    def action_clear(self) -> None:
        self.query_one(Input).value = ""
        self.query_one(Table).focus()

    def action_sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.read_from_the_top()

    # -- groups

    def action_group(self) -> None:
        self._by = GROUPS[(GROUPS.index(self._by) + 1) % len(GROUPS)]
        self._folded = frozenset()
        self.read_from_the_top()

    def _says_ungrouped(self) -> bool:
        if not self._by:
            self.notify(tr("the list is in no groups: `B` makes some"), markup=False)
        return not self._by

    def action_fold(self) -> None:
        row = self.selected
        if not self._says_ungrouped() and row is not None:
            key = row.key if isinstance(row, Group) else str(getattr(row, self._by))
            self._fold(self._folded ^ {key}, key)

    def action_fold_all(self) -> None:
        row = self.selected
        if not self._says_ungrouped() and self._view is not None and row is not None:
            key = row.key if isinstance(row, Group) else str(getattr(row, self._by))
            keys = frozenset(group.key for group in self._view.groups)
            self._fold(frozenset() if keys <= self._folded else keys, key)

    def _fold(self, closed: frozenset[str], key: str) -> None:
        """Close these groups and open the others; the cursor goes to the head of one."""
        assert self._view is not None
        self._folded = closed
        groups = [g._replace(closed=g.key in closed) for g in self._view.groups]
        at = grouping.head_of(groups, key)
        self._window = (max(0, at - FIRST // 2), FIRST)
        self._standing = at
        self.read()


def _name(row: Run | Group) -> str:
    return row.id if isinstance(row, Run) else f"{row.key} "


def _same(*asked: reading_runs.RunsAsked | None) -> bool:
    """Tell whether all are about the same list, whichever window of it."""
    lists = {(a.typed, a.order, a.by, a.closed) if a else None for a in asked}
    return len(lists) == 1
