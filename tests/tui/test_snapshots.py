"""How every screen looks: a changed picture is looked at, then accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.lab import Lab, find_lab
from cxrlab.tui import remembered, themes
from cxrlab.tui.messages import OpenFill, OpenLaunch, OpenPage, OpenRun
from cxrlab.tui.words import tr
from store import claims, notes, queue
from store.db import open_store
from store.notes import NewEntry

NOW = 1_770_000_000.0
"""The time it always is, as conftest.py has it."""

Wait = Callable[..., Any]
Shown = Callable[[Any], str]
SIZES = pytest.mark.parametrize("size", [(80, 24), (200, 60)], ids=["80x24", "200x60"])


async def settled(pilot: Any, shown: Shown) -> None:
    """Wait until nothing has changed on the screen for half a second, however slow the machine."""
    before, same = "", 0
    for _ in range(600):  # what never rests is compared as it is, and differs
        if same == 5:
            return
        await pilot.pause(0.1)
        now = shown(pilot.app)
        before, same = now, same + 1 if now == before else 0


@pytest.fixture
def looks_as_before(snap_compare: Wait, until: Wait, shown: Shown) -> Callable[..., bool]:
    """Press keys, wait until the words are there, and compare with the accepted picture."""

    def compare(
        app: Any,
        size: tuple[int, int],
        *keys: str,
        opening: Any = None,
        words: tuple[str, ...],
        first: tuple[str, ...] = (),
    ) -> bool:
        async def come_there(pilot: Any) -> None:
            there = ("1 Grid", "method")
            await until(pilot, lambda: all(tr(word) in shown(app) for word in there))
            await until(pilot, lambda: f"GPU: {tr('asking')}" not in shown(app))
            await until(pilot, lambda: all(word in shown(app) for word in first))
            if opening is not None:
                app.post_message(opening)
                await settled(pilot, shown)
            for key in keys:
                await pilot.press(key)
                await settled(pilot, shown)
            await until(pilot, lambda: all(word in shown(app) for word in words))
            await settled(pilot, shown)

        same: bool = snap_compare(app, terminal_size=size, run_before=come_there)
        return same

    return compare


@SIZES
def test_the_grid_of_an_empty_lab(
    empty_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("Nothing has run", "nothing under way")
    assert looks_as_before(make_app(empty_lab), size, words=words)


@SIZES
def test_the_grid_with_every_state(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    keys = ("down", "right", "right")
    words = ("72.2 ±1.0", "▶ 1", "under way")
    assert looks_as_before(make_app(full_lab), size, *keys, words=words)


def test_the_grid_in_the_light_theme(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("72.2 ±1.0", "▶ 1")
    assert looks_as_before(make_app(full_lab), (80, 24), "t", words=words)
    assert themes.LIGHT.dark is False


@SIZES
def test_eight_gpus_on_the_strip(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, gpus_on_paper: Any, size: Any
) -> None:
    app = make_app(full_lab, probe=gpus_on_paper)
    assert looks_as_before(app, size, words=("GPU 0", "▶ 1"))


def test_the_runs_of_an_empty_lab(empty_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    assert looks_as_before(make_app(empty_lab), (80, 24), "2", words=("no run yet", "0 runs"))


@SIZES
def test_the_runs_in_every_state(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("mrmaaa", "11 runs", "▶ 1")
    assert looks_as_before(make_app(full_lab), size, "2", "down", "down", words=words)


def test_the_runs_filtered(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    keys = ("2", "slash", *"siim")
    words = ("5 of 11 runs", "▶ 1")
    assert looks_as_before(make_app(full_lab), (80, 24), *keys, words=words)


@SIZES
def test_a_run_that_runs(full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("train/loss", "step 30", "▶ 1")
    assert looks_as_before(make_app(full_lab), size, opening=OpenRun("deepaa"), words=words)


def test_a_run_that_waits(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("no value yet", "the log is empty", "waits for deepaa")
    assert looks_as_before(make_app(full_lab), (80, 24), opening=OpenRun("deepbb"), words=words)


def test_the_settings_of_a_run(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("program", "finetune")
    app = make_app(full_lab)
    assert looks_as_before(app, (80, 24), "c", opening=OpenRun("siimaa"), words=words)


@SIZES
def test_the_files_of_a_run(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    words = ("cited by", "sha256")
    app = make_app(full_lab)
    assert looks_as_before(app, size, "v", opening=OpenRun("siimaa"), words=words)


@SIZES
def test_what_stands_behind_a_cell(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    keys = ("down", "right", "right", "enter")
    assert looks_as_before(make_app(full_lab), size, *keys, words=("siimaa", "last "))


@SIZES
def test_the_form_that_launches(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    opening = OpenLaunch("mrm", "siim", 10)
    words = ("1  mrm siim", "refused", "[data.siim]", "measured in")
    keys, first = ("tab", "tab", "comma", "1"), ("▶ 1",)
    app = make_app(full_lab)
    assert looks_as_before(app, size, *keys, opening=opening, words=words, first=first)


@SIZES
def test_the_form_that_fills(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    opening = OpenFill("mrm", "siim", 10)
    words, first = ("[row mrm]", "cannot be made here"), ("▶ 1",)
    assert looks_as_before(make_app(full_lab), size, opening=opening, words=words, first=first)


def test_the_form_that_exports(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("▶ 1", "grid.csv", "lab/grid.csv")
    app = make_app(full_lab)
    assert looks_as_before(app, (80, 24), "e", "right", "right", "right", words=words)


def test_what_can_be_copied_of_a_cell(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("▶ 1", "cxrlab show mrm/siim/10/Dice")
    app = make_app(full_lab)
    assert looks_as_before(app, (80, 24), "down", "right", "right", "y", words=words)


@SIZES
def test_a_page_that_was_worked_out(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any
) -> None:
    lines = ["mrm better on such patients", "", *(f"line {n} [red]" for n in range(60))]
    opening = OpenPage("random and mrm", lambda: lambda width: lines)
    words, first = ("mrm better",), ("▶ 1",)
    assert looks_as_before(make_app(full_lab), size, opening=opening, words=words, first=first)


def test_a_cell_that_is_marked_to_compare(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait
) -> None:
    words = ("◆ 72.2", "▶ 1", "is marked")
    app = make_app(full_lab)
    assert looks_as_before(app, (80, 24), "down", "right", "right", "c", words=words)


@pytest.mark.parametrize("theme", [themes.CONTRAST, themes.COLOUR_BLIND], ids=lambda t: t.name)
def test_the_grid_in_another_theme(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, theme: Any
) -> None:
    remembered.remember(full_lab, "theme", theme.name)
    words = ("72.2 ±1.0", "▶ 1")
    keys = ("down", "right", "right")
    assert looks_as_before(make_app(full_lab), (80, 24), *keys, words=words)


def test_the_question_before_stopping(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("Stop rndccc?", "▶ 1")
    assert looks_as_before(make_app(full_lab), (80, 24), "2", "s", words=words)


def test_the_help(full_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("Keys: grid", "Every run")
    assert looks_as_before(make_app(full_lab), (80, 24), "question_mark", words=words)


@pytest.fixture
def waiting_lab(full_lab: Lab, add_run: Wait) -> Lab:
    """More that waits: one is held, one comes first."""
    for seed, id in enumerate(("queuea", "queueb", "queuec")):
        add_run(full_lab, id, "random", "siim", ratio=10, seed=seed, state="queued",
                reason="waits for its turn")  # fmt: skip
    db = open_store(full_lab.registry)
    queue.hold(db, ["queueb"], at=NOW - 90)
    queue.put_first(db, ["queuec"])
    db.close()
    return full_lab


@pytest.fixture
def noted_lab(full_lab: Lab) -> Lab:
    """Entries of every kind and state, with markup, an escape sequence, RTL and Chinese."""
    db = open_store(full_lab.registry)
    for entry in (
        NewEntry("fact", "MIMIC-CXR 2.0 has 377,110 images", "", "2023-03-08 16:11",
                 section="data", source="notebook.md", line=4),
        NewEntry("reference", "https://arxiv.org/abs/2301.13155", "endorsed", "2023-03-09"),
        NewEntry("note", "the loss rose after step 300:\nlr was too high", "", "2026-01-03 10:00",
                 about="deepaa"),
        NewEntry("note", "[red]not red[/] \x1b[2J \u202eabc שלום", "warning", "2026-01-06 09:30"),
        NewEntry("idea", "mask by attention instead of at random", "open", "2026-01-02 10:00"),
        NewEntry("todo", "read the paper again", "done", "2026-01-05 10:00"),
        NewEntry("todo", "预训练数据集：下载并检查\n第二行", "open", "2026-01-04 10:00"),
    ):  # fmt: skip
        notes.add(db, entry)
    db.close()
    return full_lab


@SIZES
def test_an_empty_queue(empty_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("nothing waits", "nothing under way")
    assert looks_as_before(make_app(empty_lab), size, "3", words=words)


@SIZES
def test_the_queue(waiting_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("5 runs wait, 1 held", "held 1m ago")
    assert looks_as_before(make_app(waiting_lab), size, "3", "down", "down", "down", words=words)


@SIZES
def test_no_gpu(full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("no GPU is there: runs take 2 CPU slots, 1 busy", "▶ busy")
    assert looks_as_before(make_app(full_lab), size, "4", words=words)


@SIZES
def test_eight_gpus(
    full_lab: Lab, make_app: Wait, looks_as_before: Wait, gpus_on_paper: Any, size: Any
) -> None:
    source = full_lab.settings_file.read_text()
    full_lab.settings_file.write_text(source.replace("gpus = 0\n", ""))
    db = open_store(full_lab.registry)
    claims.claim(db, "deepaa", ["GPU-0", "GPU-1"])
    db.close()
    words = ("8 GPUs: 2 ours, 1 others', 5 free", "× ward", "pid 77")
    app = make_app(find_lab(full_lab.root), probe=gpus_on_paper)
    assert looks_as_before(app, size, "4", words=words)


@SIZES
def test_no_notes(empty_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("nothing noted yet", "nothing under way")
    assert looks_as_before(make_app(empty_lab), size, "5", words=words)


@SIZES
def test_the_notes(noted_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("A all 7", "第二行", "[red]not red")
    assert looks_as_before(make_app(noted_lab), size, "5", words=words)


def test_the_form_for_a_note(noted_lab: Lab, make_app: Wait, looks_as_before: Wait) -> None:
    words = ("Edit todo 7", "Ctrl+J")
    assert looks_as_before(make_app(noted_lab), (80, 24), "5", "e", words=words)


def test_the_question_before_dropping(
    noted_lab: Lab, make_app: Wait, looks_as_before: Wait
) -> None:
    words = ("Drop todo 7 for good?", "y  yes")
    assert looks_as_before(make_app(noted_lab), (80, 24), "5", "d", words=words)


@SIZES
def test_the_doctor(full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    words = ("✗ 2 missing", "/data/[red]mimic is no folder", "fix")
    assert looks_as_before(make_app(full_lab), size, "6", "n", "n", "n", "n", words=words)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ((), ("▶ 运行中", "进行中")),
        (("2",), ("mrmaaa", "✗ 失败")),
        (("3", "down"), ("‖ 挂起",)),
        (("4",), ("CPU",)),
        (("5",), ("第二行",)),
        (("6", "n"), ("✗", "/data/[red]mimic")),
        (("question_mark",), ("Esc",)),
    ],
    ids=["grid", "runs", "queue", "gpus", "notes", "doctor", "help"],
)
@SIZES
def test_a_screen_in_chinese(
    noted_lab: Lab,
    waiting_lab: Lab,
    make_app: Wait,
    looks_as_before: Wait,
    keys: tuple[str, ...],
    words: tuple[str, ...],
    size: Any,
) -> None:
    remembered.remember(noted_lab, "language", "zh")
    assert looks_as_before(make_app(waiting_lab), size, *keys, words=words)


@SIZES
def test_a_run_in_chinese(full_lab: Lab, make_app: Wait, looks_as_before: Wait, size: Any) -> None:
    remembered.remember(full_lab, "language", "zh")
    opening = OpenRun("deepaa")
    assert looks_as_before(make_app(full_lab), size, opening=opening, words=("train/loss",))
