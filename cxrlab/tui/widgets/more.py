"""How are runs to be queued, beyond what is usual? Fields that a form folds away.

What stands in them is in effect whether they are shown or not.
"""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.widgets import Input, Label

from cxrlab.lab import Lab
from cxrlab.tui.answers import BACKENDS, ON_OOM, SWITCH, Manner
from cxrlab.tui.widgets.choice import Choice
from cxrlab.tui.words import tr

ROOMY = 34
"""Lines of a screen on which nothing has to be folded away."""


class More(Vertical):
    """Two fields a line; the same in every form that launches."""

    def __init__(self, lab: Lab, *, of_one: bool) -> None:
        """Offer, where the form is `of_one` cell, its encoder and to run it again as well."""
        super().__init__(id="more")
        self._usual = Manner.of(lab)
        self._of_one = of_one

    def compose(self) -> ComposeResult:
        usual = self._usual
        with Horizontal(classes="field"):
            yield Label(tr("priority"))
            yield Input("", id="priority", placeholder=tr("0; higher ones first"))
            yield Label(tr("on OOM"))
            yield Choice(ON_OOM, chosen=usual.on_oom, id="on_oom", label=tr)
        with Horizontal(classes="field"):
            yield Label(tr("memory"))
            yield Input("", id="memory", placeholder=tr("GiB each; as learnt"))
            yield Label(tr("share"))
            yield Choice(SWITCH, chosen=usual.share, id="share", label=switch)
        with Horizontal(classes="field"):
            yield Label(tr("backend"))
            yield Choice(BACKENDS, chosen=usual.backend, id="backend", label=tr)
            yield Label(tr("nodes"))
            yield Input("", id="nodes", placeholder=tr("1; more of a cluster"))
        if self._of_one:
            with Horizontal(classes="field"):
                yield Label(tr("encoder"))
                yield Input("", id="encoder", placeholder=tr("auto, a run or a file"))
                yield Label(tr("again"))
                yield Choice(SWITCH, chosen="off", id="again", label=switch)

    def on_mount(self) -> None:
        for field in self.query(Input):
            field.cursor_blink = field.select_on_focus = False
        self.display = self.app.size.height >= ROOMY

    @property
    def manner(self) -> Manner:
        """What stands in the fields."""
        typed = {f"{field.id}": field.value for field in self.query(Input)}
        chosen = {f"{field.id}": field.value for field in self.query(Choice)}
        return Manner(**typed, **chosen)

    def turn(self) -> None:
        """Show the fields, or fold them away."""
        self.display = not self.display
        if not self.display and self.screen.focused in set(self.query("*")):
            self.screen.focus_next()

    def said(self) -> str:
        """Return what is not as usual, for when the fields are folded away."""
        manner = self.manner
        labels = {
            "priority": tr("priority"),
            "on_oom": tr("on OOM"),
            "memory": tr("memory"),
            "share": tr("share"),
            "backend": tr("backend"),
            "nodes": tr("nodes"),
            "encoder": tr("encoder"),
            "again": tr("again"),
        }
        changed = [
            f"{labels[name]} {switch(value)}"
            for name, value in manner._asdict().items()
            if value != getattr(self._usual, name)
        ]
        return tr(", ").join(changed)


def switch(word: str) -> str:
    """Return a word of a choice; `on` is not the one that says where a run is."""
    return tr(word, "switch")
