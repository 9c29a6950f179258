"""What is done when a screen asks for it: in the registry, to runs, with commands beside it?

It is done on a thread of its own, after a yes where it destroys, and told in a notification. What
only some handlers need they load themselves: the home screen does not wait for it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual import on
from textual.app import App

from cxrlab.errors import CxrlabError
from cxrlab.harmless import harmless
from cxrlab.lab import Lab
from cxrlab.tui import errands, messages, reading, sentences, words
from cxrlab.tui.words import tr
from store.db import Database, StoreError

if TYPE_CHECKING:
    from cxrlab.tui.screens.note import Written
    from store.notes import Entry
    from store.runs import Run

LONGEST_TOLD = 400
"""Characters of one line of a notification."""


class Doing(App[str]):
    """The part of the dashboard that carries out what screens ask for."""

    def __init__(
        self, lab: Lab, *, clock: Callable[[], float], command: errands.Command = errands.command
    ) -> None:
        super().__init__()
        self.lab = lab
        self.clock = clock
        self._errand: errands.Running | None = None
        self._command = command

    @on(messages.OpenCopy)
    def _ask_what_to_copy(self, message: messages.OpenCopy) -> None:
        from cxrlab.tui.screens.choose import Choose

        self.push_screen(Choose(message.title, message.options), self._copy)

    def _copy(self, chosen: str | None) -> None:
        if chosen is not None:
            self.copy_to_clipboard(chosen)
            self._say(f"{tr('copied')}: {chosen}", severity="information")

    @on(messages.StopRun)
    def _ask_to_stop(self, message: messages.StopRun) -> None:
        from cxrlab.tui import telling
        from cxrlab.tui.screens.question import Question

        run = message.run
        if run.state not in ("running", "queued", "blocked"):
            said = tr("{run} is {state}: there is nothing to stop")
            self._say(said.format(run=run.id, state=tr(run.state)), severity="warning")
            return
        running = (
            tr("It finishes its step and writes a checkpoint; `r` lets it go on later.")
            if run.state == "running"
            else tr("It has not started; `r` queues it again.")
        )
        what = words.joined([telling.name(run), tr(run.state)])
        self.push_screen(
            Question(tr("Stop {what}?").format(what=run.id), f"{what}\n{running}"),
            lambda yes: self._stop(run) if yes else None,
        )

    def _stop(self, run: Run) -> None:
        from cxrlab.queueing import steering

        stopped = tr("{run} has been stopped").format(run=run.id)
        told = stopped if run.state != "running" else ""
        self._say(tr("{run} is asked to stop").format(run=run.id), severity="information")
        self._act(lambda db: steering.stop(self.lab, db, run), told)

    @on(messages.ResumeRun)
    def _resume_run(self, message: messages.ResumeRun) -> None:
        run = message.run
        if run.state not in ("stopped", "lost"):
            said = tr("{run} is {state}; stopped and lost runs can be resumed")
            self._say(said.format(run=run.id, state=tr(run.state)), severity="warning")
            return
        self._resume(run)

    def _resume(self, run: Run) -> None:
        from cxrlab import agent
        from cxrlab.queueing import steering

        def again(db: Database) -> None:
            steering.resume(self.lab, db, run)
            agent.ensure_agent(self.lab)

        self._act(again, tr("{run} is queued to go on").format(run=run.id))

    @on(messages.ActOnRuns)
    def _act_on_runs(self, message: messages.ActOnRuns) -> None:
        from cxrlab.tui import acting

        act = acting.ACTS[message.verb]
        self._act(lambda db: acting.carry_out(self.lab, db, act, message.runs), "")

    @on(messages.OpenNoteForm)
    def _open_note_form(self, message: messages.OpenNoteForm) -> None:
        from cxrlab.tui.screens.note import NoteForm, Written

        entry = message.entry
        if entry is None:
            form = NoteForm(self.lab, tr("Write down"), Written(message.kind, "", message.about))
        else:
            title = tr("Edit {entry}").format(entry=f"{tr(entry.kind)} {entry.id}")
            before = Written(entry.kind, entry.text, entry.about)
            form = NoteForm(self.lab, title, before, fixed=True)
        self.push_screen(form, lambda answer: self._write_note(entry, answer))

    def _write_note(self, entry: Entry | None, answer: Written | None) -> None:
        from cxrlab.tui import lists

        if answer is None:
            return
        kind, written, about = answer
        if entry is None:
            self._act(lambda db: lists.add_note(db, kind, written, about, at=self.clock()), "")
        else:
            self._act(lambda db: lists.rewrite_note(db, entry, written, about), "")

    @on(messages.AskToDrop)
    def _ask_to_drop(self, message: messages.AskToDrop) -> None:
        from cxrlab.tui import lists
        from cxrlab.tui.screens.question import Question

        entry = message.entry
        lines = "\n".join(harmless(line, 200) for line in entry.text.splitlines()[:6])
        title = tr("Drop {entry} for good?").format(entry=f"{tr(entry.kind)} {entry.id}")
        self.push_screen(
            Question(title, lines),
            lambda yes: self._act(lambda db: lists.drop_note(db, entry), "") if yes else None,
        )

    @on(messages.Begin)
    def _ask_to_begin(self, message: messages.Begin) -> None:
        from cxrlab.tui.screens.errand import ErrandScreen
        from cxrlab.tui.screens.question import Question

        errand = message.errand
        if self._errand is not None and self._errand.code is None:
            self.push_screen(ErrandScreen(self._errand))  # one at a time
            return
        asks = "\n".join(harmless(line) for line in errand.asks.splitlines())
        self.push_screen(
            Question(f"{errand.title}?", asks), lambda yes: self._begin(errand) if yes else None
        )

    def _begin(self, errand: errands.Errand) -> None:
        threading.Thread(target=self._start, args=(errand,), daemon=True).start()

    def _start(self, errand: errands.Errand) -> None:
        try:
            running = errands.start(
                self.lab, errand, ended=self.post_message, command=self._command
            )
        except OSError as error:
            self.post_message(messages.Trouble(str(error)))
        else:
            self.post_message(errands.ErrandBegan(running))

    @on(errands.ErrandBegan)
    def _follow(self, message: errands.ErrandBegan) -> None:
        from cxrlab.tui.screens.errand import ErrandScreen

        self._errand = message.running
        self.push_screen(ErrandScreen(message.running))

    @on(errands.ErrandEnded)
    def _errand_ended(self, message: errands.ErrandEnded) -> None:
        from cxrlab.tui.screens.errand import ErrandScreen

        running, errand = self._errand, message.errand
        if isinstance(self.screen, ErrandScreen) or (running is not None and running.stopped):
            return
        if message.code:
            said = tr("{what}: failed; its words are in {file}")
            file = errands.FOLDER / f"{errand.name}.txt"
            self._say(said.format(what=errand.title, file=file))
        else:
            self._say(f"{errand.title}: {tr('done')}", severity="information")

    @on(messages.Change)
    def _change(self, message: messages.Change) -> None:
        self._act(message.action, message.told)

    def _act(self, action: Callable[[Database], object], told: str) -> None:
        """Carry out `action` on a thread of its own; tell what it returns in words, or `told`."""
        # a daemon: stopping waits for the trainer, and leaving the dashboard does not
        threading.Thread(target=self._work_on, args=(action, told), daemon=True).start()

    def _work_on(self, action: Callable[[Database], object], told: str) -> None:
        try:
            with reading.registry(self.lab) as db:
                answer = action(db)
        except (StoreError, CxrlabError, OSError) as error:
            self.post_message(messages.Trouble(str(error), getattr(error, "hint", "")))
        else:
            self.post_message(messages.Told(answer if isinstance(answer, str) else told))

    @on(messages.Told)
    def _done(self, message: messages.Told) -> None:
        if message.text:
            self._say(message.text, severity="information")

    @on(messages.Launched)
    def _launched(self, message: messages.Launched) -> None:
        lines = []
        for one in message.launched:
            ratio = "" if one.ratio is None else f" {one.ratio} %"
            what = tr(one.state)
            if not one.new:
                what = words.joined([what, sentences.said(one.why)])
            seed = tr("seed {n}").format(n=one.seed)
            lines.append(f"{one.id} {one.method} {one.task}{ratio} {seed}: {what}")
        self._say("\n".join(lines[:10]), severity="information")

    def _say(self, what: str, hint: str = "", *, severity: Any = "error") -> None:
        said = [sentences.said(line) for line in (*what.splitlines(), hint) if line]
        lines = [harmless(line, LONGEST_TOLD) for line in said]  # a longer one covers the screen
        self.notify("\n".join(lines), severity=severity, markup=False, timeout=6)
