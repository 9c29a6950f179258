"""What starts the runs that wait? The one background process of a lab.

    python -P -m cxrlab.agent LAB

Whoever queues a run starts an agent where none lives; a lock on `.cxrlab/agent.lock` keeps it
alone. It gives places on the CPU and GPUs to queued runs, looks after running ones, and ends when
nothing has been waiting or running for a while. Runs do not depend on it: killed at any moment, it
leaves nothing undone that the next look or the next agent does not do.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import logging
import math
import os
import select
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, NamedTuple

from cxrlab import moved, notify, ownership, pruning, refresh, runner, text
from cxrlab.errors import CxrlabError
from cxrlab.gpus.watch import Watch
from cxrlab.lab import MASKS, Lab, find_lab
from cxrlab.naming import what
from cxrlab.queueing import starting, submitting
from cxrlab.settings import Place
from cxrlab.settings_file import read_settings
from cxrlab.use_watch import UseWatch
from store import notices, results, runs
from store.db import Database, StoreError, open_store
from trainers import catalog

logger = logging.getLogger("cxrlab.agent")

PASS_S = 0.5
"""How often everything is looked at."""

NEXT = 64
"""So many of the runs that wait are looked at between two passes, when a place falls free."""

NEWS_S = 3600.0
"""Of a run that ended longer ago nobody is told."""

TOLD = ("id", "method", "task", "ratio", "seed", "state", "reason", "preset", "started", "ended")
"""What programs are told of a run."""

SEND_AGAIN_S = (2.0, 10.0)
"""How long to wait before a place that could not be reached is tried again."""

IDLE_S = 15.0

END_S = 30.0
"""How long an agent may take to end: it finishes its pass, which is long on a busy machine."""

_LOCK_TRIES_S = 1.0


class Status(NamedTuple):
    """Whether an agent lives, and since when."""

    alive: bool
    pid: int | None = None
    since: float | None = None


def ensure_agent(lab: Lab, *, idle_s: float = IDLE_S) -> Status:
    """Start an agent, detached, unless one lives; returns at once.

    Several at once may start several: all but one find the lock taken and end.

    Raises:
        NotYours: the lab is somebody else's, and so would be what an agent writes.
    """
    ownership.check(lab)
    now = status(lab)
    if now.alive:
        return now
    marks = (runner.FOLDER_MARK, runner.ATTEMPT_MARK)
    environment = {key: value for key, value in os.environ.items() if key not in marks}
    command = [sys.executable, "-P", "-m", "cxrlab.agent", str(lab.root), "--idle-s", str(idle_s)]
    with lab.agent_log.open("ab") as log:
        started = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=lab.root,
            env=environment,
            start_new_session=True,
        )
    threading.Thread(target=started.wait, daemon=True).start()  # no zombie in a long-lived TUI
    return Status(True, started.pid, time.time())


def carry_on(lab: Lab, db: Database) -> None:
    """Bring the registry up to date, and start an agent where work is left and none lives."""
    refresh.refresh(lab, db)
    if runs.count(db, states=("queued", "running")):
        ensure_agent(lab)


def status(lab: Lab) -> Status:
    """Say whether an agent lives, without disturbing it."""
    try:
        with lab.agent_lock.open(encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return _noted(file)
    except FileNotFoundError:
        pass
    return Status(False)


def end(lab: Lab, *, wait_s: float = END_S) -> bool:
    """End the living agent; runs go on. Returns whether there was one.

    It ends also an agent that was waiting for the lock and took it when the first one ended.

    Raises:
        CxrlabError: it did not end in `wait_s`.
    """
    asked: set[int] = set()
    deadline = time.monotonic() + wait_s
    while (now := status(lab)).alive:
        if now.pid is not None and now.pid not in asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(now.pid, signal.SIGTERM)
            asked.add(now.pid)
        if time.monotonic() > deadline:
            raise CxrlabError(f"the agent did not end within {wait_s:g} s", f"`kill -9 {now.pid}`")
        time.sleep(0.05)
    return bool(asked)


def _noted(file: IO[str]) -> Status:
    with contextlib.suppress(ValueError, KeyError):
        note = json.loads(file.read())
        return Status(True, int(note["pid"]), float(note["since"]))
    return Status(True)


@contextlib.contextmanager
def _alone(lab: Lab) -> Iterator[bool]:
    """Hold the lab's lock; gives False where another agent has it.

    Tries for a second, because whoever asks for the status holds the lock for a moment.
    """
    with lab.agent_lock.open("a+", encoding="utf-8") as file:
        deadline = time.monotonic() + _LOCK_TRIES_S
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    yield False
                    return
                time.sleep(0.02)
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "since": time.time()}))
        file.flush()
        yield True


class Agent:
    """The loop: look, give, sleep."""

    def __init__(self, lab: Lab, *, idle_s: float) -> None:
        self.lab = lab
        self.idle_s = idle_s
        self.asked_to_end = False
        self.children: list[starting.Started] = []
        self.complaint = ""
        self.tellers: list[threading.Thread] = []
        self.watch = Watch()
        self.use = UseWatch()
        self.keeper = pruning.Keeper()
        self.desk = submitting.Desk()

    def ask_to_end(self, number: int, frame: object) -> None:
        """End after the present pass; runs go on."""
        self.asked_to_end = True

    def work(self) -> None:
        """Work until asked to end, or until nothing has waited or run for `idle_s`."""
        last_busy = time.monotonic()
        while not self.asked_to_end and self.lab.registry.exists():
            if self.one_pass(nap_s=PASS_S):
                last_busy = time.monotonic()
            elif time.monotonic() - last_busy > self.idle_s:
                return

    def one_pass(self, *, nap_s: float = 0.0) -> bool:
        """Do once what there is to do, then sleep; returns whether anything waits or runs.

        The registry stays open meanwhile, so that a place that falls free is given without delay.
        """
        with contextlib.suppress(CxrlabError, OSError):  # half-edited: what was read last holds
            self.lab = replace(self.lab, settings=read_settings(self.lab.settings_file))
        try:
            db = open_store(self.lab.registry, make=False)
            try:
                self.look(db)
                busy = runs.count(db, states=("queued", "running")) > 0
                self.nap(db, nap_s)
            finally:
                db.conn.close()
        except (StoreError, OSError, sqlite3.Error) as error:
            if str(error) != self.complaint:  # once, not twice a second
                logger.error("%s", error)
            self.complaint = str(error)
            self.ended()  # a runner that was not waited for would end every sleep at once
            self.wait(nap_s)
            return True
        self.complaint = ""
        return busy

    def look(self, db: Database) -> None:
        """Look at everything: who has ended, what may start, whom to tell, what to clear away."""
        if said := moved.settle(self.lab, db):
            logger.info("%s", said)
        self.refill(db, self.ended())
        refresh.refresh(self.lab, db, wait_s=math.inf)
        self.give(db, limit=starting.AT_ONCE)
        starting.hand_in(self.lab, db, self.desk)
        self.tell(db)
        self.keeper.look(self.lab)
        self.use.look(self.lab, db, self.watch.reading)

    def nap(self, db: Database, limit_s: float) -> None:
        """Sleep until the next pass is due; places that fall free meanwhile are given at once."""
        due = time.monotonic() + limit_s
        while not self.asked_to_end and (left_s := due - time.monotonic()) > 0:
            self.wait(left_s)
            self.refill(db, self.ended())

    def wait(self, limit_s: float) -> None:
        """Sleep until a runner has ended, and so left its place free."""
        poll = select.poll()
        handles = []
        for child in self.children:
            with contextlib.suppress(OSError):  # it has ended, and been waited for
                handles.append(os.pidfd_open(child.runner.pid))
                poll.register(handles[-1], select.POLLIN)
        try:
            poll.poll(limit_s * 1000)
        finally:
            for handle in handles:
                os.close(handle)

    def ended(self) -> list[str]:
        """Return the runs whose runners have ended since this was asked."""
        ended = [child for child in self.children if child.runner.poll() is not None]
        self.children = [child for child in self.children if child.runner.returncode is None]
        return [child.run for child in ended]

    def refill(self, db: Database, ended: Sequence[str]) -> None:
        """Give what runs that have just ended held, before a pass looks at everything."""
        if not ended:
            return
        for id in ended:
            with contextlib.suppress(runs.NoSuchRun):  # removed meanwhile
                if (run := runs.get(db, id)).state == "running":
                    refresh.refresh_run(self.lab, db, run, wait_s=math.inf, runner_ended=True)
        runs.release_waiting(db)
        self.give(db, limit=NEXT)

    def give(self, db: Database, *, limit: int) -> None:
        """Start what there is room for; each runner is known as soon as it is there."""
        for child in starting.give(self.lab, db, self.watch, limit=limit):
            self.children.append(child)

    def tell(self, db: Database) -> None:
        """Have people told of runs that have ended, each end once; never waits for them."""
        settings = self.lab.settings.notify
        if not settings.places:
            return
        for run in notices.due(db, settings.on, since=time.time() - NEWS_S):
            if notices.take(db, run):
                facts = {key: getattr(run, key) for key in TOLD}
                name, number = self.lab.root.name, number_of(db, run)
                word = notify.word_of(facts, lab=name, what=what(run), number=number)
                for place in settings.places:
                    teller = threading.Thread(target=send, args=(place, word))
                    teller.start()
                    self.tellers.append(teller)
        self.tellers = [teller for teller in self.tellers if teller.is_alive()]


def send(place: Place, word: notify.Word) -> None:
    """Tell one place, some times over where it cannot be reached."""
    for wait_s in (*SEND_AGAIN_S, None):
        try:
            notify.tell(place, word)
            return
        except CxrlabError as error:
            logger.error("not told: %s", error)
        if wait_s is None:
            return
        time.sleep(wait_s)


def number_of(db: Database, run: runs.Run) -> str:
    """Return a run's main number in words; empty where it has none."""
    entry = catalog.TASKS.get(run.task, catalog.PRETRAIN_ENTRY)
    part = "val" if run.task == catalog.PRETRAIN else "test"
    for number in results.of_run(db, run.id):
        if number.metric == f"{part}/{entry.metric}":
            return f"{part} {entry.metric} {text.metric(number.value, entry.unit)}"
    return ""


def main(argv: Sequence[str] | None = None) -> int:
    """Be the agent of a lab, unless it has one."""
    parser = argparse.ArgumentParser(prog="python -P -m cxrlab.agent", description=__doc__)
    parser.add_argument("lab", type=Path)
    parser.add_argument(
        "--idle-s", type=float, default=IDLE_S, help="how long to stay without work"
    )
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        lab = find_lab(options.lab)
        ownership.check(lab)
    except CxrlabError as error:
        logger.error("%s", error)
        return error.code
    os.umask(MASKS[lab.settings.share])  # and that of every run it starts
    agent = Agent(lab, idle_s=options.idle_s)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, agent.ask_to_end)
    signal.signal(signal.SIGHUP, lambda number, frame: None)
    again = True
    while again:
        with _alone(lab) as alone:
            if not alone:
                return 0
            logger.info("agent %d looks after %s", os.getpid(), lab.root)
            agent.work()
            agent.use.close()
        # a run queued after the last pass and before the lock was free found an agent alive
        again = not agent.asked_to_end and lab.registry.exists() and _work_left(lab)
    logger.info("agent %d ends", os.getpid())
    return 0


def _work_left(lab: Lab) -> bool:
    db = open_store(lab.registry, make=False)
    try:
        return runs.count(db, states=("queued",)) > 0
    finally:
        db.conn.close()


if __name__ == "__main__":
    sys.exit(main())
