"""What has a run drawn? Its sample pictures, one at a time."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Container, Vertical
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from cxrlab import restricted
from cxrlab.harmless import harmless
from cxrlab.tui import sentences, telling
from cxrlab.tui.asking import Asking
from cxrlab.tui.reading_run import RunView
from cxrlab.tui.widgets import picture
from cxrlab.tui.words import joined, tr
from store.artifacts import Artifact

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from textual_image.widget._base import Image as Drawn


class Samples(ModalScreen[None]):
    """Shows the pictures in the order they were drawn in, the newest first to be seen."""

    BINDINGS = [
        Binding("left,h", "turn(-1)", "Before", tooltip="The picture before."),
        Binding("right,l,space", "turn(1)", "Next", tooltip="The next picture."),
        Binding("home", "turn(-100000)", "First", show=False, tooltip="The first picture."),
        Binding("end", "turn(100000)", "Last", show=False, tooltip="The newest picture."),
        Binding("escape,i,q,backspace", "back", "Back", tooltip="Back to the run."),
    ]

    @dataclass
    class Loaded(Message, bubble=False):
        """A picture was read, or why it could not be."""

        number: int
        found: Picture | None = None
        drawer: type[Drawn] | None = None
        why: str = ""

    def __init__(self, view: RunView) -> None:
        super().__init__()
        self._run = view.run
        self._restricted = view.restricted
        saved: Sequence[Artifact] = [] if view.restricted else view.saved
        self._samples = [each for each in reversed(saved) if each.kind == "sample"]
        self._at = len(self._samples) - 1
        self._picture: Picture | None = None
        self._drawn: Drawn | None = None
        self._asking = Asking(self, self._load)

    @property
    def drawn(self) -> int | None:
        """The number, from 0, of the picture that is drawn; None where none is."""
        return None if self._drawn is None or not self._drawn.display else self._at

    def compose(self) -> ComposeResult:
        with Vertical(classes="box wide") as box:
            box.border_title = Text(tr("samples of {run}").format(run=self._run.id))
            yield Static(id="picture-title")
            with Container(id="picture-room"):
                yield Static(id="picture-said")
            yield Static(Text(tr("← →  another picture     Esc  back")), classes="keys")

    def on_mount(self) -> None:
        if self._samples:
            self.show()
        elif self._restricted:
            self.say(sentences.said(restricted.told(self._restricted)))
        else:
            self.say(tr("this run has drawn no picture"))

    def on_resize(self) -> None:
        self.call_after_refresh(self.fit)

    def show(self) -> None:
        """Name the picture, and have it read."""
        sample = self._samples[self._at]
        parts = [f"{self._at + 1}/{len(self._samples)}", harmless(sample.path.name)]
        parts += [telling.at_step(sample.step), harmless(sample.caption)]
        title = Text(joined([*filter(None, parts)]), no_wrap=True, overflow="ellipsis")
        self.query_one("#picture-title", Static).update(title)
        self.say(tr("reading …"))
        self._asking.ask(self._at)

    def say(self, what: str) -> None:
        """Show words in place of a picture."""
        if self._drawn is not None:
            self._drawn.display = False
        said = self.query_one("#picture-said", Static)
        said.display = True
        said.update(Text(harmless(what), "dim"))

    def _load(self, number: int) -> Loaded:
        try:
            found = picture.load(Path(self._run.folder), self._samples[number].path)
            return self.Loaded(number, found, picture.drawer(picture.way(os.environ)))
        except (OSError, ValueError, ImportError) as error:
            return self.Loaded(number, why=str(error))

    @on(Loaded)
    async def take(self, message: Loaded) -> None:
        if message.number != self._at:
            return
        if message.found is None or message.drawer is None:
            self.say(f"{tr('this picture cannot be shown')}: {message.why}")
            return
        self._picture = message.found
        if self._drawn is None:
            self._drawn = message.drawer(id="picture")
            await self.query_one("#picture-room").mount(self._drawn)
        self.query_one("#picture-said").display = False
        self._drawn.display = True
        self._drawn.image = message.found
        self.fit()

    def fit(self) -> None:
        """Draw the picture as large as there is room, in its own proportions."""
        room = self.query_one("#picture-room").size
        if self._drawn is not None and self._picture is not None and room.width and room.height:
            size = picture.fitted(self._picture.size, picture.Cells(room.width, room.height))
            self._drawn.styles.width, self._drawn.styles.height = size

    def action_turn(self, step: int) -> None:
        at = max(0, min(len(self._samples) - 1, self._at + step))
        if self._samples and at != self._at:
            self._at = at
            self.show()

    def action_back(self) -> None:
        self.dismiss()
