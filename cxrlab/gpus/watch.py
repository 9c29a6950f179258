"""How does the agent keep an eye on the GPUs without ever waiting for a driver?

A thread reads when asked, and the newest answer counts. A reading that fails or never comes is a
state, `unknown since`, and ends when the next one succeeds. What only time shows is written down
for `cxrlab gpus`, which looks once.
"""

from __future__ import annotations

import contextlib
import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cxrlab import marks
from cxrlab.gpus import Reading, read_gpus, whose
from cxrlab.lab import Lab
from store.claims import Claim

logger = logging.getLogger("cxrlab.agent")

WANTED_S = 1.0
"""How often to read while runs wait for a GPU."""

HELD_S = 10.0
"""How often to read while runs only hold some."""

FRESH_S = 3.0
"""No run is put on a GPU by an answer that came longer ago than this."""

HUNG_S = 15.0
"""After so long without an answer the GPUs are unknown; the probe itself gives up before."""

WAIT_S = 0.1
"""How long a pass waits for an answer it has just asked for."""

NOTE_S = 5.0
"""How often what was seen is written down, at least."""


class Seen(NamedTuple):
    """What an agent wrote down of what it saw."""

    at: float
    history: whose.History
    unknown_since: float | None


class Watch:
    """The newest reading and what earlier ones showed."""

    def __init__(self, probe: Callable[[], Reading] = read_gpus, *, wait_s: float = WAIT_S) -> None:
        self.wait_s = wait_s
        self.unknown_since: float | None = None
        self.history = whose.History()
        self._probe = probe
        self._ask, self._answered = threading.Event(), threading.Event()
        self._answered.set()
        self._asked_at = 0.0
        self._reading: Reading | None = None
        self._came_at = 0.0
        self._followed: Reading | None = None
        self._thread: threading.Thread | None = None
        self._noted: tuple[float, str] = (0.0, "")
        self._told: set[str] = set()

    @property
    def reading(self) -> Reading | None:
        """The newest reading; None before the first."""
        return self._reading

    def look(self, lab: Lab, claims: Sequence[Claim], *, wanted: bool) -> whose.Sight:
        """Return what is known of the GPUs, and have them read again when that is due.

        Args:
            lab: whose runs hold some.
            claims: every claim of it.
            wanted: whether runs wait for a GPU.
        """
        now = time.time()
        self.history = whose.held(self.history, claims, now)
        if not wanted and not any(whose.is_gpu(claim.device) for claim in claims):
            return whose.Sight("unread")
        reading = self.latest(WANTED_S if wanted else HELD_S)
        if reading is None:
            return whose.Sight("unread")
        if not reading.known:
            if self.unknown_since is None:
                self.unknown_since = reading.at
                logger.warning("the GPUs are not known: %s", reading.error)
            self._note(lab)
            return whose.Sight("unknown", (), reading.error, self.unknown_since)
        self.unknown_since = None
        settings, runs_dir = lab.settings.gpus, str(lab.runs_dir)
        if reading is not self._followed:
            self.history = whose.follow(self.history, reading, runs_dir=runs_dir, settings=settings)
            self._followed = reading
        self._note(lab)
        may_use = lab.settings.launch.may_use
        cards = whose.cards(
            reading,
            claims,
            self.history,
            runs_dir=runs_dir,
            settings=settings,
            usable={gpu.uuid for gpu in reading.gpus if may_use(gpu.index, gpu.uuid)},
            marked=marks.users(gpu.uuid for gpu in reading.gpus),
            now=now,
        )
        self._tell(cards)
        fresh = time.monotonic() - self._came_at <= FRESH_S
        return whose.Sight("known" if fresh else "stale", cards, reading.error)

    def latest(self, every_s: float) -> Reading | None:
        """Return the newest reading, and ask for another where it came `every_s` ago or before."""
        now = time.monotonic()
        if self._answered.is_set() and (self._reading is None or now - self._came_at >= every_s):
            self._answered.clear()
            self._asked_at = now
            if self._thread is None:
                self._thread = threading.Thread(target=self._read, name="gpus", daemon=True)
                self._thread.start()
            self._ask.set()
        if not self._answered.wait(self.wait_s) and time.monotonic() - self._asked_at > HUNG_S:
            asked = time.time() - (time.monotonic() - self._asked_at)
            return Reading((), "the driver does not answer", asked, known=False)
        return self._reading

    def _read(self) -> None:
        while True:
            self._ask.wait()
            self._ask.clear()
            try:
                reading = self._probe()
            except Exception as error:  # whatever a source of readings does, the agent goes on
                words = f"{type(error).__name__}: {error}"
                reading = Reading((), words, time.time(), known=False)
            self._reading, self._came_at = reading, time.monotonic()
            self._answered.set()

    def _tell(self, cards: Sequence[whose.Card]) -> None:
        """Say once what befalls a GPU while runs hold it: it vanishes, or others come."""
        words = set()
        for card in cards:
            runs = ", ".join(claim.run for claim in card.claims)
            if card.word == "gone":
                words.add(f"{card.uuid}, on which {runs} runs, is gone; the run is left alone")
            elif card.claims and card.others and card.gpu is not None:
                names = ", ".join(user.name or "somebody" for user in card.others)
                words.add(f"GPU {card.gpu.index}, on which {runs} runs, is used by {names} too")
        for word in sorted(words - self._told):
            logger.warning("%s", word)
        self._told = words

    def _note(self, lab: Lab) -> None:
        """Write down what only time shows, when it has changed, and now and then."""
        known = {"alone_since": dict(self.history.alone_since), "unknown_since": self.unknown_since}
        words, now = json.dumps(known), time.time()
        if words == self._noted[1] and now - self._noted[0] < NOTE_S:
            return
        self._noted = (now, words)
        held = {"held_at": dict(self.history.held_at), "reading_at": self.history.at, "at": now}
        new = lab.gpus_seen.with_suffix(".new")
        with contextlib.suppress(OSError):  # a full disk; nothing rests on it
            new.write_text(json.dumps({**known, **held}), encoding="utf-8")
            new.replace(lab.gpus_seen)


def seen(lab: Lab, now: float) -> Seen | None:
    """Return what a living agent saw of late; None where none has looked."""
    try:
        note = json.loads(lab.gpus_seen.read_text(encoding="utf-8"))
        history = whose.History(
            float(note["reading_at"]), dict(note["alone_since"]), dict(note["held_at"])
        )
        found = Seen(float(note["at"]), history, note["unknown_since"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if now - found.at <= whose.GAP_S else None


def glance(lab: Lab, reading: Reading, claims: Sequence[Claim]) -> whose.Sight:
    """Return what one reading shows, with what the agent has seen over time where it looks.

    Without an agent that looks, a GPU that nobody uses is free; a run would watch it first.
    """
    now = time.time()
    found = seen(lab, now)
    if not reading.known:
        since = found.unknown_since if found else None
        return whose.Sight("unknown", (), reading.error, reading.at if since is None else since)
    free = dict.fromkeys((gpu.uuid for gpu in reading.gpus), 0.0)
    may_use = lab.settings.launch.may_use
    cards = whose.cards(
        reading,
        claims,
        found.history if found else whose.History(reading.at, free),
        runs_dir=str(lab.runs_dir),
        settings=lab.settings.gpus,
        usable={gpu.uuid for gpu in reading.gpus if may_use(gpu.index, gpu.uuid)},
        marked=marks.users(gpu.uuid for gpu in reading.gpus),
        now=now,
    )
    return whose.Sight("known", cards, reading.error)
