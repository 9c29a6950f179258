"""Whatever stands in names, logs and notes is shown as text: nothing acts, nothing stands askew."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from textual.command import CommandPalette

from cxrlab.checkup import Finding
from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.lab import Lab, find_lab, make_lab
from cxrlab.tui.messages import OpenRun, Trouble
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.help import Help
from cxrlab.tui.screens.note import NoteForm
from cxrlab.tui.screens.page import Page
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.run import RunScreen
from store import notes, tags
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
    ("right right enter", CellScreen, "nasaaa"),
    ("v", Page),
    ("escape", CellScreen),
    ("escape 2", "runs", "nasaaa", "[red]"),
    ("s", Question),
    ("escape 3", "queue", "nasccc", "[red]"),
    ("4", "gpus", "[red]bad[/red]"),
    ("5", "notes", "[red]bad[/red]"),
    ("d", Question, "[red]bad[/red]"),
    ("escape e", NoteForm, "[red]bad[/red]"),
    ("escape 6", "doctor", "[red]bad[/red]"),
    ("question_mark", Help, "Keys"),
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
    add_run(lab, "nasaaa", "random", "siim", state="running", events=events(), **given)
    add_run(lab, "nasbbb", "random", "siim", state="failed", seed=1, events=events(), **given)
    add_run(lab, "nasccc", "random", "siim", state="queued", seed=2, **given)
    add_run(lab, "nasddd", "[red]" + WORDS.replace("/", "\u2215").replace("\x00", "")[:60], "siim",
            state="queued", seed=3, **given)  # fmt: skip
    folder = next(lab.runs_dir.glob("nasaaa-*"))
    settings = {"lr": 3e-4, "note": WORDS, WORDS: LONG, "nested": {WORDS: [WORDS]}}
    (folder / "config.json").write_text(json.dumps(settings))
    log = "\n".join((*NASTY, LONG)).encode() + b"\n\xff\xfe\x9b2J\n[red]last"
    (folder / "log.txt").write_bytes(log)
    db = open_store(lab.registry)
    tags.change(db, ["nasaaa", "nasbbb"], add=[WORDS.replace("\x00", "")])
    for kind, state in (("todo", "open"), ("note", "")):
        notes.add(db, NewEntry(kind, f"{LONG}\n{WORDS}", state, WORDS, WORDS, WORDS, 3, WORDS))
    db.close()
    return lab


def events() -> list[dict[str, Any]]:
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


def check(app: Any) -> None:
    """Hold every line of the screen to its width, and to text that does nothing."""
    assert app.is_running
    assert (app._exception, app._exit) == (None, False)
    for strip in app.screen._compositor.render_strips():
        assert not ACTING & set(strip.text), ascii(strip.text)
        assert cell_len(strip.text) == strip.cell_length == app.size.width, ascii(strip.text)
        for segment in strip:
            assert segment.style is None or segment.style.link is None
            assert "app.quit" not in str(segment.style and segment.style.meta)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(80, 24), (200, 60)])
async def test_nothing_acts_and_nothing_stands_askew_on_any_screen(
    hostile_lab: Lab, make_app: Wait, until: Wait, shown: Shown, size: tuple[int, int]
) -> None:
    app = make_app(hostile_lab, probe=gpus, look=lambda lab: iter(FINDINGS))

    async with app.run_test(size=size, notifications=True) as pilot:

        async def at(screen: Any, *said: str) -> None:
            def there() -> bool:
                here = isinstance(screen, str) and app.screen.title == screen
                here = here or (not isinstance(screen, str) and isinstance(app.screen, screen))
                return here and all(word in shown(app) for word in said)

            await until(pilot, there)
            check(app)

        await at("grid", "nasaaa", "[red]bad")
        for keys, screen, *said in WALK:
            await pilot.press(*keys.split())
            await at(screen, *said)
        app.post_message(OpenRun("nasaaa"))
        await at(RunScreen, "[red]last", "running")
        for page in ("c", "v"):
            await pilot.press(page)
            await at(RunScreen, "[red]bad[/red]")
            await pilot.press(page)
        await pilot.press("m", "f", "k", "g")
        await at(RunScreen)
        app.post_message(OpenRun("nasbbb"))
        await until(pilot, lambda: "failed" in shown(app) and "[red]bad[/red]" in shown(app))
        check(app)
        app.post_message(Trouble(LONG + HALF, WORDS))
        await until(pilot, lambda: "characters" in shown(app))
        check(app)
        await pilot.press("ctrl+p", *"open nasddd")
        await at(CommandPalette, "Open nasddd", "[red]")
