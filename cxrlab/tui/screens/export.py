"""In which form, and where to? The grid as a file."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input, Label, Static

from cxrlab.errors import CxrlabError
from cxrlab.exports import files, of_lab
from cxrlab.exports.forms import Form
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.settings import LANGUAGES
from cxrlab.tui import reading, sentences
from cxrlab.tui.messages import Told
from cxrlab.tui.screens.question import Question
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.words import tr
from store.db import StoreError

NOTEBOOK = "notebook"
"""The layout of a lab's notebook, which is HTML in a Markdown file."""
FORMS = (*(form.value for form in Form), NOTEBOOK)
NAMES = {form: f"grid{of_lab.ENDINGS[form]}" for form in Form} | {NOTEBOOK: "notebook.md"}


class Export(ModalScreen[None]):
    """Writes the whole grid to a file; one that is there is asked about."""

    TITLE = "export"
    AUTO_FOCUS = "#form"
    BINDINGS = [
        Binding("enter", "export", "Write", tooltip="Write the file."),
        Binding("down", "app.focus_next", "Next", show=False, tooltip="The next field."),
        Binding("up", "app.focus_previous", "Before", show=False, tooltip="The field before."),
        Binding("escape", "back", "Back", tooltip="Back without writing."),
    ]

    @dataclass
    class There(Message, bubble=False):
        """A file of that name is there already."""

        path: Path

    @dataclass
    class Ended(Message, bubble=False):
        """The file was written, or what kept it from being."""

        problem: str = ""

    def __init__(self, lab: Lab) -> None:
        super().__init__()
        self._lab = lab
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="box") as box:
            box.border_title = Text(tr("Export the grid"))
            with Horizontal(classes="field"):
                yield Label(tr("format"))
                yield Choice(FORMS, chosen=FORMS[0], id="form")
            with Horizontal(classes="field"):
                yield Label(tr("language"))
                yield Choice(LANGUAGES, chosen=self._lab.settings.language, id="language")
            with Horizontal(classes="field"):
                yield Label(tr("file"))
                yield Input(NAMES[FORMS[0]], id="file", select_on_focus=False)
            yield Static(id="where", classes="quiet")
            yield Static(id="problem", markup=False)
            yield Static(id="export-keys", classes="keys")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.show_problem("")
        self.show_where()

    @property
    def path(self) -> Path:
        """The file; a name without a folder lies in the lab's."""
        typed = self.query_one(Input).value.strip()
        path = Path(typed)
        if typed.startswith("~"):
            path = Path.home() / typed[1:].lstrip("/")
        return self._lab.root / path

    @on(Choice.Changed)
    def rename(self) -> None:
        """Let the name follow the form, as long as it is one of those proposed."""
        field = self.query_one(Input)
        if field.value in NAMES.values():
            field.value = NAMES[self.query_one("#form", Choice).value]

    @on(Input.Changed)
    def show_where(self) -> None:
        path, root = self.path, self._lab.root
        inside = path.is_relative_to(root)
        shown = Path(root.name, path.relative_to(root)) if inside else path
        self.query_one("#where", Static).update(Text(f"{tr('writes')} {harmless(str(shown))}"))

    def show_problem(self, problem: str) -> None:
        box = self.query_one("#problem", Static)
        box.display = bool(problem)
        box.update(Text("\n".join(map(harmless, problem.splitlines()))))
        keys = (
            tr("writing …")
            if self._busy
            else tr("Enter  write     Tab  next field     ← →  choose     Esc  back")
        )
        self.query_one("#export-keys", Static).update(Text(keys))

    @on(Input.Submitted)
    def action_export(self) -> None:
        self.start(over=False)

    def start(self, *, over: bool) -> None:
        """Write the file on a thread; one that is there only where `over` says so."""
        if self._busy:
            return
        if not self.query_one(Input).value.strip():
            self.show_problem(tr("name a file"))
            return
        self._busy = True
        self.show_problem("")
        form, lang = (
            self.query_one("#form", Choice).value,
            self.query_one("#language", Choice).value,
        )
        tell, path = self.app.post_message, self.path
        threading.Thread(
            target=lambda: self._write(path, form, lang, over=over, tell=tell), daemon=True
        ).start()

    def _write(
        self, path: Path, form: str, lang: str, *, over: bool, tell: Callable[[Message], object]
    ) -> None:
        try:
            if path.is_file() and not over:
                self.post_message(self.There(path))
                return
            as_notebook = form == NOTEBOOK
            with reading.registry(self._lab) as db:
                written = of_lab.written(
                    db,
                    self._lab.settings.grid,
                    Form.html if as_notebook else Form(form),
                    lang=lang,
                    as_notebook=as_notebook,
                )
            changed = files.write(path, written.content)
        except (CxrlabError, StoreError, OSError) as error:
            lines = filter(None, (str(error), getattr(error, "hint", "")))
            self.post_message(self.Ended("\n".join(map(sentences.said, lines))))
            return
        wrote = (
            tr("wrote the grid to {file}") if changed else tr("{file} has this very grid already")
        )
        tell(Told(wrote.format(file=path)))
        self.post_message(self.Ended())

    @on(There)
    def ask(self, message: There) -> None:
        self._busy = False
        self.show_problem("")
        self.app.push_screen(
            Question(tr("Overwrite the file?"), harmless(str(message.path))),
            lambda yes: self.start(over=True) if yes else None,
        )

    @on(Ended)
    def end(self, message: Ended) -> None:
        self._busy = False
        if message.problem:
            self.show_problem(message.problem)
        else:
            self.dismiss()

    def action_back(self) -> None:
        self.dismiss()
