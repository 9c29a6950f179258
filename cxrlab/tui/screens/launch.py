"""What will be launched, what comes first, what does it take? A form over a cell, filled in."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.timer import Timer
from textual.widgets import Input, Label, Static

from cxrlab import agent
from cxrlab import plan as plans
from cxrlab.errors import CxrlabError
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.launch import Prepared
from cxrlab.settings import PRESETS
from cxrlab.tui import answers, launching, reading, sentences
from cxrlab.tui.asking import Asking
from cxrlab.tui.launching import Answers
from cxrlab.tui.messages import Launched, OpenPage, Trouble
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.widgets.more import More
from cxrlab.tui.words import tr
from store.db import StoreError
from trainers.catalog import PRETRAIN, TASKS

QUIET_S = 0.8
"""How long nobody types before the trainers are asked for the recipe, which takes them seconds."""

FRESH_S = 60.0
"""How long the trainers' answer counts; after that they are asked again before queueing."""


class Launch(ModalScreen[None]):
    """Asks the planner while one types, and the trainers once one has paused."""

    TITLE = "launch"
    AUTO_FOCUS = "#preset"
    BINDINGS = [
        Binding("enter", "launch", "Launch", tooltip="Queue what is listed."),
        Binding("f3", "recipe", "Recipe", tooltip="Every setting that the trainers resolved."),
        Binding("f4", "more", "More", tooltip="Priority, memory, cluster, encoder and the like."),
        Binding("down", "app.focus_next", "Next", show=False, tooltip="The next field."),
        Binding("up", "app.focus_previous", "Before", show=False, tooltip="The field before."),
        Binding("pagedown", "scroll(4)", "Page down", show=False, tooltip="More of the list."),
        Binding("pageup", "scroll(-4)", "Page up", show=False, tooltip="Back in the list."),
        Binding("escape", "back", "Back", tooltip="Back without launching."),
    ]

    @dataclass
    class Planned(Message, bubble=False):
        """What the answers come to: a plan, or what is wrong with them."""

        plan: plans.Plan | None
        answers: Answers
        problem: str = ""

    @dataclass
    class Costed(Message, bubble=False):
        """What a plan takes."""

        answers: Answers
        told: Sequence[tuple[str, str]]

    @dataclass
    class Resolved(Message, bubble=False):
        """What the trainers make of a plan: configurations, or a refusal."""

        answers: Answers
        ready: list[Prepared] | None
        problem: str = ""

    @dataclass
    class Refused(Message, bubble=False):
        """The engine did not queue anything."""

        problem: str
        hint: str

    def __init__(self, lab: Lab, method: str, task: str, *, ratio: int | None) -> None:
        super().__init__()
        self._lab = lab
        self._cell = (method, task)
        self._ratio = "" if ratio is None else str(ratio)
        self._plan: plans.Plan | None = None
        self._asked: Answers | None = None
        self._costs: Sequence[tuple[str, str]] = ()
        self._ready: list[Prepared] | None = None
        self._ready_since = 0.0
        self._recipe = ""
        self._busy = False
        self._waits = self._pressed = False
        self._pause: Timer | None = None
        self._asking = Asking(self, self._work_out)
        self._costing = Asking(self, self._work_out_costs)
        self._resolving = Asking(self, self._resolve)

    def compose(self) -> ComposeResult:
        with Vertical(classes="box"):
            with Horizontal(classes="field"):
                yield Label(tr("preset"))
                yield Choice(PRESETS, chosen=self._lab.settings.launch.preset, id="preset")
            if self._cell[1] != PRETRAIN:
                with Horizontal(classes="field"):
                    yield Label(tr("labels"))
                    known = ",".join(map(str, TASKS[self._cell[1]].ratios))
                    hint = tr("percent; all are {ratios}").format(ratios=known)
                    yield Input(self._ratio, id="labels", placeholder=hint, select_on_focus=False)
            with Horizontal(classes="field"):
                yield Label(tr("seeds"))
                yield Input(
                    "0", id="seeds", placeholder=tr("0 or 0,1,2 or 0-4"), select_on_focus=False
                )
            with Horizontal(classes="field"):
                yield Label(tr("GPUs"))
                yield Choice(tuple(answers.GPUS), chosen="auto", id="gpus", label=tr)
            with Horizontal(classes="field"):
                yield Label(tr("settings"))
                hint = tr("blr=1e-4,3e-4 pretrain.epochs=20; a run for each value")
                yield Input("", id="settings", placeholder=hint, select_on_focus=False)
            yield More(self._lab, of_one=True)
            with VerticalScroll(id="what", can_focus=False):
                yield Static(id="what-text")
            yield Static(id="takes")
            yield Static(id="problem", markup=False)
            yield Static(id="launch-keys", classes="keys")

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = False
        self.query_one("#problem").display = False
        self._show_keys()
        self.plan()

    def _show_keys(self) -> None:
        keys = (
            tr("asking the trainers for their configuration …   Esc  back, it goes on")
            if self._busy
            else tr("Enter launch   F3 recipe   F4 more   Tab next   ← → choose   Esc back")
        )
        self.query_one("#launch-keys", Static).update(Text(keys))

    # -- planning

    @on(Input.Changed)
    @on(Choice.Changed)
    def plan(self) -> None:
        """Work out what the answers come to, where they are new.

        The fields tell of their first values too; the same answers a second time would wipe away
        what the engine said to them meanwhile.
        """
        if self._asked == self._answers():
            return
        self._asked = self._answers()
        self._show_title()
        self._plan, self._ready, self._waits = None, None, True
        self._asking.ask(self._asked)

    def _answers(self) -> Answers:
        typed = {field.id: field.value for field in self.query(Input)}
        chosen = {field.id: field.value for field in self.query(Choice)}
        return Answers(
            preset=chosen["preset"],
            labels=typed.get("labels", ""),
            seeds=typed["seeds"],
            gpus=chosen["gpus"],
            settings=typed["settings"],
            manner=self.query_one(More).manner,
        )

    def _show_title(self) -> None:
        labels = harmless(self._answers().labels.strip(), 20)
        share = f" {labels} %" if labels else ""
        title = Text(f"{tr('Launch')} {' '.join(self._cell)}{share}")
        self.query_one(".box").border_title = title

    def _work_out(self, given: Answers) -> Planned:
        try:
            return self.Planned(launching.plan_of(self._lab, *self._cell, given), given)
        except CxrlabError as error:
            return self.Planned(None, given, answers.in_full(error))

    def _work_out_costs(self, plan: plans.Plan, given: Answers) -> Costed:
        return self.Costed(given, launching.costs_of(self._lab, plan, given))

    def _resolve(self, plan: plans.Plan, given: Answers) -> Resolved:
        try:
            return self.Resolved(given, launching.prepared(self._lab, plan, given))
        except CxrlabError as error:
            return self.Resolved(given, None, answers.in_full(error))

    @on(Planned)
    def draw(self, message: Planned) -> None:
        if message.answers != self._answers():  # they have changed; their own plan is on its way
            return
        self._plan, self._waits = message.plan, False
        pressed, self._pressed = self._pressed, False
        what = launching.listed(message.plan.steps) if message.plan else Text()
        self.query_one("#what-text", Static).update(what)
        self._show_problem(message.problem)
        self._costs, self._recipe = (), ""
        if message.plan is not None:
            self._recipe = tr("asking the trainers …")
            self._costing.ask(message.plan, message.answers)
            if not pressed:  # else they are asked right away
                self._wait_for_a_pause()
        self._show_facts()
        if pressed:
            self.action_launch()

    def _wait_for_a_pause(self) -> None:
        if self._pause is not None:
            self._pause.stop()
        self._pause = self.set_timer(QUIET_S, self._ask_the_trainers)

    def _ask_the_trainers(self) -> None:
        if self._plan is not None and self._asked is not None and not self._busy:
            self._resolving.ask(self._plan, self._asked)

    @on(Costed)
    def take_costs(self, message: Costed) -> None:
        if message.answers == self._asked and self._plan is not None:
            self._costs = message.told
            self._show_facts()

    @on(Resolved)
    def take_recipe(self, message: Resolved) -> None:
        if message.answers != self._asked or self._busy:
            return
        self._ready, self._ready_since = message.ready, time.monotonic()
        self._recipe = launching.recipes_told(message.ready) if message.ready else tr("refused")
        self._show_facts()
        self._show_problem(message.problem)

    def _show_facts(self) -> None:
        more = self.query_one(More)
        also = "" if more.display else more.said()
        facts = [*self._costs, (tr("recipe"), self._recipe)] if self._recipe else []
        facts += [(tr("more"), also)] if also else []
        self.query_one("#takes", Static).update(launching.facts_told(facts))

    def _show_problem(self, problem: str) -> None:
        box = self.query_one("#problem", Static)
        box.display = bool(problem)
        lines = problem.replace(f"{self._lab.root}/", "").splitlines()
        box.update(Text("\n".join(harmless(sentences.said(line)) for line in lines)))

    # -- launching

    @on(Input.Submitted)
    def action_launch(self) -> None:
        if self._busy:
            return
        if self._plan is None or self._asked is None:
            self._pressed = self._waits  # what was pressed holds for the plan that is worked out
            return
        self._busy = True
        self._show_problem("")
        self._show_keys()
        fresh = self._ready is not None and time.monotonic() - self._ready_since < FRESH_S
        ready = self._ready if fresh else None
        plan, given, tell = self._plan, self._asked, self.app.post_message
        # a thread of its own: it takes seconds, and must not keep the program from ending
        threading.Thread(
            target=lambda: self._carry_out(plan, given, ready, tell), daemon=True
        ).start()

    def _carry_out(
        self,
        plan: plans.Plan,
        given: Answers,
        ready: list[Prepared] | None,
        tell: Callable[[Message], object],
    ) -> None:
        try:
            ready = ready or launching.prepared(self._lab, plan, given)
            with reading.registry(self._lab) as db:
                launched = given.manner.queued(self._lab, db, ready)
            agent.ensure_agent(self._lab)
        except (CxrlabError, StoreError, OSError) as error:
            hint = getattr(error, "hint", "")
            if self.is_attached:
                self.post_message(self.Refused(str(error), hint))
            else:
                tell(Trouble(tr("not launched: {why}").format(why=error), hint))
            return
        tell(Launched(launched))
        if self.is_attached:
            self.post_message(self.Refused("", ""))

    @on(Refused)
    def show_refusal(self, message: Refused) -> None:
        self._busy = False
        if not message.problem:
            self.dismiss()
            return
        self._recipe = tr("refused")
        self._show_facts()
        self._show_problem(f"{message.problem}\n{message.hint}".rstrip())
        self._show_keys()

    # -- keys

    def action_recipe(self) -> None:
        if not self._ready:
            self.notify(tr("the trainers have not answered yet"), markup=False)
            return
        lines = launching.recipes_in_full(self._ready)
        self.post_message(OpenPage(tr("recipe"), lambda: lambda width: lines))

    def action_more(self) -> None:
        self.query_one(More).turn()
        self._show_facts()

    def action_scroll(self, down: int) -> None:
        self.query_one("#what").scroll_relative(y=down, animate=False)

    def action_back(self) -> None:
        self.dismiss()
