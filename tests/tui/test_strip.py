from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.gpus.whose import Card, Word
from cxrlab.lab import Lab
from cxrlab.tui.messages import GpusRead
from cxrlab.tui.widgets import strip
from cxrlab.tui.widgets.strip import GpuStrip

NOBODY = Reading((), "no GPU is there", 0.0)


def words(reading: Reading, width: int = 190, **holders: str) -> str:
    drawn = GpuStrip()
    drawn._read = GpusRead(reading, 2, holders)
    return drawn.words(width)


def gpus(count: int) -> tuple[Gpu, ...]:
    user = GpuProcess(1, "ward", 9000)
    return tuple(
        Gpu(n, f"u{n}", "H100", 40_960, 81_920, 87, 61, 350, (user,)) for n in range(count)
    )


def test_a_machine_without_gpu_shows_its_cpu_slots() -> None:
    assert words(NOBODY, **{"cpu:0": "abcdef mrm"}) == "no GPU: 2 CPU slots, 1 busy"


def test_a_probe_that_fails_says_why() -> None:
    said = words(Reading((), "the GPUs cannot be read: boom", 0.0))
    assert said == "no GPU: 2 CPU slots, 0 busy  (the GPUs cannot be read: boom)"


def test_gpus_that_cannot_be_read_are_not_said_to_be_none_nor_counted_as_slots() -> None:
    unknown = Reading((), "the GPUs cannot be read: boom", 0.0, known=False)
    said = words(unknown, **{"cpu:0": "abcdef mrm", "u0": "abcdef mrm"})
    assert said == "GPU ?: 2 CPU slots, 1 busy  (the GPUs cannot be read: boom)"


def test_one_gpu_is_shown_with_load_memory_heat_power_and_run() -> None:
    assert words(Reading(gpus(1), "", 0.0), u0="abcdef mrm") == (
        "GPU 0 ████▍ 87% 40/80G 61° 350W abcdef mrm"
    )


def test_a_gpu_of_others_names_them() -> None:
    assert words(Reading(gpus(1), "", 0.0)).endswith("350W ward")


def with_cards(*told: Word, width: int = 190) -> str:
    """Return the line for GPUs that nobody computes on; one that is gone is known no more."""
    idle = [Gpu(n, f"u{n}", "H100", 0, 81_920, 0, 30, 70, ()) for n in range(len(told))]
    there = tuple(g for g, word in zip(idle, told, strict=True) if word != "gone")
    cards = tuple(
        Card(f"u{n}", word, None if word == "gone" else idle[n]) for n, word in enumerate(told)
    )
    drawn = GpuStrip()
    drawn._read = GpusRead(Reading(there, "", 0.0), 2, {}, cards=cards)
    return drawn.words(width)


@pytest.mark.parametrize(
    ("word", "said"),
    [("free", "free"), ("mig", "MIG"), ("left out", "not for runs"), ("settling", "watched")],
)
def test_what_no_run_may_use_is_not_called_free(word: Word, said: str) -> None:
    assert with_cards(word).endswith(f"70W {said}")


def test_where_there_is_little_room_a_sign_says_the_same() -> None:
    said = with_cards("free", "mig", "left out", "settling", "gone", width=60)
    assert said == "GPU 0  0%  │ 1  0%- │ 2  0%- │ 3  0%◌ │ ? 1 gone"


@pytest.mark.parametrize("width", [78, 118, 198])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_every_gpu_fits_on_the_line(width: int, count: int) -> None:
    said = words(Reading(gpus(count), "", 0.0), width, u0="abcdef deep_mrm")
    assert len(said) <= width
    assert all(f"{n} " in said for n in range(count))


async def test_a_probe_that_hangs_is_said_and_leaves_the_keys_alive(
    empty_lab: Lab,
    make_app: Callable[..., Any],
    until: Callable[..., Any],
    shown: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(strip, "QUIET_S", 0.3)
    hang = threading.Event()

    def probe() -> Reading:
        hang.wait(120)
        return NOBODY

    app = make_app(empty_lab, probe=probe)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "GPU: asking, no answer for" in shown(app))
        await pilot.press("2")
        await until(pilot, lambda: "no run yet" in shown(app))
        began = asyncio.get_running_loop().time()
        await pilot.press("q")
    assert asyncio.get_running_loop().time() - began < 60
    hang.set()
