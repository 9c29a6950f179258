from __future__ import annotations

from pathlib import Path

import pytest

from trainers import machine

DRIVER = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.133.20  Release Build  (dvs-builder)
GCC version:  gcc version 12.3.0
"""

GPU = """\
Model: \t\t NVIDIA {model}
IRQ:   \t\t 180
GPU UUID: \t {uuid}
Video BIOS: \t 96.00.89.00.01
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """What a driver of two GPUs tells."""
    (tmp_path / "version").write_text(DRIVER)
    for number, (model, uuid) in enumerate([("H200", "GPU-aa"), ("A100", "GPU-bb")]):
        folder = tmp_path / "gpus" / f"0000:0{number}:00.0"
        folder.mkdir(parents=True)
        (folder / "information").write_text(GPU.format(model=model, uuid=uuid))
    return tmp_path


def test_the_driver_is_named_where_there_is_one(place: Path) -> None:
    assert machine.driver(place) == "570.133.20"
    older = DRIVER.replace("Open Kernel Module for x86_64", "x86_64 Kernel Module")
    (place / "version").write_text(older)
    assert machine.driver(place) == "570.133.20"
    assert machine.driver(place / "none") is None


@pytest.mark.parametrize(
    ("visible", "models"),
    [
        (None, ["NVIDIA H200", "NVIDIA A100"]), ("", []), ("GPU-bb", ["NVIDIA A100"]),
        ("1,0", ["NVIDIA A100", "NVIDIA H200"]), ("GPU-bb,MIG-cc", ["NVIDIA A100"]),
    ],
)  # fmt: skip
def test_the_gpus_that_are_visible_are_named(
    place: Path, visible: str | None, models: list[str]
) -> None:
    assert machine.gpus(visible, place) == models


def test_a_machine_without_a_driver_has_none(tmp_path: Path) -> None:
    assert machine.gpus(None, tmp_path) == []
