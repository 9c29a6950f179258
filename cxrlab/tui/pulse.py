"""Who keeps the screen up to date? Two threads that ask, and one message for each answer.

They are daemons of their own and not Textual workers: a file system or a driver that hangs must
neither stop the keys nor keep the program from ending.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from textual.message import Message

from cxrlab import ownership
from cxrlab.errors import CxrlabError
from cxrlab.gpus import Reading, read_gpus
from cxrlab.lab import Lab, find_lab
from cxrlab.tui.messages import (
    Beat,
    GpusRead,
    RegistryChanged,
    RunsEnded,
    SettingsChanged,
    Trouble,
)
from store import claims, runs
from store.db import Database, StoreError, data_version, open_store

Post = Callable[[Message], object]


@dataclass(frozen=True)
class Rhythm:
    """How often the threads ask (s). A registry of 0 is only read and never brought up to date."""

    refresh_s: float = 0.5
    look_s: float = 0.5
    gpus_s: float = 2.0
    agent_s: float = 10.0


class Pulse(threading.Thread):
    """Brings the registry up to date, and says when it has changed."""

    def __init__(self, lab: Lab, post: Post, *, rhythm: Rhythm, ended: threading.Event) -> None:
        super().__init__(name="pulse", daemon=True)
        self._lab = lab
        self._post = post
        self._rhythm = rhythm
        self._ended = ended
        self._next_agent = 0.0
        self._running: set[str] = set()
        self._settings_at = settings_at(lab)

    def run(self) -> None:
        """Ask until the program ends; a failure is told and asked again."""
        while not self._ended.is_set():
            try:
                self._read_settings()
                self._ask()
            except (StoreError, CxrlabError, OSError) as error:
                unread = isinstance(error, StoreError)
                self._post(Trouble(str(error), getattr(error, "hint", ""), unread=unread))
                self._ended.wait(2.0)

    def _ask(self) -> None:
        if said := ownership.told(self._lab):
            self._post(Trouble(said))
            self._look_on()
            return
        # two connections: `data_version` tells a connection of everyone's writes but its own
        writer, watcher = open_store(self._lab.registry), open_store(self._lab.registry)
        seen = None
        try:
            while not self._ended.is_set():
                self._read_settings()
                self._bring_up_to_date(writer)
                version = data_version(watcher)
                self._post(Beat(self._under_way(watcher) if version != seen else None))
                if version != seen:
                    self._post(RegistryChanged())
                    self._tell_ended(watcher)
                seen = version
                self._ended.wait(self._rhythm.refresh_s or self._rhythm.look_s)
        finally:
            writer.close()
            watcher.close()

    def _look_on(self) -> None:
        """Watch a lab of somebody else: opened anew whenever its files have changed, and left."""
        seen: list[tuple[int, int]] = []
        log = self._lab.registry.with_name(f"{self._lab.registry.name}-wal")
        while not self._ended.is_set():
            found = [path.stat() for path in (self._lab.registry, log) if path.exists()]
            now = [(status.st_mtime_ns, status.st_size) for status in found]
            if now == seen:
                self._post(Beat(None))
            else:
                db = ownership.open_registry(self._lab)
                try:
                    self._post(Beat(self._under_way(db)))
                finally:
                    db.close()
                self._post(RegistryChanged())
            seen = now
            self._ended.wait(self._rhythm.look_s)

    def _tell_ended(self, db: Database) -> None:
        """Post which runs have ended that were running at the last look."""
        running = {run.id for run in runs.select(db, states=("running",))}
        ended = [run for id in sorted(self._running - running) if (run := _ended_run(db, id))]
        self._running = running
        if ended:
            self._post(RunsEnded(ended))

    def _read_settings(self) -> None:
        at = settings_at(self._lab)
        if at != self._settings_at:
            self._settings_at = at  # before reading: a faulty file is told once
            self._lab = find_lab(self._lab.root)
            self._post(SettingsChanged(self._lab))

    def _bring_up_to_date(self, db: Database) -> None:
        if not self._rhythm.refresh_s:
            return
        from cxrlab.agent import carry_on
        from cxrlab.refresh import refresh

        if time.monotonic() < self._next_agent:
            refresh(self._lab, db)
        else:  # also starts an agent where runs wait and none lives
            carry_on(self._lab, db)
            self._next_agent = time.monotonic() + self._rhythm.agent_s

    def _under_way(self, db: Database) -> dict[str, int]:
        return {s: runs.count(db, states=(s,)) for s in ("running", "queued", "blocked")}


def settings_at(lab: Lab) -> tuple[int, int]:
    """Return what changes whenever `cxrlab.toml` does; zeros where it is not there."""
    try:
        found = lab.settings_file.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _ended_run(db: Database, id: str) -> runs.Run | None:
    """Return a run that has ended; None for one that waits again, or was removed."""
    try:
        run = runs.get(db, id)
    except runs.NoSuchRun:
        return None
    return run if run.state in runs.ENDED else None


class GpuWatch(threading.Thread):
    """Asks the driver, and the registry for who holds what."""

    def __init__(
        self,
        lab: Lab,
        post: Post,
        *,
        rhythm: Rhythm,
        ended: threading.Event,
        probe: Callable[[], Reading] = read_gpus,
    ) -> None:
        super().__init__(name="gpus", daemon=True)
        self._lab = lab
        self._post = post
        self._rhythm = rhythm
        self._ended = ended
        self._probe = probe

    def run(self) -> None:
        """Ask until the program ends."""
        from cxrlab.gpus import watch as gpu_watch

        while not self._ended.is_set():
            reading, held = self._probe(), []
            try:
                held = self._held()
            except (StoreError, CxrlabError) as error:
                reading = reading._replace(error=reading.error or str(error))
            cards = gpu_watch.glance(self._lab, reading, [claim for claim, _ in held]).cards
            slots = self._lab.settings.launch.cpu_slots
            self._post(GpusRead(reading, slots, _holders(held), self._ours(reading), cards))
            self._ended.wait(self._rhythm.gpus_s)

    def use(self, lab: Lab) -> None:
        """Go by the settings of `lab` from now on."""
        self._lab = lab

    def _ours(self, reading: Reading) -> dict[int, str]:
        found = {}
        for process in (p for gpu in reading.gpus for p in gpu.processes):
            folder = Path(process.folder)
            if folder.parent == self._lab.runs_dir:
                found[process.pid] = folder.name
        return found

    def _held(self) -> list[tuple[claims.Claim, str]]:
        """Return every claim, with what holds it in words, its run's id first."""
        db = ownership.open_registry(self._lab)
        try:
            return [(c, f"{c.run} {runs.get(db, c.run).method}") for c in claims.every(db)]
        finally:
            db.close()


def _holders(held: Sequence[tuple[claims.Claim, str]]) -> dict[str, str]:
    found: dict[str, list[str]] = {}
    for claim, named in held:
        found.setdefault(claim.device, []).append(named)
    return {device: ", ".join(names) for device, names in found.items()}
