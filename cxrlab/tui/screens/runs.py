"""Which runs are there? A window over the registry, filtered as one types."""

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
from textual.widgets import Input, Label, Static

from cxrlab import tagging
from cxrlab.errors import NotFound, Usage
from cxrlab.harmless import cut, harmless
from cxrlab.lab import Lab
from cxrlab.tui import (
    acting,
    answers,
    grouping,
    reading,
    remembered,
    run_columns,
    sentences,
    words,
)
from cxrlab.tui.asking import Asking
from cxrlab.tui.grouping import Group
from cxrlab.tui.messages import ActOnRuns, OpenRun, RegistryChanged, ResumeRun, StopRun
from cxrlab.tui.screens.columns import Columns
from cxrlab.tui.screens.prompt import Prompt
from cxrlab.tui.screens.question import Question
from cxrlab.tui.widgets.bar import TopBar
from cxrlab.tui.widgets.foot import Foot
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.widgets.table import Line, Span, Table
from cxrlab.tui.words import tr
from store import matching
from store.runs import Run

WIDE = 120
MOST_MARKED = 1000
"""So many runs can be marked at once by one key."""
ORDERS = tuple(matching.ORDERS)
GROUPS = ("", *matching.GROUPS)
FIRST = 128
"""Rows read when the screen opens."""
REMEMBERED = "run_columns"
"""Under this name the columns that were chosen are remembered."""


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
            tooltip="Type words, or terms: state:running blr>1e-4 AUROC>0.7 tag:x age<2d.",
        ),
        Binding("s", "stop", "Stop", tooltip="Stop the run, or those marked; asks first."),
        Binding("r", "resume", "Resume", tooltip="Let stopped or lost runs go on."),
        Binding("space", "mark", "Mark", show=False, tooltip="Mark the run for the next key."),
        Binding(
            "A",
            "mark_all",
            "Mark all",
            show=False,
            tooltip="Mark all that the filter fits, up to a thousand.",
        ),
        Binding("o", "sort", "Sort", show=False, tooltip="Newest, by state, by method, longest."),
        Binding("B", "group", "Group", show=False, tooltip="Gather by method, task or state."),
        Binding("z", "fold", "Fold", show=False, tooltip="Close this group, or open it."),
        Binding("Z", "fold_all", "Fold all", show=False, tooltip="Close all groups, or open them."),
        Binding("C", "columns", "Columns", show=False, tooltip="Choose the columns; remembered."),
        Binding(
            "plus",
            "tag",
            "Tag",
            key_display="+",
            show=False,
            tooltip="Give the run, or those marked, tags; or take them away.",
        ),
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
    class Wrong(Message, bubble=False):
        """The filter cannot be answered, and why."""

        typed: str
        why: str

    @dataclass
    class Recalled(Message, bubble=False):
        """The columns that were chosen another day."""

        columns: list[object]

    @dataclass
    class Tagged(Message, bubble=False):
        """Runs have been given tags."""

        ids: Sequence[str]

    @dataclass
    class Marked(Message, bubble=False):
        """The runs that the filter fits, or a group of them."""

        typed: str
        runs: list[Run]
        more: bool = False
        """Those marked before stay marked."""

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
        self._by = GROUPS[0]
        self._folded: frozenset[str] = frozenset()
        self._standing: int | None = None
        """Where the cursor shall stand once the groups are folded."""
        self._columns: tuple[str, ...] = ()
        self._marked: dict[str, Run] = {}
        self._asking = Asking(self, self._answer)
        self._marking = Asking(
            self,
            lambda typed, order: self.Marked(
                typed, reading.read_fitting(lab, typed, MOST_MARKED, order, clock())
            ),
        )
        self._marking_group = Asking(
            self,
            lambda typed, by, key: self.Marked(
                typed, reading.read_of_group(lab, typed, by, key, MOST_MARKED, clock()), more=True
            ),
        )
        self._weighing = Asking(
            self, lambda chosen: self.Weighed(chosen, acting.freed(chosen, lab))
        )
        self._recalling = Asking(
            self, lambda: self.Recalled(remembered.recall(lab, REMEMBERED, []))
        )
        self._tagging = Asking(self, self._give_tags)

    def _answer(self, asked: reading.RunsAsked) -> Message:
        """Read on a thread; a filter that is wrong is answered in words."""
        try:
            return self.Read(reading.read_runs(self._lab, asked, self._clock()))
        except (NotFound, Usage) as error:
            told = answers.in_full(error).splitlines()
            return self.Wrong(asked.typed, tr("; ").join(told))

    def _give_tags(self, ids: Sequence[str], change: tagging.Change) -> Message:
        reading.give_tags(self._lab, ids, change)
        return self.Tagged(ids)

    def compose(self) -> ComposeResult:
        yield TopBar("runs", lab=self._lab.root.name)
        with Horizontal(id="filter-line"):
            yield Label("/", id="filter-label")
            yield Filter(id="filter", placeholder=tr("filter: siim state:running blr>1e-4 tag:x"))
            yield Label("", id="filter-count", markup=False)
        yield Static(id="filter-wrong")
        yield Table(cursor="row", frozen=2, id="runs")
        with Vertical(id="foot"):
            yield GpuStrip()
            yield Foot()

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.set_interval(10, self.redraw)
        self._recalling.ask()

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns: those chosen, or as many as usual in such a width."""
        wide = self.size.width >= WIDE
        return self._columns or (run_columns.WIDE if wide else run_columns.NARROW)

    @property
    def asked(self) -> reading.RunsAsked:
        """What is to be on the screen."""
        return reading.RunsAsked(
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
        self.query_one(Table).move_to(0)
        self.read()

    @on(Wrong)
    def tell_what_is_wrong(self, message: Wrong) -> None:
        if message.typed == self.query_one(Input).value:
            self._tell(message.why)

    def _tell(self, wrong: str) -> None:
        """Say under the filter what is wrong with it; nothing where all is well."""
        line = self.query_one("#filter-wrong", Static)
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
        self._marked = {id: now.get(id, run) for id, run in self._marked.items()}
        if before is not None and _same(view.asked, self.asked, shown):
            # new runs come on top: the cursor stays on its run
            at = next((i for i, r in enumerate(view.rows) if _name(r) == _name(before)), None)
            if at is not None and self.query_one(Table).row:
                self.query_one(Table).row = view.asked.offset + at
        self.redraw()

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
        self.query_one("#filter-count", Label).update(self._counted(view))
        lines = [self._line(row, columns) for row in view.rows]
        table.show([each.column for each in columns], lines, offset=offset, count=view.lines)
        table.empty = (
            tr("no run fits the filter") if view.total else tr("no run yet: `1`, then `l`")
        )

    def _line(self, row: Run | Group, columns: Sequence[run_columns.Choosable]) -> Line:
        if isinstance(row, Group):
            return group_head(row, self._by)
        view = self._view
        assert view is not None
        known = run_columns.Known(
            self._clock(),
            view.tags.get(row.id, ()),
            view.settings.get(row.recipe, {}),
            view.scores.get(row.id),
        )
        return run_columns.row_of(row, known, columns)

    def _counted(self, view: reading.RunsView) -> str:
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
        if isinstance(self.selected, Run):
            self.post_message(OpenRun(self.selected.id))
        else:
            self.action_fold()

    def action_filter(self) -> None:
        self.query_one(Input).focus()

    def action_leave_filter(self) -> None:
        self.query_one(Table).focus()

    def action_clear(self) -> None:
        self.query_one(Input).value = ""
        self.query_one(Table).focus()

    # -- marks

    def action_unmark(self) -> None:
        if self._marked:
            self._marked = {}
            self.redraw()
        else:
            self.action_clear()

    def action_mark(self) -> None:
        row = self.selected
        if isinstance(row, Group):
            self._marking_group.ask(self.query_one(Input).value, self._by, row.key)
        elif row is not None:
            if self._marked.pop(row.id, None) is None:
                self._marked[row.id] = row
            self.redraw()
            self.query_one(Table).action_move(1, 0)

    def action_mark_all(self) -> None:
        self._marking.ask(self.query_one(Input).value, self._order)

    @on(Marked)
    def take_marks(self, message: Marked) -> None:
        if message.typed != self.query_one(Input).value:
            return  # typed on meanwhile
        marked = {run.id: run for run in message.runs}
        self._marked = self._marked | marked if message.more else marked
        self.redraw()
        if len(message.runs) >= MOST_MARKED:
            said = tr("only the first {n} are marked").format(n=f"{MOST_MARKED:,}")
            self.notify(said, severity="warning", markup=False)

    def action_sort(self) -> None:
        self._order = ORDERS[(ORDERS.index(self._order) + 1) % len(ORDERS)]
        self.read_from_the_top()

    # -- groups

    def action_group(self) -> None:
        self._by = GROUPS[(GROUPS.index(self._by) + 1) % len(GROUPS)]
        self._folded = frozenset()
        self.read_from_the_top()

    def action_fold(self) -> None:
        row = self.selected
        if self._by and row is not None:
            key = row.key if isinstance(row, Group) else str(getattr(row, self._by))
            self._fold(self._folded ^ {key}, key)

    def action_fold_all(self) -> None:
        row = self.selected
        if self._by and self._view is not None and row is not None:
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

    # -- columns and tags

    def action_columns(self) -> None:
        self.app.push_screen(
            Columns(self.columns, lambda: reading.read_setting_names(self._lab)), self._show_columns
        )

    def _show_columns(self, chosen: tuple[str, ...] | None) -> None:
        if chosen is not None:
            self._columns = chosen
            remembered.remember_soon(self._lab, REMEMBERED, list(chosen))
            self.redraw()
            self.read()

    @on(Recalled)
    def take_columns(self, message: Recalled) -> None:
        if message.columns and not self._columns:
            self._columns = run_columns.known_names(message.columns)
            self.redraw()
            self.read()

    def action_tag(self) -> None:
        chosen = self.chosen()
        if not chosen:
            return
        which = chosen[0].id if len(chosen) == 1 else words.counted(len(chosen), "run")
        said = tr("Tags to give, such as `baseline`; `-draft` takes one away.")
        self.app.push_screen(
            Prompt(
                tr("Tag {what}").format(what=which), said, check=lambda typed: tagging.typed(typed)
            ),
            lambda typed: self._tag(chosen, typed) if typed else None,
        )

    def _tag(self, chosen: Sequence[Run], typed: str) -> None:
        self._tagging.ask([run.id for run in chosen], tagging.typed(typed))

    @on(Tagged)
    def tell_tags(self, message: Tagged) -> None:
        self._marked = {}
        said = tr("{runs} tagged").format(runs=words.counted(len(message.ids), "run"))
        self.notify(said, markup=False)
        self.read()

    # -- what is done to many

    def chosen(self) -> list[Run]:
        """Return the runs that are marked, or else the one under the cursor."""
        if self._marked:
            return list(self._marked.values())
        return [self.selected] if isinstance(self.selected, Run) else []

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


def _name(row: Run | Group) -> str:
    return row.id if isinstance(row, Run) else f"{row.key} "


def _same(*asked: reading.RunsAsked | None) -> bool:
    """Tell whether all are about the same list, whichever window of it."""
    lists = {(a.typed, a.order, a.by, a.closed) if a else None for a in asked}
    return len(lists) == 1


def group_head(group: Group, by: str) -> Span:
    """Return the line over the runs of a group."""
    name = sentences.state(group.key) if by == "state" else harmless(group.key)
    sign = "▸" if group.closed else "▾"
    count = words.counted(group.runs, "run")
    return Span([(f"{sign} ", "dim"), (name, "strong"), (f"  {count}", "dim")])
