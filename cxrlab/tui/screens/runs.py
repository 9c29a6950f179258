"""Which runs are there, and what is done to them? The list with its keys, marks and columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from textual import on
from textual.binding import Binding
from textual.message import Message
from textual.widgets import Input

from cxrlab import tagging
from cxrlab.lab import Lab
from cxrlab.tui import acting, reading_runs, remembered, run_columns, words
from cxrlab.tui.asking import Asking
from cxrlab.tui.grouping import Group
from cxrlab.tui.messages import ActOnRuns, ResumeRun, StopRun
from cxrlab.tui.run_list import Filter, RunList
from cxrlab.tui.screens.columns import Columns
from cxrlab.tui.screens.prompt import Prompt
from cxrlab.tui.screens.question import Question
from cxrlab.tui.widgets.table import Table
from cxrlab.tui.words import tr
from store.runs import Run

PATIENCE_S = 0.5
"""After how long it is said that something takes its time."""
MOST_MARKED = 1000
"""So many runs can be marked at once by one key."""
REMEMBERED = "run_columns"
"""Under this name the columns that were chosen are remembered."""


class RunsScreen(RunList):
    """The list of runs, with marks, tags and what is done to one or many."""

    TITLE = "runs"
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
        super().__init__(lab, clock=clock)
        self._marking = Asking(
            self,
            lambda typed, order: self.Marked(
                typed, reading_runs.read_fitting(lab, typed, MOST_MARKED, order, clock())
            ),
        )
        self._marking_group = Asking(
            self,
            lambda typed, by, key: self.Marked(
                typed,
                reading_runs.read_of_group(lab, typed, by, key, MOST_MARKED, clock()),
                more=True,
            ),
        )
        self._weighing = Asking(
            self, lambda chosen: self.Weighed(chosen, acting.freed(chosen, lab))
        )
        self._recalling = Asking(
            self, lambda: self.Recalled(remembered.recall(lab, REMEMBERED, []))
        )
        self._tagging = Asking(self, self._give_tags)
        self._weighs = False
        self._idle: tuple[str, ...] = ()

    def _give_tags(self, ids: Sequence[str], change: tagging.Change) -> Message:
        reading_runs.give_tags(self._lab, ids, change)
        return self.Tagged(ids)

    def on_mount(self) -> None:
        self._recalling.ask()

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

    # -- columns and tags

    def action_columns(self) -> None:
        self.app.push_screen(
            Columns(self.columns, lambda: reading_runs.read_setting_names(self._lab)),
            self._show_columns,
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

    def redraw(self) -> None:
        super().redraw()
        self.offer()

    @on(Table.Moved)
    def offer(self) -> None:
        """Let the foot say what can be done to the runs that are chosen now."""
        unread = self.selected is None and self._view is not None and self._view.lines
        idle = self._idle if unread else acting.idle(self.chosen())
        if idle != self._idle:
            self._idle = idle
            self.refresh_bindings()

    @property
    def idle(self) -> tuple[str, ...]:
        """What the foot leaves out: what no run chosen is in a state for, and the filter in it."""
        return (*self._idle, *(["filter"] if isinstance(self.focused, Filter) else []))

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
            self._weighs = True
            self._weighing.ask(chosen)
            self.set_timer(PATIENCE_S, self._tell_weighing)

    def _tell_weighing(self) -> None:
        if self._weighs:
            self.notify(tr("adding up what their folders hold …"), markup=False)

    @on(Weighed)
    def ask_to_remove(self, message: Weighed) -> None:
        self._weighs = False
        # elsewhere nobody expects the question any more, and `y` may mean something
        if self.app.screen is self:
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
