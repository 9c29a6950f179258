"""Whatever people type and programs write is shown as text: nothing acts, nothing stands askew."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual import events
from textual.command import CommandPalette
from textual.widgets import Input

from cxrlab.checkup import Finding
from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.harmless import harmless
from cxrlab.lab import Lab, find_lab, make_lab
from cxrlab.tui import errands, remembered
from cxrlab.tui.messages import (
    Begin,
    OpenExport,
    OpenFill,
    OpenLaunch,
    OpenNoteForm,
    OpenRun,
    Trouble,
)
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.choose import Choose
from cxrlab.tui.screens.columns import Columns
from cxrlab.tui.screens.errand import ErrandScreen
from cxrlab.tui.screens.export import Export
from cxrlab.tui.screens.help import Help
from cxrlab.tui.screens.note import NoteForm, Words
from cxrlab.tui.screens.page import Page
from cxrlab.tui.screens.pick import Pick
from cxrlab.tui.screens.prompt import Prompt
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.samples import Samples
from cxrlab.tui.words import tr
from store import notes, runs, tags
from store.db import open_store
from store.notes import NewEntry

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

NASTY = (
    "[red]bad[/red]",
    "[/]",
    "[@click=app.quit]quit[/]",
    "\x1b[2J\x1b[31mred\x1b[0m",
    "\x1b]0;owned\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x1b]52;c;b3duZWQ=\x07",
    "\x1bP+q544e\x1b\\",
    "\x9b2J\x9d0;owned\x9c",
    "\x1b",
    "\u202egnp.exe\u202c \u2066a\u2069\u2067b\u2068",
    "Z" + "\u0301\u0489" * 40,
    "a\u200db\u200bc\u2060d\ufeffe 一\u200d二",
    "👩\u200d🔬 ❤\ufe0f\u200d",
    "\x00\t\r\x7f\x0b\x85\u2028",
    "影像学" * 20,
)
WORDS = " ".join(NASTY)
LONG = f"{WORDS} {'x' * 10_000}"
HALF = "\udcff\ud800"
"""What a file name that is no text becomes in Python."""

ACTING = {chr(code) for code in (*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000))}
ACTING |= set(
    "\u200b\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

FINDINGS = (Finding("[red]" + WORDS + HALF, "missing", LONG + HALF, WORDS),)


def gpus() -> Reading:
    strangers = (GpuProcess(77, "[red]" + WORDS + HALF, 30_000),)
    gpu = Gpu(0, "GPU-[red]" + WORDS, WORDS, 40_960, 81_920, 87, 60, 350, strangers)
    return Reading((gpu,), LONG + HALF, 1_770_000_000.0)


WALK: tuple[tuple[Any, ...], ...] = (
    ("right right y", Choose, "50.0"),
    ("escape", "grid"),
    ("e", Export),
    ("escape", "grid"),
    ("enter", CellScreen, "naseee"),
    ("v", Page, "[red]bad[/red]"),
    ("escape", CellScreen),
    ("escape 2", "runs", "nasaaa", "[red]"),
    ("plus", Prompt),
    ("escape", "runs"),
    ("s", Question),
    ("escape", "runs"),
    ("B", "runs", "▾"),
    ("C", Columns),
    ("end", Columns),
    ("escape", "runs"),
    ("3", "queue", "nasccc", "[red]"),
    ("4", "gpus", "[red]bad[/red]"),
    ("5", "notes", "[red]bad[/red]"),
    ("d", Question, "[red]bad[/red]"),
    ("escape e", NoteForm, "[red]bad[/red]"),
    ("escape 6", "doctor", "[red]bad[/red]"),
    ("question_mark", Help),
    ("escape", "doctor"),
)
"""Which keys lead to which screen, and what has to be read there."""


@pytest.fixture
def hostile_lab(tmp_path: Path, add_run: Wait) -> Lab:
    """A lab in which everything that people and programs write holds all of it."""
    name = WORDS.replace("/", "\u2215").replace("\x00", "").encode()[:200].decode(errors="ignore")
    lab = make_lab(tmp_path / name)
    lab.settings_file.write_text(
        '[grid]\nmethods = ["random", "mrm"]\ncolumns = ["siim", "shenzhen"]\n'
    )
    lab = find_lab(lab.root)
    given: dict[str, Any] = {"preset": WORDS, "ratio": 10, "reason": LONG}
    add_run(lab, "nasaaa", "random", "siim", state="running", events=begun(), **given)
    add_run(lab, "nasbbb", "random", "siim", state="failed", seed=1, events=begun(), **given)
    add_run(lab, "nasccc", "random", "siim", state="queued", seed=2, **given)
    add_run(lab, "naseee", "random", "siim", state="succeeded", events=[*begun(), *end()],
            **given)  # fmt: skip
    add_run(lab, "nasddd", "[red]" + WORDS.replace("/", "\u2215").replace("\x00", "")[:60], "siim",
            state="queued", seed=3, **given)  # fmt: skip
    folder = next(lab.runs_dir.glob("nasaaa-*"))
    settings = {"lr": 3e-4, "note": WORDS, WORDS: LONG, "nested": {WORDS: [WORDS]}}
    (folder / "config.json").write_text(json.dumps(settings))
    log = "\n".join((*NASTY, LONG)).encode() + b"\n\xff\xfe\x9b2J\n[red]last"
    (folder / "log.txt").write_bytes(log)
    failed = next(lab.runs_dir.glob("nasbbb-*"))
    (failed / "log.txt").write_bytes(b"ValueError: [red]bad[/red] \x1b[2J" + b"\xcc\x81" * 999)
    (failed / "config.json").write_text("[" * 100_000)  # deeper than Python reads
    db = open_store(lab.registry)
    tags.change(db, ["nasaaa", "nasbbb"], add=[WORDS.replace("\x00", "")])
    for kind, state in (("todo", "open"), ("note", "")):
        notes.add(db, NewEntry(kind, f"{LONG}\n{WORDS}", state, WORDS, WORDS, WORDS, 3, WORDS))
    db.close()
    return lab


def begun() -> list[dict[str, Any]]:
    at = 1_770_000_000.0 - 90
    values = {"train/loss": 0.5, WORDS: 0.25}
    files = {"path": f"checkpoints/{WORDS}", "caption": WORDS, "sha256": WORDS, "kind_of": "best"}
    return [
        {"t": at, "kind": "start", "step": 0, "attempt": 1, "pid": 1, "host": WORDS,
         "total_steps": 9},
        *({"t": at + n, "kind": "metrics", "step": n, "epoch": 1, "values": values}
          for n in range(1, 5)),
        {"t": at + 5, "kind": "sample", **files},
        {"t": at + 5, "kind": "checkpoint", "step": 4, **files},
        {"t": at + 6, "kind": "warning", "message": LONG, "path": WORDS},
    ]  # fmt: skip


def end() -> list[dict[str, Any]]:
    """Return the last events of a run that tells oddly of its data and files."""
    made = {"version": WORDS, "fingerprint": WORDS, "split_sha256": {"train": WORDS, WORDS: LONG}}
    encoder = {"run": WORDS, "path": f"/elsewhere/{WORDS}", "sha256": WORDS}
    at = 1_770_000_000.0 - 80
    values = {"test/Dice": 0.5, "val/Dice": 0.5, f"test/{WORDS}": 1e308, f"val/{WORDS}": -1}
    return [
        {"t": at, "kind": WORDS, "message": LONG},
        {"t": 10**30, "kind": "progress", "done": 10**30, "total": 1},
        {"t": at, "kind": "result", "values": values, "bounds": {"test/Dice": [-1e308, 1e308]},
         "selected_by": WORDS, "predictions": WORDS, "data": made, "encoder": encoder},
        {"t": at, "kind": "end", "outcome": "succeeded", "reason": WORDS},
    ]  # fmt: skip


def check(app: Any) -> None:
    """Hold every line of the screen to its width, and to text that does nothing."""
    assert app.is_running
    assert (app._exception, app._exit) == (None, False)
    strips = app.screen._compositor.render_strips()
    for strip in strips:
        assert not ACTING & set(strip.text), ascii(strip.text)
        assert strip.cell_length == app.size.width
        for segment in strip:
            assert segment.style is None or segment.style.link is None
            assert "app.quit" not in str(segment.style and segment.style.meta)
    left, right, rows = 0, app.size.width, range(len(strips))
    for box in app.screen.query(".box"):  # behind its edges Textual cuts emoji in two
        left, right, rows = box.region.x, box.region.right, range(box.region.y, box.region.bottom)
    for row in rows:
        text = strips[row].crop(left, right).text
        assert cell_len(text) == right - left, ascii(text)


SAYS_MUCH = f"print('x' * 10_000, {NASTY!r}, *{NASTY!r}, {LONG!r}, sep='\\n'); print('[red]end')"
"""What a command beside the dashboard writes."""


@pytest.mark.slow
@pytest.mark.parametrize(("size", "language"), [((200, 60), "en"), ((80, 24), "zh")])
async def test_nothing_acts_and_nothing_stands_askew_on_any_screen(
    hostile_lab: Lab, make_app: Wait, until: Wait, shown: Shown, size: tuple[int, int],
    language: str,
) -> None:  # fmt: skip
    remembered.remember(hostile_lab, "language", language)
    app = make_app(
        hostile_lab,
        probe=gpus,
        look=lambda lab: iter(FINDINGS),
        command=lambda lab, errand: [sys.executable, "-c", SAYS_MUCH],
    )

    async with app.run_test(size=size, notifications=True) as pilot:

        async def at(screen: Any, *said: str) -> None:
            def there() -> bool:
                here = isinstance(screen, str) and app.screen.title == screen
                here = here or (not isinstance(screen, str) and isinstance(app.screen, screen))
                return here and all(word in shown(app) for word in said)

            await until(pilot, there)
            check(app)

        await at("grid", "nasaaa", "[red]bad")
        app.post_message(Begin(errands.make_data(hostile_lab)))
        await at(Question)
        await pilot.press("y")
        await at(ErrandScreen, f"✓ {tr('done')}", "[red]end")
        await pilot.press("escape")
        await at("grid")
        for keys, screen, *said in WALK:
            await pilot.press(*keys.split())
            await at(screen, *said)
        app.post_message(OpenRun("nasaaa"))
        await at(RunScreen, "[red]last", tr("running"))
        for page in ("c", "v"):
            await pilot.press(page)
            await at(RunScreen, "[red]bad[/red]")
            await pilot.press(page)
        for key, screen in (("D", Pick), ("O", Pick), ("i", Samples)):
            await pilot.press(key)
            await at(screen, "nas")
            await pilot.press("escape")
            await at(RunScreen)
        await pilot.press("m", "f", "k", "g")
        await at(RunScreen)
        app.post_message(OpenRun("nasbbb"))
        await at(RunScreen, tr("failed"), "ValueError: [red]bad[/red] ␛[2J")
        await pilot.press("c")
        await at(RunScreen, tr("no config.json yet"))
        app.post_message(OpenRun("naseee"))
        await at(RunScreen, tr("succeeded"))
        await pilot.press("v")
        await at(RunScreen, "[red]bad[/red]")
        app.post_message(Trouble(LONG + HALF, WORDS))
        await at(RunScreen, "characters")
        await pilot.press("ctrl+p", *"nasddd")
        await at(CommandPalette, "nasddd", "[red]")


PASTED = (
    f"{' '.join(word for word in NASTY if word.splitlines() == [word])}{HALF}' \" = , - ~/$HOME",
    "9" * 5000,
    f"{'影' * 500}{'x' * 9_000}\x00\t\r\x7f\x0b\x85\u2028\nanother line",
)
"""A field takes the first line of each. There are more digits than Python makes a number of."""

TYPED = ("[", "r", "]", "Z", *["\u0301"] * 6, "影", "'", "=")

FIELDS: tuple[tuple[Any, str, type[Any]], ...] = (
    (OpenLaunch("mrm", "siim", 10), "f4", Input),
    (OpenFill("mrm", "siim", 10), "", Input),
    (OpenNoteForm(None, "note"), "", Input),
    (OpenNoteForm(None, "note"), "", Words),
    (OpenExport(), "", Input),
    (None, "2 plus", Input),
    (None, "2 slash", Input),
    (OpenRun("nasaaa"), "slash", Input),
)
"""What opens a form or a field to type in, the keys that show the fields, and their kind."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("language", "fields"), [("en", FIELDS), ("zh", FIELDS[:1])], ids=["en", "zh"]
)
async def test_what_is_typed_and_pasted_into_any_field_is_text(
    hostile_lab: Lab, make_app: Wait, until: Wait, shown: Shown, language: str, fields: Any
) -> None:
    remembered.remember(hostile_lab, "language", language)
    app = make_app(hostile_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "nasaaa" in shown(app))
        for opening, keys, kind in fields:
            if opening is not None:
                app.post_message(opening)
                await until(pilot, lambda: len(app.screen_stack) > 1)
            await pilot.press(*keys.split())
            await until(pilot, lambda kind=kind: len(shown_of(app, kind)) > 0)
            first, *others = shown_of(app, kind)
            await fill(pilot, until, first, typed=TYPED, pasted=PASTED)
            for field in others:
                await fill(pilot, until, field, typed=(), pasted=PASTED[:2])
            await pilot.press("enter")
            await at_rest(pilot, until)
            check(app)
            while len(app.screen_stack) > 1:
                await app.pop_screen()
            await pilot.press("1")
    db = open_store(hostile_lab.registry)
    assert runs.count(db) == 5
    db.close()


def shown_of(app: Any, kind: type[Any]) -> list[Any]:
    """Return the fields that can be typed into."""
    return [field for field in app.screen.query(kind) if field.focusable]


async def fill(
    pilot: Any, until: Wait, field: Any, *, typed: Sequence[str], pasted: Sequence[str]
) -> None:
    """Type and paste into a field, and look at the screen each time."""
    field.focus()
    await until(pilot, lambda: field.has_focus)
    await pilot.press(*typed)
    await until(pilot, lambda: value_of(field).endswith("".join(typed[-3:])))
    await at_rest(pilot, until)
    check(pilot.app)
    for text in pasted:
        field.clear()
        pilot.app.post_message(events.Paste(text))
        first = harmless(text.splitlines()[0])
        await until(pilot, lambda first=first: value_of(field).startswith(first))
        await at_rest(pilot, until)
        check(pilot.app)


def value_of(field: Any) -> str:
    return str(field.value if isinstance(field, Input) else field.text)


async def at_rest(pilot: Any, until: Wait) -> None:
    """Wait until no screen reads or works out anything, and what came of it has been drawn."""
    await until(pilot, lambda: all(worker.is_finished for worker in pilot.app.workers))
    await pilot.pause()
