"""Labs to be looked at alone, a dashboard in which nothing moves by itself, and its pictures.

A picture is the screen as text: its lines, and below them a letter for the style of each cell.
Unlike a drawing it is read in a diff, and it holds all that a terminal is told.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from PIL import Image
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import App

from cxrlab import agent, gpus
from cxrlab.lab import Lab, find_lab, make_lab
from cxrlab.tui import app as tui_app
from cxrlab.tui import remembered
from cxrlab.tui.pulse import Rhythm
from cxrlab.tui.screens import launch as launch_screen
from cxrlab.tui.screens import page as page_screen
from cxrlab.tui.words import tr
from store import claims, intake, notebook, notes, queue, runs
from store.db import open_store
from store.notes import NewEntry

Wait = Callable[..., Any]

ACCEPTED = Path(__file__).parent / "accepted"
"""Where the pictures lie that the screens are compared with."""

ONCE = Rhythm(refresh_s=0, look_s=3600, gpus_s=3600)
"""Looks at the registry and the GPUs when it opens, and never again."""

LATE_S = 10.0
"""How long a screen at rest may differ from its picture: what is drawn late is waited for."""

LIMIT_S = 300.0
"""How long a screen has to come to rest; a test that fails says so soon."""

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


class Look(NamedTuple):
    """How the dashboard is looked at."""

    size: tuple[int, int]
    language: str


LOOKS = {
    "80x24": Look((80, 24), "en"),
    "200x60": Look((200, 60), "en"),
    "chinese": Look((80, 24), "zh"),
}


# -- labs; none of the tests changes them


@pytest.fixture(scope="session")
def new_lab(by_hand: SimpleNamespace) -> Iterator[Callable[[], Lab]]:
    """Make a lab whose path has always the same length, for screens show it."""
    folders = []

    def make() -> Lab:
        folder = Path(tempfile.mkdtemp(prefix="lab-", dir="/tmp"))
        folders.append(folder)
        lab = make_lab(folder / "lab")
        lab.settings_file.write_text(by_hand.SETTINGS)
        return find_lab(lab.root)

    yield make
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def lab_of_none(new_lab: Wait) -> Lab:
    """A lab in which nothing has run."""
    return new_lab()


@pytest.fixture(scope="session")
def lab_to_begin(new_lab: Wait) -> Lab:
    """A lab of one method and one task whose data are there, and in which nothing has run."""
    return narrowed(new_lab())


@pytest.fixture(scope="session")
def lab_of_one(new_lab: Wait, by_hand: SimpleNamespace) -> Lab:
    """The same, with one run that waits and one note."""
    lab = narrowed(new_lab())
    run = by_hand.new_run(lab, "onlyaa", "random", "shenzhen_lungs", ratio=100)
    by_hand.add(lab, run, state="queued", at=by_hand.NOW - 100)
    with contextlib.closing(open_store(lab.registry)) as db:
        notes.add(db, NewEntry("todo", "lr was too high", "open", "2026-01-03 10:00"))
    return lab


def narrowed(lab: Lab) -> Lab:
    settings = lab.settings_file.read_text().replace("gpus = 0\n", "").partition("[grid]")[0]
    lab.settings_file.write_text(
        f'{settings}[grid]\nmethods = ["random"]\ncolumns = ["shenzhen_lungs"]\n'
        '[data.shenzhen]\nroot = "/"\n'
    )
    return find_lab(lab.root)


@pytest.fixture(scope="session")
def lab_of_many(new_lab: Wait, by_hand: SimpleNamespace) -> Lab:
    """A lab that has many of everything, in every state; two of its runs have drawn pictures."""
    lab, now = by_hand.fill(new_lab()), by_hand.NOW
    for seed, id in enumerate(("queuea", "queueb", "queuec")):
        run = by_hand.new_run(lab, id, "random", "siim", ratio=10, seed=seed)
        by_hand.add(lab, run, state="queued", at=now - 100, reason="waits for its turn")
    draw(by_hand, lab, "siimaa", "first", "broken", "newest")
    draw(by_hand, lab, "rndaaa", "alone")
    with contextlib.closing(open_store(lab.registry)) as db:
        queue.hold(db, ["queueb"], at=now - 90)
        queue.put_first(db, ["queuec"])
        claims.claim(db, "deepaa", ["GPU-0", "GPU-1"])
        for entry in ENTRIES:
            notes.add(db, entry)
    settings = lab.settings_file.read_text().replace("gpus = 0\n", "")
    data = (f'[data.{name}]\nroot = "/"\n' for name in ("mimic_cxr", "siim"))
    lab.settings_file.write_text("".join([settings, "\n", *data]))
    return find_lab(lab.root)


ENTRIES = (
    NewEntry("fact", "MIMIC-CXR 2.0 has 377,110 images", "", "2023-03-08 16:11",
             section="data", source="notebook.md", line=4),
    NewEntry("reference", "https://arxiv.org/abs/2301.13155", "endorsed", "2023-03-09"),
    NewEntry("note", "the loss rose after step 300:\nlr was too high", "", "2026-01-03 10:00",
             about="deepaa"),
    NewEntry("note", "[red]not red[/] \x1b[2J \u202eabc שלום", "warning", "2026-01-06 09:30"),
    NewEntry("idea", "mask by attention instead of at random", "open", "2026-01-02 10:00"),
    NewEntry("todo", "read the paper again", "done", "2026-01-05 10:00"),
    NewEntry("todo", "预训练数据集：下载并检查\n第二行", "open", "2026-01-04 10:00"),
)  # fmt: skip
"""Of every kind and state, with markup, an escape sequence, RTL and Chinese."""


def draw(by_hand: SimpleNamespace, lab: Lab, id: str, *names: str) -> None:
    """Let a run have drawn pictures; one that is called `broken` is none."""
    folder = next(lab.runs_dir.glob(f"{id}-*"))
    (folder / "samples").mkdir()
    for name in names:
        file = folder / f"samples/{name}.png"
        if name == "broken":
            file.write_text("no picture")
        else:
            Image.new("RGB", (64, 32), (250, 10, 10)).save(file, compress_level=0)
    told = [
        by_hand.event("sample", step + 1, path=f"samples/{name}.png",
                      caption=f"lungs of {name}", step=step)
        for step, name in enumerate(names)
    ]  # fmt: skip
    by_hand.write_events(folder, told)
    with contextlib.closing(open_store(lab.registry)) as db:
        intake.take_in(db, id, folder)


@pytest.fixture(scope="session")
def lab_of_a_step(new_lab: Wait, by_hand: SimpleNamespace) -> Lab:
    """A lab with one run that has come as far as its first step."""
    lab, now = new_lab(), by_hand.NOW
    events = [
        by_hand.event("start", now - 50, step=0, attempt=1, total_steps=600),
        by_hand.event("metrics", now - 40, step=1, values={"train/loss": 1.9}),
    ]
    run = by_hand.new_run(lab, "onestp", "random", "siim", ratio=10)
    by_hand.add(lab, run, state="running", at=now - 100, events=events)
    return lab


@pytest.fixture(scope="session")
def lab_of_trouble(new_lab: Wait, by_hand: SimpleNamespace) -> Lab:
    """A lab with stale and foreign numbers, a folder that is gone and a log that is none."""
    lab = by_hand.fill(new_lab())
    flaws = ("`70.09` has no unit",)
    number = notebook.Number(
        "deep_mrm", "shenzhen", 100, "AUROC", "own", 0.7009, "70.09", "n.md", 7, flaws
    )
    with contextlib.closing(open_store(lab.registry)) as db:
        notebook.bring_in(db, "n.md", [], [number])
        runs.change_state(db, "mrmaaa", "failed", at=by_hand.NOW)
        notes.add(db, NewEntry("todo", "read the paper again", "open", "2026-01-05 10:00"))
    shutil.rmtree(next(lab.runs_dir.glob("shlaaa-*")))
    (next(lab.runs_dir.glob("rndbbb-*")) / "log.txt").mkdir()
    (lab.root / "there.md").touch()
    with lab.settings_file.open("a") as file:
        file.write('\n[data.shenzhen]\nroot = "/nowhere"\nrestricted = true\n')
    return find_lab(lab.root)


# -- a dashboard in which nothing moves by itself


class Stage:
    """An open dashboard, and what is compared on it."""

    def __init__(
        self,
        app: Any,
        pilot: Any,
        until: Wait,
        *,
        look: str,
        accept: bool,
        threads: set[threading.Thread],
    ) -> None:
        """Look at `app`; `threads` are those that were there before it."""
        self.app, self.pilot = app, pilot
        self.hangs = False
        """Whether a thread of a screen is not to be waited for."""
        self.wrong: list[str] = []
        self._until, self._look, self._accept, self._threads = until, look, accept, threads

    async def at_rest(self, *, for_s: float = 0.0) -> None:
        """Wait until no message is unread, nothing is read on a thread, and nothing drawn anew."""
        deadline, before, since = time.monotonic() + LIMIT_S, None, 0.0
        while True:
            await self.pilot.pause(0)
            now = drawn(self.app) if self._idle() else None
            if now is None or now != before:
                before, since = now, time.monotonic()
            elif time.monotonic() - since >= for_s:
                return
            await self.pilot.pause(0.01)
            assert time.monotonic() < deadline, "this screen never rests"

    def _idle(self) -> bool:
        screen = self.app.screen
        if any(each.message_queue_size or each._next_callbacks for each in self.app._registry):
            return False
        if screen._dirty_widgets or screen._layout_required or screen._callbacks:
            return False
        return self.hangs or not (
            any(not worker.is_finished for worker in self.app.workers)
            or any(working(thread) for thread in {*threading.enumerate()} - self._threads)
        )

    async def press(self, keys: str) -> None:
        """Press keys with blanks between them; what stands behind a `'` is pasted."""
        for key in keys.split():
            if key.startswith("'"):
                self.app.focused.post_message(events.Paste(key[1:]))
            else:
                await self.pilot.press(key)
            await self.at_rest()

    async def open(self, message: Any) -> None:
        """Ask for another screen, and wait until it is there."""
        before = self.app.screen
        self.app.post_message(message)
        await self._until(self.pilot, lambda: self.app.screen is not before, limit_s=LIMIT_S)
        await self.at_rest()

    def _shows(self, screen: type, words: Sequence[str]) -> bool:
        lines = "\n".join("".join(text for text, *_ in line) for line in drawn(self.app))
        return type(self.app.screen) is screen and all(tr(word) in lines for word in words)

    async def look(
        self, name: str, keys: str = "", *words: str, of: type, opening: Any = None
    ) -> None:
        """Come to a screen, and compare it with its picture; the words tell that one is there."""
        if words and (keys or opening):
            assert not self._shows(of, words), f"{words} stand there before {name} too"
        if opening is not None:
            await self.open(opening)
        await self.press(keys)
        await self._until(self.pilot, lambda: self._shows(of, words), limit_s=LIMIT_S)
        await self._compare(f"{name}-{self._look}")
        if self.app._notifications:
            self.app.clear_notifications()
            await self.at_rest()

    async def _compare(self, name: str) -> None:
        file, root = ACCEPTED / f"{name}.txt", str(self.app.lab.root.parent)
        before = file.read_text(encoding="utf-8") if file.exists() else ""
        deadline = time.monotonic() + LATE_S
        while True:
            await self.at_rest(for_s=1.0 if self._accept else 0.0)
            now = picture(self.app).replace(root, ROOT)
            if now == before or self._accept or time.monotonic() > deadline:
                break
            await self.pilot.pause(0.1)
        if folder := os.environ.get(DRAWN):
            Path(folder, f"{name}.svg").write_text(self.app.export_screenshot(), encoding="utf-8")
        if now == before:
            return
        if self._accept:
            ACCEPTED.mkdir(exist_ok=True)
            file.write_text(now, encoding="utf-8")
            return
        lines = difflib.unified_diff(before.split("\n"), now.split("\n"), str(file), "now", n=1)
        self.wrong.append("\n".join(line.rstrip("\n") for line in list(lines)[:40]))


ROOT = "/tmp/lab-00000000"
"""What the folder of every lab is called in pictures; as long as its name."""

RULE = "\n────\n"

ACCEPT = "ACCEPT_PICTURES"
"""Set to anything, lets what the screens look like now be what they are compared with."""

DRAWN = "PICTURES_DRAWN"
"""Names a folder that pictures are drawn into as well, to be looked at in a browser."""


def working(thread: threading.Thread) -> bool:
    """Tell whether a thread is none of those that wait for work as long as the dashboard lives."""
    return thread.name not in ("pulse", "gpus") and not thread.name.startswith("asyncio_")


def drawn(app: Any) -> list[list[Segment]]:
    """Return what is on the screen, line by line; of two neighbours each has its own style."""
    update = app.screen._compositor.render_update(
        full=True, screen_stack=app._background_screens, simplify=True
    )
    return [[*strip] for (strip,) in update.strips]


def picture(app: Any) -> str:
    """Return what is on the screen: its lines, the style of each cell, and what styles they are."""
    lines = drawn(app)
    cells = Counter[str]()
    for segment in (segment for line in lines for segment in line):
        cells[told(segment.style)] += cell_len(segment.text)
    [(commonest, _)] = cells.most_common(1)
    letters = iter(LETTERS + "".join(map(chr, range(0xC0, 0x2000))))
    letter = {name: "." if name == commonest else next(letters) for name in cells}
    return RULE.join([
        "\n".join("".join(text for text, *_ in line).rstrip() for line in lines),
        "\n".join("".join(letter[told(style)] * cell_len(text) for text, style, _ in line)
                  for line in lines),
        "\n".join(f"{letter[name]}  {name}" for name in cells) + "\n",
    ])  # fmt: skip


@cache
def told(style: Style | None) -> str:
    """Return a style in words; to whom a click on it would go is left out."""
    if style is None:
        return "none"
    on = [name for name in ("bold", "dim", "italic", "underline", "strike", "reverse")
          if getattr(style, name)]  # fmt: skip
    front, back = (colour.name if colour else "none" for colour in (style.color, style.bgcolor))
    return " ".join([*on, front, "on", back])


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The seconds that have passed for the dashboard; they stand still."""
    stands = SimpleNamespace(at=0.0, time=time.time, monotonic=lambda: stands.at)
    monkeypatch.setattr(tui_app, "time", stands)
    monkeypatch.setattr(page_screen, "time", stands)
    return stands


@pytest.fixture
def same_everywhere(monkeypatch: pytest.MonkeyPatch, by_hand: SimpleNamespace) -> None:
    """Pretend what differs between machines: time, disk, terminal."""
    monkeypatch.setattr(time, "time", lambda: by_hand.NOW)
    space = shutil._ntuple_diskusage(1 << 40, 1 << 39, 1 << 39)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: space)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("TMUX", "STY", "ZELLIJ", "TERM_PROGRAM", "NO_COLOR", "TEXTUAL_DRIVER"):
        monkeypatch.delenv(name, raising=False)
    time.tzset()
    # words that vanish by themselves would vanish from the pictures of slow machines
    notify = App.notify
    monkeypatch.setattr(
        App, "notify", lambda self, *told, **how: notify(self, *told, **how | {"timeout": 1e6})
    )
    monkeypatch.setattr(launch_screen, "QUIET_S", 1e6)  # trainers know their versions
    monkeypatch.setattr(agent, "ensure_agent", lambda lab: None)


def no_gpu() -> gpus.Reading:
    return gpus.Reading((), "no GPU is there", 1.77e9)


@pytest.fixture(params=LOOKS)
def opened(
    request: pytest.FixtureRequest,
    make_app: Wait,
    until: Wait,
    watch: SimpleNamespace,
    same_everywhere: None,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Any]:
    """Open the dashboard of a lab, and tell at the end which pictures differ."""
    accept = bool(os.environ.get(ACCEPT))
    size, language = LOOKS[request.param]

    @asynccontextmanager
    async def open_it(lab: Lab, **given: Any) -> AsyncIterator[Stage]:
        remembered.remember(lab, "language", language)
        monkeypatch.setattr(gpus, "read_gpus", given.get("probe") or no_gpu)
        app = make_app(lab, **{"rhythm": ONCE, **given})
        app.animation_level = "none"
        threads = set(threading.enumerate())
        async with app.run_test(size=size, notifications=True) as pilot:
            stage = Stage(app, pilot, until, look=request.param, accept=accept, threads=threads)
            # both threads have told what they saw
            await until(pilot, lambda: app._gpus and (app._under_way or app._notifications))
            await stage.at_rest()
            yield stage
        assert not stage.wrong, "\n".join(stage.wrong)

    return open_it


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What a thread of the dashboard waits for, at most until the test is over."""
    opens = threading.Event()
    yield opens
    opens.set()
