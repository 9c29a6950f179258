"""What does a row, a column or the whole grid still lack, and how long would that take?"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from cxrlab import agent
from cxrlab.asked import Asked
from cxrlab.errors import CxrlabError
from cxrlab.filling import outlook
from cxrlab.filling import set_going as filling
from cxrlab.filling.outlook import Outlook
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.queueing import disk
from cxrlab.settings import PRESETS
from cxrlab.tui import answers, launching, reading, sentences
from cxrlab.tui.answers import Manner
from cxrlab.tui.asking import Asking
from cxrlab.tui.launching import Coming
from cxrlab.tui.messages import Launched, Trouble
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.widgets.more import More
from cxrlab.tui.words import tr
from store.db import StoreError


class Answers(NamedTuple):
    """What stands in the fields."""

    part: str
    """`row`, `column` or `all`."""
    preset: str
    seeds: str
    gpus: str
    manner: Manner


class Fill(ModalScreen[None]):
    """Lists what would be launched before anything is; Enter launches it."""

    TITLE = "fill"
    AUTO_FOCUS = "#part"
    BINDINGS = [
        Binding("enter", "launch", "Launch", tooltip="Queue what is listed."),
        Binding("f4", "more", "More", tooltip="Priority, memory, cluster and the like."),
        Binding("down", "app.focus_next", "Next", show=False, tooltip="The next field."),
        Binding("up", "app.focus_previous", "Before", show=False, tooltip="The field before."),
        Binding("pagedown", "scroll(8)", "Page down", show=False, tooltip="More of the list."),
        Binding("pageup", "scroll(-8)", "Page up", show=False, tooltip="Back in the list."),
        Binding("escape", "back", "Back", tooltip="Back without launching."),
    ]

    @dataclass
    class Looked(Message, bubble=False):
        """What is lacking, and what it would take of the disk; or what is wrong."""

        answers: Answers
        found: Outlook | None
        told: str = ""
        problem: str = ""

    @dataclass
    class Ended(Message, bubble=False):
        """All was queued, or what kept it from being."""

        problem: str = ""

    def __init__(
        self, lab: Lab, *, method: str = "", task: str = "", ratio: int | None = None
    ) -> None:
        super().__init__()
        self._lab = lab
        self._cell = (method, task, ratio)
        self._found: Outlook | None = None
        self._asked: Answers | None = None
        self._busy = False
        self._asking = Asking(self, self._look)

    @property
    def labels(self) -> dict[str, str]:
        """What can be filled, each part with what it is called; without a cell only all of it."""
        method, task, ratio = self._cell
        if not method:
            return {"all": tr("all")}
        share = "" if ratio is None else f" {ratio} %"
        column = {"column": f"{tr('column')} {task}{share}"} if task else {}
        return {"row": f"{tr('row')} {method}", **column, "all": tr("all")}

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Text(tr("Fill the grid"))
            with Horizontal(classes="field"):
                yield Label(tr("what"))
                labels = tuple(self.labels.values())
                yield Choice(labels, chosen=labels[0], id="part")
            with Horizontal(classes="field"):
                yield Label(tr("preset"))
                yield Choice(PRESETS, chosen=self._lab.settings.launch.preset, id="preset")
            with Horizontal(classes="field"):
                yield Label(tr("seeds"))
                yield Input(
                    "0", id="seeds", placeholder=tr("0 or 0,1,2 or 0-4"), select_on_focus=False
                )
            with Horizontal(classes="field"):
                yield Label(tr("GPUs"))
                yield Choice(tuple(answers.GPUS), chosen="auto", id="gpus", label=tr)
            yield More(self._lab, of_one=False)
            with VerticalScroll(id="lacking", can_focus=False):
                yield Static(id="lacking-text")
            yield Static(id="sum", markup=False)
            yield Static(id="problem", markup=False)
            yield Static(id="fill-keys", classes="keys")

    def on_mount(self) -> None:
        self.query_one("#seeds", Input).cursor_blink = False
        self.look()

    # -- looking

    @on(Input.Changed)
    @on(Choice.Changed)
    def look(self) -> None:
        """Work out what is lacking, where the answers are new."""
        given = self._answers()
        if self._asked != given:
            self._asked, self._found = given, None
            self.query_one("#lacking-text", Static).update(Text(tr("looking …"), "dim"))
            self._show("", "")
            self._asking.ask(given)

    def _answers(self) -> Answers:
        part = list(self.labels)[self.query_one("#part", Choice).index]
        preset, gpus = (self.query_one(f"#{name}", Choice).value for name in ("preset", "gpus"))
        seeds, manner = self.query_one("#seeds", Input).value, self.query_one(More).manner
        return Answers(part, preset, seeds, gpus, manner)

    def _look(self, given: Answers) -> Looked:
        method, task, ratio = self._cell
        try:
            asked = Asked(
                methods=[method] if given.part == "row" else (),
                tasks=[task] if given.part == "column" else (),
                ratios=[ratio] if given.part == "column" and ratio is not None else (),
                seeds=answers.seeds_of(given.seeds),
                preset=given.preset,
                gpus=answers.GPUS[given.gpus],
                backend=given.manner.backend,
            )
            given.manner.check()
            with reading.registry(self._lab) as db:
                found = outlook.look(self._lab, db, asked)
                coming = [
                    Coming(step.method, step.task, step.preset, "", str(self._lab.runs_dir))
                    for step in found.plan.steps
                ]
                told = disk.Disk(db).told(coming) if coming else ""
            return self.Looked(given, found, told)
        except CxrlabError as error:
            return self.Looked(given, None, problem=answers.in_full(error))

    @on(Looked)
    def draw(self, message: Looked) -> None:
        if message.answers != self._answers():  # they have changed; their own is on its way
            return
        self._found = message.found
        if message.found is None:
            self.query_one("#lacking-text", Static).update("")
            self._show("", message.problem)
            return
        lines = launching.lacking_told(message.found)
        self.query_one("#lacking-text", Static).update(Text("\n".join(map(harmless, lines))))
        self._show(launching.sum_told(message.found, message.told), "")

    @property
    def count(self) -> int:
        """How many runs would be queued: new ones, and those that go on."""
        return len(self._found.plan.steps) + len(self._found.going_on) if self._found else 0

    def _show(self, total: str, problem: str) -> None:
        for id, said in (("#sum", total), ("#problem", problem)):
            box = self.query_one(id, Static)
            box.display = bool(said)
            lines = said.replace(f"{self._lab.root}/", "").splitlines()
            box.update(Text("\n".join(harmless(sentences.said(line)) for line in lines)))
        if self._busy:
            keys = tr("asking the trainers for their configuration …   Esc  back, it goes on")
        elif self.count:
            keys = tr("Enter launch   F4 more   Tab next   ← → choose   Esc back")
        else:
            keys = tr("F4 more   Tab next   ← → choose   Esc back")
        self.query_one("#fill-keys", Static).update(Text(keys))

    def action_more(self) -> None:
        self.query_one(More).turn()

    def action_scroll(self, down: int) -> None:
        self.query_one("#lacking").scroll_relative(y=down, animate=False)

    # -- launching

    @on(Input.Submitted)
    def action_launch(self) -> None:
        if self._busy or self._found is None or not self.count:
            return
        self._busy = True
        self._show("", "")
        found, tell = self._found, self.app.post_message
        manner = self.query_one(More).manner
        # a thread of its own: it takes seconds, and must not keep the program from ending
        threading.Thread(target=lambda: self._carry_out(found, manner, tell), daemon=True).start()

    def _carry_out(self, found: Outlook, manner: Manner, tell: Callable[[Message], object]) -> None:
        try:
            with reading.registry(self._lab) as db:
                prepared = manner.prepared(self._lab, db, found.plan, gpus=found.each)
                done = filling.carry_out(
                    self._lab,
                    db,
                    found,
                    prepared,
                    say=lambda said: tell(Trouble(said)),
                    on_oom=manner.on_oom_of(self._lab),
                )
            agent.ensure_agent(self._lab)
        except (CxrlabError, StoreError, OSError) as error:
            hint = getattr(error, "hint", "")
            if self.is_attached:
                self.post_message(self.Ended(f"{error}\n{hint}".rstrip()))
            else:
                tell(Trouble(tr("not launched: {why}").format(why=error), hint))
            return
        tell(Launched(done))
        if self.is_attached:
            self.post_message(self.Ended())

    @on(Ended)
    def end(self, message: Ended) -> None:
        self._busy = False
        if message.problem:
            self._show("", message.problem)
        else:
            self.dismiss()

    def action_back(self) -> None:
        self.dismiss()
