"""What is to be written down, and what is it about? A form, with the text below."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.suggester import Suggester
from textual.widgets import Input, Label, Static, TextArea

from cxrlab.errors import CxrlabError
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import lists, sentences
from cxrlab.tui.asking import Asking
from cxrlab.tui.lists import Subject
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.words import tr
from store.db import StoreError

KINDS = ("todo", "idea", "note")


class Written(NamedTuple):
    """An entry as it stands in the form."""

    kind: str
    text: str
    about: str
    """A run's id, a cell, a method or a task; empty for nothing in particular."""


class Words(TextArea):
    """The text. Enter saves it; another line begins with Ctrl+J."""

    BINDINGS = [
        Binding("enter", "screen.save", "Save", priority=True, tooltip="Write it down."),
        Binding("ctrl+j", "new_line", "New line", tooltip="Begin another line."),
    ]

    def action_new_line(self) -> None:
        self.insert("\n")


class Subjects(Suggester):
    """Completes the name of what an entry is about."""

    def __init__(self, lab: Lab) -> None:
        super().__init__(use_cache=False, case_sensitive=True)
        self._lab = lab

    async def get_suggestion(self, value: str) -> str | None:
        try:
            return await asyncio.to_thread(lists.begun_so, self._lab, value) or None
        except (StoreError, CxrlabError, OSError):
            return None  # the screen below says so already


class NoteForm(ModalScreen[Written | None]):
    """Dismissed with what was written, or None where nothing is to be changed."""

    AUTO_FOCUS = "Words"
    BINDINGS = [
        Binding("enter", "save", "Save", tooltip="Write it down."),
        Binding("escape", "leave", "Back", tooltip="Leave everything as it is."),
    ]

    @dataclass
    class Found(Message, bubble=False):
        """What was meant by what stands in the field, or why it means nothing."""

        typed: str
        subject: Subject | None
        problem: str = ""

    def __init__(self, lab: Lab, title: str, before: Written, *, fixed: bool = False) -> None:
        """Show `before`; of an entry that is there already the kind is `fixed`."""
        super().__init__()
        self._lab = lab
        self._title = title
        self._before = before
        self._fixed = fixed
        self._saving = False
        self._asking = Asking(self, self._find)

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Content(self._title)
            if not self._fixed:
                with Horizontal(classes="field"):
                    yield Label(tr("kind"))
                    yield Choice(KINDS, chosen=self._before.kind, id="note-kind", label=tr)
            with Horizontal(classes="field"):
                yield Label(tr("about"))
                yield Input(
                    harmless(self._before.about),
                    id="note-about",
                    placeholder=tr("a run, a cell such as mrm:siim:10, a method or a task"),
                    suggester=Subjects(self._lab),
                    select_on_focus=False,
                )
            yield Static(id="note-subject", markup=False)
            text = shown(self._before.text)
            yield Words(text, id="note-text", tab_behavior="focus", compact=True)
            yield Static(id="problem", markup=False)
            keys = tr("Enter  save     Ctrl+J  new line     Tab  next field     Esc  back")
            yield Static(Content(keys), classes="keys")

    def on_mount(self) -> None:
        words, about = self.query_one(Words), self.query_one(Input)
        words.cursor_blink = about.cursor_blink = False
        words.move_cursor(words.document.end)
        self._tell("")
        self.look()

    # -- what it is about

    @on(Input.Changed)
    def look(self) -> None:
        """Find out what is meant by what stands in the field."""
        self._saving = False
        self._asking.ask(self.query_one(Input).value)

    def _find(self, typed: str) -> Found:
        if typed == harmless(self._before.about):  # whatever it was, it may stay
            typed = self._before.about
        try:
            return self.Found(harmless(typed), lists.find_subject(self._lab, typed))
        except (StoreError, CxrlabError) as error:
            lines = filter(None, (str(error), getattr(error, "hint", "")))
            said = tr("; ").join(map(sentences.said, lines))
            kept = Subject(typed, "") if typed and typed == self._before.about else None
            return self.Found(harmless(typed), kept, said)

    @on(Found)
    def take(self, message: Found) -> None:
        """Say what was found; save, where that was waited for."""
        if message.typed != self.query_one(Input).value:
            return  # typed on meanwhile
        subject = message.subject
        said = message.problem or (subject.said if subject else "")
        line = self.query_one("#note-subject", Static)
        line.set_class(subject is None, "wrong")
        line.update(harmless(said))
        saving, self._saving = self._saving, False
        if not saving:
            return
        if subject is None:
            self.query_one(Input).focus()
            return
        text = self.query_one(Words).text.strip()
        kind = self._before.kind
        kind = kind if self._fixed else self.query_one("#note-kind", Choice).value
        if text == shown(self._before.text).strip():
            text = self._before.text  # what the form does not show stays as it is
        answer = Written(kind, text, subject.name)
        self.dismiss(None if self._fixed and answer == self._before else answer)

    # -- keys

    @on(Input.Submitted)
    def action_save(self) -> None:
        if not self.query_one(Words).text.strip():
            self._tell(tr("an entry needs words"))
            return
        self._tell("")
        self._saving = True
        self._asking.ask(self.query_one(Input).value)

    def _tell(self, problem: str) -> None:
        box = self.query_one("#problem", Static)
        box.display = bool(problem)
        box.update(problem)

    def action_leave(self) -> None:
        self.dismiss(None)


def shown(text: str) -> str:
    """Return the text line by line with its control characters as visible signs."""
    return "\n".join(harmless(line) for line in text.splitlines())
