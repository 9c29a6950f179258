from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cxrlab.gpus import Gpu, GpuProcess, Reading
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


def test_one_gpu_is_shown_with_load_memory_heat_power_and_run() -> None:
    assert words(Reading(gpus(1), "", 0.0), u0="abcdef mrm") == (
        "GPU 0 ████▍ 87% 40/80G 61° 350W abcdef mrm"
    )


def test_a_gpu_of_others_names_them() -> None:
    assert words(Reading(gpus(1), "", 0.0)).endswith("350W ward")


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
