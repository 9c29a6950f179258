from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.gpus.whose import Card, User
from cxrlab.lab import Lab, find_lab
from cxrlab.tui.history import History
from cxrlab.tui.pulse import Rhythm
from cxrlab.tui.screens import gpus as gpus_screen
from cxrlab.tui.screens.gpus import GpusScreen, Place, detail_of, whose
from cxrlab.tui.screens.run import RunScreen
from store import claims
from store.db import open_store

Wait = Callable[..., Any]
Shown = Callable[[Any], str]

GPU = Gpu(0, "GPU-0", "NVIDIA H100", 40_960, 81_920, 87, 61, 350, (GpuProcess(77, "ward", 30_720),))
OFTEN = Rhythm(refresh_s=0, look_s=0.1, gpus_s=0.05)


@pytest.fixture
def gpu_lab(full_lab: Lab) -> Lab:
    """A lab whose runs may take GPUs."""
    source = full_lab.settings_file.read_text()
    full_lab.settings_file.write_text(source.replace("gpus = 0\n", ""))
    return find_lab(full_lab.root)


def reading(at: float, load: int | None = 50, *, error: str = "") -> Reading:
    gpus = () if error else (dataclasses.replace(GPU, utilization=load),)
    return Reading(gpus, error, at, known=not error)


def test_the_minute_is_drawn_oldest_left_and_its_highest_load_counts() -> None:
    history = History()
    for at, load in ((41.0, 0), (55.0, 100), (56.0, 10), (100.0, 50)):
        history.add(reading(at, load))
    assert history.line("GPU-0", 6, now=100.0) == "▁█   ▅"  # 59, 45, 44 and 0 s ago


def test_what_is_older_than_a_minute_or_not_told_is_blank() -> None:
    history = History()
    history.add(reading(0.0, 100))
    history.add(reading(61.0, None))
    assert history.line("GPU-0", 4, now=61.0) == "    "
    assert history.line("unknown", 4, now=61.0) == "    "


def test_it_is_unknown_from_the_first_failure_on_until_the_next_answer() -> None:
    history = History()
    history.add(reading(1.0))
    history.add(reading(3.0, error="the GPUs cannot be read: boom"))
    history.add(reading(5.0, error="no GPU is there"))  # there was one
    assert history.failing_since == 3.0
    assert history.gpus == reading(1.0).gpus
    history.add(reading(7.0))
    assert history.failing_since is None


def test_a_machine_without_a_driver_is_no_failure() -> None:
    history = History()
    history.add(reading(1.0, error="no NVIDIA driver is installed")._replace(known=True))
    assert history.failing_since is None


async def test_each_gpu_shows_load_memory_heat_power_and_whose_it_is(
    gpu_lab: Lab, make_app: Wait, until: Wait, shown: Shown, gpus_on_paper: Any
) -> None:
    db = open_store(gpu_lab.registry)
    claims.claim(db, "deepaa", ["GPU-0"])
    db.close()
    app = make_app(gpu_lab, probe=gpus_on_paper)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "8 GPUs: 1 ours, 2 others', 5 free" in shown(app))
        first, second, last = (
            next(line for line in shown(app).splitlines() if f" {n} " in line[:4] and "W" in line)
            for n in (0, 1, 7)
        )
        assert all(word in first for word in ("87 %", "40.0/80", "60°", "350W", "▶ deepaa"))
        assert "× ward" in second
        assert "free" in last
        assert "pid 77" in shown(app)
        await pilot.press("down", "down", "down")
        await until(pilot, lambda: "no process on it" in shown(app))


async def test_enter_opens_the_run_that_holds_it(
    full_lab: Lab, make_app: Wait, until: Wait, shown: Shown, told: Shown
) -> None:
    app = make_app(full_lab)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "no GPU is there: runs take 2 CPU slots, 1 busy" in shown(app))
        assert "▶ busy" in shown(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: "no run of this lab holds it" in told(app))
        await pilot.press("up", "enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, GpusScreen))


async def test_a_probe_that_begins_to_fail_leaves_what_was_seen_and_says_since_when(
    gpu_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    fails = threading.Event()

    def probe() -> Reading:
        error = "the GPUs cannot be read: [red]\x1b[2J" if fails.is_set() else ""
        return Reading(() if error else (GPU,), error, 1_770_000_000.0, known=not error)

    app = make_app(gpu_lab, probe=probe, rhythm=OFTEN)
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "1 GPU: 1 others'" in shown(app))
        fails.set()
        await until(pilot, lambda: "unknown since" in shown(app))
        assert "the GPUs cannot be read: [red]␛[2J" in shown(app)
        assert "40.0/80" in shown(app)
        fails.clear()
        await until(pilot, lambda: "unknown since" not in shown(app))


async def test_a_probe_that_hangs_is_told_and_the_keys_live(
    empty_lab: Lab, make_app: Wait, until: Wait, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus_screen, "QUIET_S", 0.3)
    hang = threading.Event()

    def probe() -> Reading:
        hang.wait(120)
        return reading(1.0)

    app = make_app(empty_lab, probe=probe)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "unknown since" in shown(app) and "may hang" in shown(app))
        await pilot.press("down", "enter", "3")
        await until(pilot, lambda: "nothing waits" in shown(app))
        hang.set()


def test_names_from_the_driver_are_shown_as_text() -> None:
    process = GpuProcess(9, "[b]\x1b[2Jeve", None)
    said = detail_of(Place("GPU-0", dataclasses.replace(GPU, processes=(process,)), "")).plain
    assert "[b]␛[2Jeve" in said
    assert "?" in said
    card = Card("GPU-0", "others", GPU, others=(User(process.user, None),))
    assert whose(Place("GPU-0", GPU, "", card=card)) == ("× [b]␛[2Jeve", "")


def test_processes_of_a_run_are_told_from_others() -> None:
    others = GpuProcess(78, "eve", 100)
    gpu = dataclasses.replace(GPU, processes=(*GPU.processes, others))
    lines = detail_of(Place("GPU-0", gpu, "abcdef mrm", {77: "abcdef-mrm"})).plain.splitlines()
    assert lines[2].endswith("▶ abcdef-mrm")
    assert lines[3].endswith("× not of this lab")


@pytest.mark.parametrize(
    ("card", "said"),
    [
        (Card("GPU-0", "free", GPU), "  free"),
        (Card("GPU-0", "settling", GPU), "◌ free, watched before use"),
        (Card("GPU-0", "mig", GPU), "- in MIG mode"),
        (Card("GPU-0", "left out", GPU, others=(User("eve", 9),)), "- not for runs × eve"),
        (Card("GPU-0", "others", GPU, others=(User("", 900),)), "× others"),
        (Card("GPU-0", "ours", GPU, others=(User("eve", 9),)), "▶ abcdef mrm × eve"),
        (Card("GPU-0", "gone", None), "? gone: abcdef mrm"),
    ],
)
def test_each_state_has_a_sign_and_words(card: Card, said: str) -> None:
    holder = "abcdef mrm" if card.word in ("ours", "gone") else ""
    assert whose(Place("GPU-0", card.gpu, holder, card=card))[0] == said


async def test_a_gpu_that_has_gone_and_one_in_mig_mode_are_shown(
    gpu_lab: Lab, make_app: Wait, until: Wait, shown: Shown
) -> None:
    db = open_store(gpu_lab.registry)
    claims.claim(db, "deepaa", ["GPU-9"])
    db.close()
    cut = dataclasses.replace(GPU, uuid="GPU-1", index=1, mig=True, processes=())
    app = make_app(gpu_lab, probe=lambda: Reading((GPU, cut), "", 1_770_000_000.0))
    async with app.run_test(size=(120, 30)) as pilot:
        await pilot.press("4")
        await until(pilot, lambda: "2 GPUs: 1 others', 1 in MIG mode, 1 gone" in shown(app))
        assert "- in MIG mode" in shown(app)
        assert "? gone: deepaa deep_mrm" in shown(app)
        await pilot.press("end")
        await until(pilot, lambda: "driver no longer knows it" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunScreen))
