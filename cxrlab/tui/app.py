"""Which screens are there, and how do they come to know of change? `run_tui` opens the dashboard.

Handlers own widgets, threads own connections, and nothing crosses between them but messages.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import events, on
from textual.binding import Binding
from textual.command import CommandPalette
from textual.screen import Screen
from textual.widgets import Input

from cxrlab import bell, text
from cxrlab.gpus import Reading, read_gpus
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import (
    errands,
    loading,
    messages,
    remembered,
    terminal,
    themes,
    tidying,
    words,
)
from cxrlab.tui.doing import Doing
from cxrlab.tui.history import History
from cxrlab.tui.pulse import GpuWatch, Pulse, Rhythm
from cxrlab.tui.styles import Styles
from cxrlab.tui.widgets.bar import PLACES, TopBar
from cxrlab.tui.widgets.strip import GpuStrip
from cxrlab.tui.words import tr

if TYPE_CHECKING:
    from cxrlab.tui.screens.doctor import Look

STILL_S = 10.0
"""After so long without a beat the disk is said not to answer."""

AGAIN = "again"
"""What the dashboard returns where it is to be opened anew."""

LEAVE_S = 3.0
"""How long quitting waits for a read that hangs in the file system."""

BEGIN_S = 1.0
"""After how long at most the threads begin; at once when the home screen has been drawn."""

log = logging.getLogger(__name__)


class CxrlabApp(Doing):
    """The dashboard of one lab."""

    TITLE = "cxrlab"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (120, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall")]
    COMMANDS = {loading.commands, loading.named_runs}
    BINDINGS = [
        Binding("1", "place('grid')", "Grid", show=False, tooltip="The comparison grid."),
        Binding("2", "place('runs')", "Runs", show=False, tooltip="Every run."),
        Binding("3", "place('queue')", "Queue", show=False, tooltip="What waits for what."),
        Binding("4", "place('gpus')", "GPUs", show=False, tooltip="What each GPU does."),
        Binding("5", "place('notes')", "Notes", show=False, tooltip="Todos, ideas, notes."),
        Binding("6", "place('doctor')", "Doctor", show=False, tooltip="What is missing."),
        Binding(
            "a",
            "note",
            "Note",
            show=False,
            tooltip="Write something down about what is here.",
        ),
        Binding(
            "t",
            "turn_theme",
            "Theme",
            show=False,
            tooltip="Dark, light, high contrast, colour-blind safe.",
        ),
        Binding("f2", "turn_language", "Language", show=False, tooltip="English or Chinese."),
        Binding(
            "ctrl+p",
            "command_palette",
            "Commands",
            show=False,
            priority=True,
            tooltip="Every command by name.",
        ),
        Binding(
            "colon", "command_palette", "Commands", show=False, tooltip="Every command by name."
        ),
        Binding("question_mark", "keys", "Help", tooltip="Every key of this screen."),
        Binding("q", "quit", "Quit", tooltip="Leave; what runs goes on running."),
    ]

    def __init__(
        self,
        lab: Lab,
        *,
        clock: Callable[[], float] = time.time,
        rhythm: Rhythm | None = None,
        probe: Callable[[], Reading] = read_gpus,
        look: Look | None = None,
        command: errands.Command = errands.command,
        place: str = "grid",
    ) -> None:
        super().__init__(lab, clock=clock, command=command)
        self.place = place
        """Where it is opened, and where it shall be once it has been opened anew."""
        themes.register(self, remembered.recall(lab, "theme", themes.DARK.name))
        self.stylesheet = Styles(self.get_css_variables())
        self.language = remembered.recall(lab, "language", lab.settings.language)
        words.speak(self.language)
        self._look = look
        self.leaving: Callable[[], object] = lambda: None
        self._ended = threading.Event()
        self._last_beat = self._last_gpus = self._last_key = time.monotonic()
        self._under_way: dict[str, int] = {}
        self._gpus: messages.GpusRead | None = None
        self._history = History()
        self._trouble = ""
        self._unread = False
        self._begun = False
        self._new_lab: Lab | None = None
        self.to_terminal: Callable[[str], object] = self._write_to_terminal
        set_up = {"lab": lab, "post": self.post_message, "rhythm": rhythm or Rhythm()}
        self._threads = (
            Pulse(**set_up, ended=self._ended),  # type: ignore[arg-type]
            GpuWatch(**set_up, ended=self._ended, probe=probe),  # type: ignore[arg-type]
        )

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Give the states their colours in themes that do not know them."""
        return themes.DARK.variables

    def on_mount(self) -> None:
        for name in PLACES:
            self.add_mode(name, self._screen_of(name))
        self.switch_mode(self.place)
        self.set_interval(0.25, self._tick)
        self.set_timer(BEGIN_S, self._start_up)

    @on(messages.Drawn)
    def _start_up(self) -> None:
        """Start what the first look at the home screen does not wait for."""
        if not self._begun:
            self._begun = True
            for thread in self._threads:
                thread.start()
            loading.rest()

    async def _tick(self) -> None:
        self.show_status()
        await self._use_new_settings()
        if self._begun:
            tidying.tidy(time.monotonic() - self._last_key)

    def on_unmount(self) -> None:
        self._ended.set()

    def _screen_of(self, place: str) -> Callable[[], Screen[Any]]:
        def made() -> Screen[Any]:
            more = {"look": self._look} if place == "doctor" and self._look else {}
            return loading.screen(place)(self.lab, clock=self.clock, **more)

        return made

    @on(messages.SettingsChanged)
    def _settings_changed(self, message: messages.SettingsChanged) -> None:
        if message.lab.settings != (self._new_lab or self.lab).settings:
            self._new_lab = message.lab

    async def _use_new_settings(self) -> None:
        """Build every screen anew with the settings as they are now; the place stays the same."""
        lab, here = self._new_lab, self.current_mode
        if lab is None or self.screen.is_modal:  # a form or a question is not taken away
            return
        self._new_lab, self.lab = None, lab
        self._threads[1].use(lab)
        self.add_mode("between", Screen)
        await self.switch_mode("between")
        for name in PLACES:
            await self.remove_mode(name)
            self.add_mode(name, self._screen_of(name))
        await self.switch_mode(here)
        await self.remove_mode("between")
        self._say(tr("cxrlab.toml has changed and was read again"), severity="information")

    # -- what the threads say

    @on(messages.Beat)
    def _beat(self, message: messages.Beat) -> None:
        self._last_beat = time.monotonic()
        if message.under_way is not None:
            self._under_way = message.under_way
            self._trouble = ""
            self._unread = False
            self.show_status()

    @on(messages.RegistryChanged)
    def _changed(self) -> None:
        if top := self._top():
            top.post_message(messages.RegistryChanged())

    @on(messages.RunsEnded)
    def _runs_ended(self, message: messages.RunsEnded) -> None:
        """Ring, and name in the title what has ended, unless it is what one looks at."""
        top = self._top()
        seen = getattr(top, "run_id", "") if self.app_focus else ""
        new = [run for run in message.runs if run.id != seen]
        if new and self.lab.settings.notify.bell:
            from cxrlab.tui import telling

            told = ", ".join(f"{tr(run.state)}: {telling.name(run)}" for run in new)
            self.to_terminal(bell.RING + bell.titled(told))

    def on_app_focus(self) -> None:
        if self.lab.settings.notify.bell:
            self.to_terminal(bell.titled(f"cxrlab: {self.lab.root.name}"))

    async def on_event(self, event: events.Event) -> None:
        """Make what is pasted harmless before a field takes it in and draws it as it is."""
        if isinstance(event, events.InputEvent):
            self._last_key = time.monotonic()
        if isinstance(event, events.Paste):
            event.text = "\n".join(map(harmless, event.text.splitlines()))
        await super().on_event(event)

    def on_key(self, event: events.Key) -> None:
        """Hand on what was typed ahead to the field that has the focus by now.

        Keys that come together, as over a slow line, all go to what had the focus when the first
        of them came. What a field is given itself never comes here.
        """
        field = self.focused
        if isinstance(field, Input) and event.is_printable:
            event.prevent_default().stop()
            field.post_message(events.Key(event.key, event.character))

    def _write_to_terminal(self, text: str) -> None:
        if self._driver is not None and not self.is_headless:
            self._driver.write(text)

    @on(messages.GpusRead)
    def _gpus_read(self, message: messages.GpusRead) -> None:
        self._last_gpus = time.monotonic()
        self._gpus = message
        self._history.add(message.reading)
        self.show_status()

    @on(messages.Trouble)
    def _told(self, message: messages.Trouble) -> None:
        self._unread = self._unread or message.unread
        if message.text != self._trouble:
            self._trouble = message.text
            log.warning("%s", harmless(message.text))
            self._say(message.text, message.hint)

    def _top(self) -> Screen[Any] | None:
        """Return the screen on top that is not a question, a form or the help.

        None while the dashboard closes, or has not yet begun: threads go on telling of changes.
        """
        stack = self.screen_stack
        return next(
            (screen for screen in reversed(stack) if not screen.is_modal),
            stack[-1] if stack else None,
        )

    def show_status(self) -> None:
        """Bring the first and the last line of the screen up to date."""
        screen = self._top()
        if screen is None:
            return
        signs = {s: f"{text.STATES[s].symbol} {n:,}" for s, n in self._under_way.items() if n}
        counts = [f"{sign} {tr(state)}" for state, sign in signs.items()]
        short = "  ".join(signs.values())
        still = time.monotonic() - self._last_beat
        silent = f"! {tr('disk silent for {time}').format(time=text.duration(still))}"
        warning = silent if still > STILL_S else ""
        if self._unread:
            warning = f"! {tr('registry not readable')}"
        if bar := screen.query_one_optional(TopBar):
            bar.say("  ".join(counts) or tr("nothing under way"), short=short, warning=warning)
        quiet_s = time.monotonic() - self._last_gpus
        if strip := screen.query_one_optional(GpuStrip):
            strip.show(self._gpus, quiet_s=quiet_s)
        if self.current_mode == "gpus" and screen is self.screen_stack[0]:
            screen.show(self._gpus, self._history, quiet_s=quiet_s)  # type: ignore[attr-defined]

    # -- what screens ask for

    def _push(self, form: Screen[Any]) -> None:
        """Show a form, unless one of its kind is there: a key may be pressed twice."""
        if not isinstance(self.screen, type(form)):
            self.push_screen(form)

    @on(messages.OpenRun)
    def _open_run(self, message: messages.OpenRun) -> None:
        from cxrlab.tui.screens.run import RunScreen

        self.push_screen(RunScreen(self.lab, message.run_id, clock=self.clock))

    @on(messages.OpenRuns)
    async def _open_runs(self, message: messages.OpenRuns) -> None:
        from cxrlab.tui.screens.runs import RunsScreen

        await self.switch_mode("runs")
        while len(self.screen_stack) > 1:
            await self.pop_screen()
        if isinstance(self.screen, RunsScreen):
            self.screen.narrow(message.typed)

    @on(messages.OpenCell)
    def _open_cell(self, message: messages.OpenCell) -> None:
        from cxrlab.tui.screens.cell import CellScreen

        self.push_screen(CellScreen(self.lab, message.cell, clock=self.clock))

    @on(messages.OpenLaunch)
    def _open_launch(self, message: messages.OpenLaunch) -> None:
        from cxrlab.tui.screens.launch import Launch

        self._push(Launch(self.lab, message.method, message.task, ratio=message.ratio))

    @on(messages.OpenFill)
    def _open_fill(self, message: messages.OpenFill) -> None:
        from cxrlab.tui.screens.fill import Fill

        self._push(Fill(self.lab, method=message.method, task=message.task, ratio=message.ratio))

    @on(messages.OpenExport)
    def _open_export(self) -> None:
        from cxrlab.tui.screens.export import Export

        self._push(Export(self.lab))

    @on(messages.OpenPage)
    def _open_page(self, message: messages.OpenPage) -> None:
        from cxrlab.tui.screens.page import Page

        self.push_screen(Page(message.title, message.work))

    # -- keys

    async def action_place(self, place: str) -> None:
        """Go to a place: to where one was in it, and from there to its beginning."""
        if place != self.current_mode:
            await self.switch_mode(place)
        elif not self.screen.is_modal:
            while len(self.screen_stack) > 1:
                await self.pop_screen()

    def action_note(self, kind: str = "note") -> None:
        about = getattr(self._top(), "subject", "")
        self.post_message(messages.OpenNoteForm(None, kind, about))

    def action_keys(self) -> None:
        from cxrlab.tui.screens.help import Help, keys_of

        screen = self.screen
        if not isinstance(screen, Help):
            self.push_screen(Help(screen.title or "", keys_of(screen)))

    def action_command_palette(self) -> None:
        if not CommandPalette.is_open(self):  # type: ignore[arg-type]
            hint = tr("Search for commands…")
            self.push_screen(CommandPalette(id="--command-palette", placeholder=hint))

    def action_turn_language(self) -> None:
        """Begin anew in the other language: what has been drawn is full of words of this one."""
        remembered.remember(self.lab, "language", words.other(self.language))
        self.place = self.current_mode
        self.exit(AGAIN)

    def action_turn_theme(self) -> None:
        self.action_theme(themes.after(self.theme))

    def action_theme(self, name: str) -> None:
        self.theme = name
        remembered.remember_soon(self.lab, "theme", name)

    async def action_quit(self) -> None:
        self.leaving()
        self.exit()


def run_tui(lab: Lab) -> None:
    """Open the dashboard of `lab`; returns when the person quits. Runs go on."""
    tidying.begin()
    with terminal.guarded(remembered.file_of(lab).parent / "terminals"):
        app = CxrlabApp(lab)
        while _run(app) == AGAIN:
            app = CxrlabApp(lab, place=app.place)


def _run(app: CxrlabApp) -> str | None:
    # a read that hangs in the kernel would keep the interpreter for ever; nothing is unsaved
    timer = threading.Timer(LEAVE_S, os._exit, [0])
    timer.daemon = True
    app.leaving = timer.start
    with bell.title_kept(sys.stdout, wanted=app.lab.settings.notify.bell):
        answer = app.run()
    timer.cancel()
    return answer
