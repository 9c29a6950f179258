"""How every screen looks in each of its states: a changed picture is looked at, then accepted.

A walk opens the dashboard of one lab and comes by the pictures of a screen or two: at 80x24, at
200x60, and at 80x24 in Chinese. `ACCEPT_PICTURES=1 pytest -n 0 tests/tui/pictures` accepts what the
screens look like now; with PICTURES_DRAWN=FOLDER each is drawn there as SVG too.
"""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from textual.screen import Screen

from cxrlab import agent, ownership
from cxrlab.checkup import Finding
from cxrlab.errors import Usage
from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.lab import Lab
from cxrlab.tui import errands, screens
from cxrlab.tui.messages import OpenFill, OpenLaunch, OpenPage, OpenRun
from cxrlab.tui.pulse import Rhythm
from cxrlab.tui.screens.cell import CellScreen
from cxrlab.tui.screens.choose import Choose
from cxrlab.tui.screens.columns import Columns
from cxrlab.tui.screens.doctor import DoctorScreen
from cxrlab.tui.screens.errand import ErrandScreen
from cxrlab.tui.screens.export import Export
from cxrlab.tui.screens.fill import Fill
from cxrlab.tui.screens.gpus import GpusScreen
from cxrlab.tui.screens.grid import GridScreen
from cxrlab.tui.screens.help import Help
from cxrlab.tui.screens.launch import Launch
from cxrlab.tui.screens.note import NoteForm
from cxrlab.tui.screens.notes import NotesScreen
from cxrlab.tui.screens.page import Page
from cxrlab.tui.screens.pick import Pick
from cxrlab.tui.screens.prompt import Prompt
from cxrlab.tui.screens.question import Question
from cxrlab.tui.screens.queue import QueueScreen
from cxrlab.tui.screens.run import RunScreen
from cxrlab.tui.screens.runs import RunsScreen
from cxrlab.tui.screens.samples import Samples
from store.db import open_store, writing

Wait = Callable[..., Any]

ACCEPTED = Path(__file__).parent / "accepted"
LOOKS = ("80x24", "200x60", "chinese")


class States(NamedTuple):
    """The pictures of a screen in each of its states; in brackets why it has no such state."""

    empty: str
    one: str
    many: str
    error: str


TABLE: dict[type[Screen[Any]], States] = {
    GridScreen: States(
        "grid-empty",
        "grid-one",
        "grid-many grid-marked grid-light grid-contrast grid-colour-blind",
        "grid-stale registry-torn registry-newer lab-of-another disk-silent settings-wrong",
    ),
    CellScreen: States("cell-empty", "cell-one", "cell-many", "cell-stale cell-foreign"),
    RunsScreen: States(
        "runs-empty",
        "runs-one",
        "runs-many runs-filtered runs-grouped",
        "runs-none-fits runs-wrong-filter",
    ),
    RunScreen: States(
        "run-waits run-blocked",
        "run-one",
        "run-many run-settings run-files run-overlaid",
        "run-failed run-gone log-unreadable log-not-found",
    ),
    QueueScreen: States("queue-empty", "queue-one", "queue-many", "queue-no-agent"),
    GpusScreen: States("gpus-none", "gpus-one", "gpus-many gpus-slots", "gpus-unknown gpus-hung"),
    NotesScreen: States(
        "notes-empty", "notes-one", "notes-many", "notes-none-of-a-kind notes-locked"
    ),
    DoctorScreen: States("doctor-looking", "doctor-one", "doctor-many", "doctor-error"),
    Launch: States(
        "(it has a plan or an error)",
        "launch-one",
        "launch-many launch-more launch-measured",
        "launch-seeds launch-setting launch-refused",
    ),
    Fill: States("fill-empty", "fill-one", "fill-many", "fill-seeds fill-no-data"),
    Export: States("(its fields are filled in)", "export", "(it is one form)", "export-error"),
    NoteForm: States("note-new", "note-one", "note-many", "note-without-words"),
    Page: States("page-working", "page-one", "page-many", "page-error"),
    Pick: States("pick-none", "(as with many)", "pick-many",
                 "(a registry that cannot be read is told on every screen alike)"),
    Prompt: States("prompt-empty", "(it is one line)", "(it is one line)", "prompt-error"),
    Choose: States("(there is always a choice)", "(there are several)", "choose",
                   "(nothing is read)"),
    Columns: States("(there are always some)", "(there are several)", "columns",
                    "(nothing is refused)"),
    Question: States(
        "(it asks something)",
        "question-stop question-drop question-overwrite question-begin",
        "question-remove question-stop-many",
        "(it asks before anything is done)",
    ),
    Help: States(
        "(every screen has keys)",
        "(every screen has several)",
        "help-grid help-cell help-runs help-run help-queue help-gpus help-notes help-doctor",
        "(nothing is read)",
    ),
    Samples: States("samples-none", "samples-one", "samples-many",
                    "samples-broken samples-restricted"),
    ErrandScreen: States("errand-begun", "(as with many)", "errand-many", "errand-failed"),
}  # fmt: skip
"""Not here: the command palette, which is Textual's and fills in an order of its own; its words
are tested in test_palette.py."""

NARROW_ALONE = dict.fromkeys(
    ("grid-light", "grid-contrast", "grid-colour-blind"),
    "a theme changes colours, and neither words nor places",
)
"""Why a picture is taken neither wide nor in Chinese."""

NAMES = [
    name
    for states in TABLE.values()
    for state in states
    if not state.startswith("(")
    for name in state.split()
]


def test_every_screen_has_its_pictures() -> None:
    for module in pkgutil.iter_modules(screens.__path__, f"{screens.__name__}."):
        importlib.import_module(module.name)
    found: list[type[Any]] = [Screen]
    every = set()
    while found:
        below = found.pop().__subclasses__()
        found += below
        every |= {one for one in below if one.__module__.startswith(f"{screens.__name__}.")}
    assert every == set(TABLE)
    assert all(any(not state.startswith("(") for state in states) for states in TABLE.values())


def test_every_picture_is_taken_and_no_other_is_kept() -> None:
    taken = re.findall(r'\blook\(\s*"([^"]+)"', Path(__file__).read_text(encoding="utf-8"))
    assert sorted(taken) == sorted(NAMES)
    kept = {file.name for file in ACCEPTED.iterdir()}
    assert kept == {
        f"{name}-{look}.txt"
        for name in NAMES
        for look in (LOOKS[:1] if name in NARROW_ALONE else LOOKS)
    }


# -- what machines tell


PYTHON = Finding("python", "ok", "3.11.7 at /opt/cxrlab/bin/python")


def one_gpu() -> Reading:
    ours = (GpuProcess(77, "ward", 30_720),)
    return Reading((Gpu(0, "GPU-0", "H100", 40_960, 81_920, 87, 61, 350, ours),), "", 1.77e9)


def sees_one(lab: Lab) -> Iterator[Finding]:
    yield PYTHON


def sees_and_fails(lab: Lab) -> Iterator[Finding]:
    yield PYTHON
    raise OSError("the disk does not answer")


@pytest.fixture
def an_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an agent seem to live."""
    monkeypatch.setattr(agent, "status", lambda lab: SimpleNamespace(alive=True))


# -- the grid and its cells


async def test_the_grid_and_a_cell_of_an_empty_lab(opened: Wait, lab_of_none: Lab) -> None:
    async with opened(lab_of_none) as at:
        await at.look("grid-empty", "", "nothing under way", of=GridScreen)
        await at.look("cell-empty", "down right right enter",
                      "no run of this cell yet: `l` launches one", of=CellScreen)  # fmt: skip


async def test_the_grid_and_a_cell_of_one_run(opened: Wait, lab_of_one: Lab) -> None:
    async with opened(lab_of_one, probe=one_gpu) as at:
        await at.look("grid-one", "right right", of=GridScreen)
        await at.look("cell-one", "enter", "onlyaa", of=CellScreen)


async def test_the_grid_and_a_cell_of_many(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("grid-many", "down right right", of=GridScreen)
        await at.look("help-grid", "question_mark", "Every run.", of=Help)
        await at.look("choose", "escape y", "cxrlab show mrm/siim/10/Dice", of=Choose)
        await at.look("grid-marked", "escape c", "◆ 72.2", of=GridScreen)
        await at.look("cell-many", "escape enter", "siimaa", "checkpoints/best.pt", of=CellScreen)
        await at.look("help-cell", "question_mark", of=Help)


async def test_stale_and_foreign_numbers(opened: Wait, lab_of_trouble: Lab) -> None:
    async with opened(lab_of_trouble) as at:
        await at.look("grid-stale", "down right right", of=GridScreen)
        await at.look("cell-stale", "enter", "stale", "siimaa", of=CellScreen)
        await at.look("cell-foreign", "escape down right right enter", "70.1†", of=CellScreen)


@pytest.mark.parametrize("opened", ["80x24"], indirect=True)
async def test_the_themes(opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("grid-light", "down right right t", of=GridScreen)
        await at.look("grid-contrast", "t", of=GridScreen)
        await at.look("grid-colour-blind", "t", of=GridScreen)


async def test_a_registry_of_no_use(opened: Wait, new_lab: Wait) -> None:
    lab = new_lab()
    lab.registry.write_bytes(b"this is no registry" * 100)
    async with opened(lab) as at:
        await at.look("registry-torn", "", "registry not readable", of=GridScreen)


async def test_a_registry_from_the_future(opened: Wait, new_lab: Wait) -> None:
    lab = new_lab()
    with contextlib.closing(open_store(lab.registry)) as db:
        db.conn.execute("pragma user_version = 9999")
    async with opened(lab) as at:
        await at.look("registry-newer", "", "registry not readable", of=GridScreen)


async def test_a_lab_of_somebody_else(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "owner", lambda lab: "ward")
    monkeypatch.setattr(ownership, "age", lambda lab: "2h ago")
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("lab-of-another", "", "ward", of=GridScreen)


async def test_nothing_answers(opened: Wait, lab_of_many: Lab, watch: SimpleNamespace) -> None:
    async with opened(lab_of_many, probe=one_gpu) as at:
        watch.at = 7384.0
        await at.look("disk-silent", "", "2h 03m", of=GridScreen)
        await at.look("gpus-hung", "4", of=GpusScreen)


async def test_settings_that_cannot_be_read(opened: Wait, new_lab: Wait) -> None:
    lab = new_lab()
    async with opened(lab, rhythm=Rhythm(refresh_s=0, look_s=0.1, gpus_s=3600)) as at:
        edited = lab.root / "edited.toml"
        edited.write_text("[launch]\npreset = 3\n")
        edited.replace(lab.settings_file)  # at no moment is it empty, which would be in order
        await at.look("settings-wrong", "", "launch.preset", of=GridScreen)


# -- forms over the grid


async def test_the_forms_of_an_empty_lab(opened: Wait, lab_of_none: Lab) -> None:
    async with opened(lab_of_none) as at:
        await at.look("launch-one", "", "1  random siim 10 %", "asking the trainers …",
                      of=Launch, opening=OpenLaunch("random", "siim", 10))  # fmt: skip
        await at.look("launch-more", "f4", of=Launch)
        await at.look("launch-seeds", "f4 tab tab 'x", "0x", of=Launch)
        await at.look("launch-setting", "backspace tab tab 'blr", "`blr`", of=Launch)
        await at.look("launch-many", "'=1e-4,3e-4 shift+tab shift+tab '-4", "8  random siim",
                      of=Launch)  # fmt: skip
        await at.look("launch-refused", "enter", "[data.siim]", of=Launch)
        await at.press("escape")
        await at.look("fill-no-data", "", "cannot be made here:", of=Fill, opening=OpenFill())
        await at.look("fill-seeds", "tab tab 'x", "0x", of=Fill)
        await at.press("escape")
        await at.look("export", "e", "grid.md", of=Export)
        await at.look("export-error", "tab tab ctrl+u 'gone/x.md enter", "lab/gone", of=Export)


async def test_launching_what_was_measured_before(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("launch-measured", "tab tab comma '1", of=Launch,
                      opening=OpenLaunch("mrm", "siim", 10))  # fmt: skip


async def test_filling_what_lacks_one_run(opened: Wait, lab_to_begin: Lab) -> None:
    async with opened(lab_to_begin) as at:
        await at.look("fill-one", "", "random shenzhen_lungs", of=Fill, opening=OpenFill())


async def test_filling_what_lacks_none(opened: Wait, lab_of_one: Lab) -> None:
    async with opened(lab_of_one) as at:
        await at.look("fill-empty", "", "F4 more   Tab next   ← → choose   Esc back", of=Fill,
                      opening=OpenFill())  # fmt: skip


async def test_filling_what_lacks_many(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("fill-many", "f", "  2  ", of=Fill)


async def test_overwriting(opened: Wait, lab_of_trouble: Lab) -> None:
    async with opened(lab_of_trouble) as at:
        await at.look("question-overwrite", "e tab tab ctrl+u 'there.md enter", "there.md",
                      of=Question)  # fmt: skip


# -- runs


async def test_no_runs(opened: Wait, lab_of_none: Lab) -> None:
    async with opened(lab_of_none) as at:
        await at.look("runs-empty", "2", "no run yet: `1`, then `l`", of=RunsScreen)


async def test_one_run_in_the_list(opened: Wait, lab_of_one: Lab) -> None:
    async with opened(lab_of_one) as at:
        await at.look("runs-one", "2", "onlyaa", of=RunsScreen)
        await at.look("question-stop", "s", of=Question)
        await at.look("prompt-empty", "escape plus", "-draft", of=Prompt)
        await at.look("prompt-error", "'- enter", "`v2`", of=Prompt)
        await at.look("columns", "escape C", "repeats share one", of=Columns)


async def test_many_runs(opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("runs-many", "2 down down", "mrmaaa", "▶ 1", of=RunsScreen)
        await at.look("help-runs", "question_mark", of=Help)
        await at.look("runs-grouped", "escape B z down", "▸", "▾", of=RunsScreen)
        await at.look("question-stop-many", "B B B A s", of=Question)
        await at.look("question-remove", "escape X", of=Question)
        await at.look("runs-filtered", "escape escape slash 'siim", "siimaa", of=RunsScreen)
        await at.look("runs-none-fits", "'xyz", "no run fits the filter", of=RunsScreen)
        await at.look("runs-wrong-filter", "ctrl+u 'staet:run", "`staet`", of=RunsScreen)


# -- a run


async def test_a_run_that_waits(opened: Wait, lab_of_one: Lab) -> None:
    async with opened(lab_of_one) as at:
        await at.look("run-waits", "", "no value yet", "the log is empty so far", of=RunScreen,
                      opening=OpenRun("onlyaa"))  # fmt: skip
        await at.look("pick-none", "D", "the paper's preset", of=Pick)


async def test_a_run_that_waits_for_another_and_a_slot_that_is_busy(
    opened: Wait, lab_of_trouble: Lab
) -> None:
    async with opened(lab_of_trouble) as at:
        await at.look("run-blocked", of=RunScreen, opening=OpenRun("deepbb"))
        await at.look("gpus-slots", "escape 4", "▶", of=GpusScreen)


async def test_a_run_of_one_step(opened: Wait, lab_of_a_step: Lab) -> None:
    async with opened(lab_of_a_step) as at:
        await at.look("run-one", "", "onestp", "1.9", of=RunScreen, opening=OpenRun("onestp"))


async def test_a_run_that_runs(opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("run-many", "", "train/loss", "step 30", of=RunScreen,
                      opening=OpenRun("deepaa"))  # fmt: skip
        await at.look("help-run", "question_mark", of=Help)
        await at.look("log-not-found", "escape slash 'nowhere enter", "nowhere", "/",
                      of=RunScreen)  # fmt: skip
        await at.look("samples-none", "i", "this run has drawn no picture", of=Samples)


async def test_a_run_that_has_ended(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("pick-many", "O", "siimba", of=Pick, opening=OpenRun("siimaa"))
        await at.look("run-overlaid", "down enter", "═ siim", of=RunScreen)
        await at.look("run-settings", "c", "finetune", of=RunScreen)
        await at.look("run-files", "v", "sha256", "siimaa", of=RunScreen)
        await at.look("samples-many", "i", "newest.png", "▀▀▀▀", of=Samples)
        await at.look("samples-broken", "left", "this picture cannot be shown", of=Samples)
        await at.press("escape escape escape")
        await at.look("samples-one", "i", "1/1", "▀▀▀▀", of=Samples, opening=OpenRun("rndaaa"))


async def test_runs_with_something_wrong(opened: Wait, lab_of_trouble: Lab) -> None:
    async with opened(lab_of_trouble) as at:
        await at.look("run-failed", of=RunScreen, opening=OpenRun("shzaaa"))
        await at.look("run-gone", of=RunScreen, opening=OpenRun("shlaaa"))
        await at.look("log-unreadable", of=RunScreen, opening=OpenRun("rndbbb"))
        await at.look("samples-restricted", "i", of=Samples)


# -- the queue, the GPUs, notes, the doctor


async def test_the_other_places_of_an_empty_lab(
    opened: Wait, lab_of_none: Lab, gate: threading.Event
) -> None:
    async with opened(lab_of_none, look=lambda lab: gate.wait(600) and ()) as at:
        await at.look("queue-empty", "3", "nothing waits: `1`, then `l` queues runs",
                      of=QueueScreen)  # fmt: skip
        await at.look("gpus-none", "4", "cpu:1", of=GpusScreen)
        await at.look("notes-empty", "5", "nothing noted yet: `a` writes something down",
                      of=NotesScreen)  # fmt: skip
        await at.look("note-new", "a", "Write down", of=NoteForm)
        await at.look("note-without-words", "enter", "an entry needs words", of=NoteForm)
        await at.press("escape")
        at.hangs = True
        await at.look("doctor-looking", "6", "looking …", of=DoctorScreen)
        gate.set()


async def test_the_other_places_with_one_of_each(
    opened: Wait, lab_of_one: Lab, an_agent: None
) -> None:
    async with opened(lab_of_one, probe=one_gpu, look=sees_one) as at:
        await at.look("queue-one", "3", "onlyaa", of=QueueScreen)
        await at.look("gpus-one", "4", "H100", of=GpusScreen)
        await at.look("notes-one", "5", "lr was too high", of=NotesScreen)
        await at.look("note-one", "e", "lr was too high", of=NoteForm)
        await at.look("question-drop", "escape d", of=Question)
        await at.look("notes-none-of-a-kind", "escape I", "`A`", of=NotesScreen)
        await at.look("doctor-one", "6", "3.11.7", of=DoctorScreen)


async def test_the_other_places_with_many_of_each(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace, an_agent: None
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("queue-many", "3 down down down", "queueb", "‖ ", of=QueueScreen)
        await at.look("help-queue", "question_mark", of=Help)
        await at.look("gpus-many", "escape 4", "× ward", "pid 77", of=GpusScreen)
        await at.look("help-gpus", "question_mark", of=Help)
        await at.look("notes-many", "escape 5", "第二行", of=NotesScreen)
        await at.look("help-notes", "question_mark", of=Help)
        await at.look("note-many", "escape e", "第二行", of=NoteForm)
        await at.look("doctor-many", "escape 6 n n n n", "/data/[red]mimic", of=DoctorScreen)
        await at.look("help-doctor", "question_mark", of=Help)


async def test_a_queue_without_an_agent(
    opened: Wait, lab_of_many: Lab, by_hand: SimpleNamespace
) -> None:
    async with opened(lab_of_many, probe=by_hand.eight_gpus) as at:
        await at.look("queue-no-agent", "3", of=QueueScreen)


async def test_gpus_that_are_no_longer_known(opened: Wait, lab_of_many: Lab) -> None:
    fails = threading.Event()

    def probe() -> Reading:
        if fails.is_set():
            said = "the GPUs cannot be read: NVML is not loaded"
            return Reading((), said, 1.77e9, known=False)
        return one_gpu()

    rhythm = Rhythm(refresh_s=0, look_s=3600, gpus_s=0.1)
    async with opened(lab_of_many, probe=probe, rhythm=rhythm) as at:
        fails.set()
        await at.look("gpus-unknown", "4", "NVML", of=GpusScreen)


async def test_notes_and_a_doctor_that_fail(
    opened: Wait, lab_of_trouble: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing.__wrapped__, "__defaults__", (0.2,))  # seconds for the lock
    async with opened(lab_of_trouble, look=sees_and_fails) as at:
        with contextlib.closing(sqlite3.connect(lab_of_trouble.registry)) as other:
            other.isolation_level = None
            other.execute("begin immediate")
            await at.look("notes-locked", "5 space", "0.2", of=NotesScreen)
            other.execute("rollback")
        await at.look("doctor-error", "6", "OSError", of=DoctorScreen)


# -- what takes its time


async def test_pages(opened: Wait, lab_of_none: Lab, gate: threading.Event) -> None:
    lines = ["mrm better on such patients", "", *(f"line {n} [red]" for n in range(60))]

    def fails() -> Any:
        raise Usage("these two have no patients in common", "compare runs of one split")

    def late() -> Any:
        gate.wait(600)
        return lambda width: []

    async with opened(lab_of_none) as at:
        await at.look("page-one", "", "the only line", of=Page,
                      opening=OpenPage("one", lambda: lambda width: ["the only line"]))  # fmt: skip
        await at.press("escape")
        await at.look("page-many", "", "mrm better", of=Page,
                      opening=OpenPage("random and mrm", lambda: lambda width: lines))  # fmt: skip
        await at.press("escape")
        await at.look("page-error", "", "error:", of=Page, opening=OpenPage("one", fails))
        await at.press("escape")
        at.hangs = True
        await at.look("page-working", "", "working", of=Page, opening=OpenPage("one", late))
        gate.set()


async def test_a_command_beside_the_dashboard(
    opened: Wait, lab_of_none: Lab, tmp_path: Path
) -> None:
    process = SimpleNamespace(returncode=None)  # of a child that is none
    async with opened(lab_of_none) as at:
        await at.look("question-begin", "R", of=Question)
        await at.press("n")
        running = errands.Running(errands.make_data(lab_of_none), tmp_path / "words", process)
        running.file.touch()
        at.app.push_screen(ErrandScreen(running))
        await at.look("errand-begun", "", "▶", "data generate", of=ErrandScreen)
        running.file.write_text("".join(f"step {n} of the demo\n" for n in range(30)))
        await at.look("errand-many", "", "step 29 of the demo", of=ErrandScreen)
        running.file.write_text("step 0 of the demo\nno room\n")
        process.returncode = 4
        await at.look("errand-failed", "", "no room", "✗", of=ErrandScreen)
