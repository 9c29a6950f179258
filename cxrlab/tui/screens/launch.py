"""What will be launched, and what comes first? A form over a cell, filled in."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from cxrlab import agent, launch
from cxrlab import plan as plans
from cxrlab.errors import CxrlabError, Usage
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.settings import PRESETS
from cxrlab.tui import reading
from cxrlab.tui.asking import Asking
from cxrlab.tui.messages import Launched, Trouble
from cxrlab.tui.widgets.choice import Choice
from store.db import StoreError
from trainers.catalog import PRETRAIN

GPUS: dict[str, int | None] = {"auto": None, "cpu": 0, "1": 1, "2": 2, "4": 4, "8": 8}
MOST_SEEDS = 20
SHOWN = 8
"""Steps of a plan that are listed one by one."""


class Launch(ModalScreen[None]):
    """Asks the planner while one types, and the engine once one presses Enter."""

    TITLE = "launch"
    AUTO_FOCUS = "#preset"
    BINDINGS = [
        Binding("enter", "launch", "Launch", tooltip="Queue what is listed."),
        Binding("down", "app.focus_next", "Next", show=False, tooltip="The next field."),
        Binding("up", "app.focus_previous", "Before", show=False, tooltip="The field before."),
        Binding("escape", "back", "Back", tooltip="Back without launching."),
    ]

    @dataclass
    class Planned(Message, bubble=False):
        """What preset and seeds come to: a plan, or what is wrong with them."""

        plan: plans.Plan | None
        answers: tuple[str, str]
        problem: str = ""

    @dataclass
    class Refused(Message, bubble=False):
        """The engine did not queue anything."""

        problem: str
        hint: str

    def __init__(self, lab: Lab, method: str, task: str, *, ratio: int | None) -> None:
        super().__init__()
        self._lab = lab
        self._cell = (method, task, ratio)
        self._plan: plans.Plan | None = None
        self._asked: tuple[str, str] | None = None
        self._busy = False
        self._waits = self._pressed = False
        self._asking = Asking(self, self._work_out)

    def compose(self) -> ComposeResult:
        method, task, ratio = self._cell
        share = "" if ratio is None else f" {ratio} %"
        with Vertical(classes="box") as box:
            box.border_title = f"Launch {method} {task}{share}"
            with Horizontal(classes="field"):
                yield Label("preset")
                yield Choice(PRESETS, chosen=self._lab.settings.launch.preset, id="preset")
            with Horizontal(classes="field"):
                yield Label("seeds")
                yield Input("0", id="seeds", placeholder="0 or 0,1,2 or 0-4", select_on_focus=False)
            with Horizontal(classes="field"):
                yield Label("GPUs")
                yield Choice(tuple(GPUS), chosen="auto", id="gpus")
            yield Static(id="what")
            yield Static(id="problem", markup=False)
            yield Static(id="launch-keys", classes="keys")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.query_one("#problem").display = False
        self._show_keys()
        self.plan()

    def _show_keys(self) -> None:
        keys = (
            "asking the trainer for its configuration …   Esc  back, it goes on"
            if self._busy
            else "Enter  launch     Tab  next field     ← →  choose     Esc  back"
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
        self._plan, self._waits = None, True
        self._asking.ask(*self._asked)

    def _answers(self) -> tuple[str, str]:
        return self.query_one("#preset", Choice).value, self.query_one(Input).value

    def _work_out(self, preset: str, typed: str) -> Planned:
        method, task, ratio = self._cell
        try:
            wants = plans.wanted(
                [method],
                [] if task == PRETRAIN else [task],
                ratios=() if ratio is None else (ratio,),
                seeds=seeds_of(typed),
                preset=preset,
            )
            with reading.registry(self._lab) as db:
                plan = plans.plan(wants, launch.pretrainings(db))
            return self.Planned(plan, (preset, typed))
        except CxrlabError as error:
            return self.Planned(None, (preset, typed), _in_full(error))

    @on(Planned)
    def draw(self, message: Planned) -> None:
        if message.answers != self._answers():  # they have changed; their own plan is on its way
            return
        self._plan, self._waits = message.plan, False
        pressed, self._pressed = self._pressed, False
        what = listed(message.plan.steps) if message.plan else Text()
        self.query_one("#what", Static).update(what)
        self._show_problem(message.problem)
        if pressed:
            self.action_launch()

    def _show_problem(self, problem: str) -> None:
        box = self.query_one("#problem", Static)
        box.display = bool(problem)
        box.update(Text("\n".join(harmless(line) for line in problem.splitlines())))

    # -- launching

    @on(Input.Submitted)
    def action_launch(self) -> None:
        if self._busy:
            return
        if self._plan is None:  # still being worked out: what was pressed holds for its answer
            self._pressed = self._waits
            return
        self._busy = True
        self._show_problem("")
        self._show_keys()
        gpus = GPUS[self.query_one("#gpus", Choice).value]
        # a thread of its own: it takes seconds, and must not keep the program from ending
        threading.Thread(
            target=self._carry_out, args=(self._plan, gpus, self.app.post_message), daemon=True
        ).start()

    def _carry_out(
        self, plan: plans.Plan, gpus: int | None, post: Callable[[Message], object]
    ) -> None:
        try:
            with reading.registry(self._lab) as db:
                launched = launch.carry_out(self._lab, db, plan, gpus=gpus)
            agent.ensure_agent(self._lab)
        except (CxrlabError, StoreError, OSError) as error:
            hint = getattr(error, "hint", "")
            if self.is_attached:
                self.post_message(self.Refused(str(error), hint))
            else:
                post(Trouble(f"not launched: {error}", hint))
            return
        post(Launched(launched))
        if self.is_attached:
            self.post_message(self.Refused("", ""))

    @on(Refused)
    def show_refusal(self, message: Refused) -> None:
        self._busy = False
        if not message.problem:
            self.dismiss()
            return
        self._show_problem(f"{message.problem}\n{message.hint}".rstrip())
        self._show_keys()

    def action_back(self) -> None:
        self.dismiss()


def seeds_of(typed: str) -> tuple[int, ...]:
    """Return the seeds of `0`, `0,1,2` or `0-4`.

    Raises:
        Usage: it is none of these.
    """
    found: list[int] = []
    for part in typed.replace(" ", ",").split(","):
        first, dash, last = part.partition("-")
        if not part:
            continue
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise Usage(f"seeds are `{typed.strip()}`; expected a form like `0`, `0,1,2` or `0-4`")
        end = int(last) if dash else int(first)
        if end - int(first) >= MOST_SEEDS:
            raise Usage(f"at most {MOST_SEEDS} seeds can be launched at once")
        found += range(int(first), end + 1)
    if not 0 < len(set(found)) <= MOST_SEEDS:
        raise Usage(f"name one to {MOST_SEEDS} seeds, such as `0` or `0,1,2`")
    return tuple(dict.fromkeys(found))


def listed(steps: Sequence[plans.Step]) -> Text:
    """Return the steps of a plan in order, each with why it is there."""
    said = Text("what runs, in this order\n", "dim")
    for number, step in enumerate(steps[:SHOWN], start=1):
        said.append(f" {number}  ").append(step.cell, "bold")
        if step.why:
            said.append(f"\n    {harmless(step.why)}", "dim")
        said.append("\n")
    if len(steps) > SHOWN:
        said.append(f"    and {len(steps) - SHOWN} more\n")
    said.append("what the lab has already is not run again", "dim")
    return said


def _in_full(error: CxrlabError) -> str:
    return f"{error.message}\n{error.hint}" if error.hint else error.message
