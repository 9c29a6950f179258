"""The import rules hold, in the source and in what each entry point really loads."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = {"torch", "timm", "transformers", "monai", "sklearn", "scipy", "numpy"}


def loaded_by(*words: str) -> set[str]:
    """Return the top-level modules a fresh interpreter holds after running `words`."""
    code = (
        "import sys, json, runpy\n"
        "sys.argv = sys.argv[1:]\n"
        "try: runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)\n"
        "except SystemExit: pass\n"
        "names = sorted({n.split('.')[0] for n in sys.modules})\n"
        "sys.stderr.write('LOADED' + json.dumps(names))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return set(json.loads(done.stderr.rsplit("LOADED", 1)[1]))


def test_the_layers_of_the_house_hold() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([str(linter), "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("launch", "--help")])
def test_help_loads_neither_torch_nor_textual_nor_the_registry(words: tuple[str, ...]) -> None:
    assert not loaded_by("cxrlab", *words) & (HEAVY | {"textual", "sqlite_utils", "gpustat"})


def test_listing_runs_loads_neither_torch_nor_textual(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-P", "-m", "cxrlab", "init", str(tmp_path)], check=True)
    loaded = loaded_by("cxrlab", "--lab", str(tmp_path), "runs")
    assert "sqlite_utils" in loaded
    assert not loaded & (HEAVY | {"textual"})


@pytest.mark.parametrize("name", ["check", "generate", "prepare"])
def test_reading_and_drawing_radiographs_loads_no_torch(name: str) -> None:
    assert not loaded_by(f"trainers.data.{name}") & {"torch", "sklearn"}


def test_the_parent_of_a_trainer_needs_the_standard_library_alone() -> None:
    others = loaded_by("cxrlab.runner") - set(sys.stdlib_module_names)
    assert {n for n in others if not n.startswith(("_", "cxrlab"))} <= {"sitecustomize"}


@pytest.mark.parametrize(
    "module",
    [
        "trainers.catalog",
        "trainers.config",
        "trainers.events",
        "trainers.metrics",
        "trainers.framing",
        "trainers.scalars",
    ],
)
def test_what_the_application_sees_of_the_trainers_is_light(module: str) -> None:
    assert not loaded_by(module) & HEAVY


def test_the_home_screen_loads_neither_the_agent_nor_other_screens() -> None:
    code = "import sys, cxrlab.tui.app, cxrlab.tui.screens.grid; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    later = {"cxrlab.agent", "cxrlab.launch", "cxrlab.refresh", "plotext", "textual_image"}
    later |= {f"cxrlab.tui.screens.{name}" for name in ("run", "runs", "launch", "note", "doctor")}
    assert "cxrlab.tui.screens.grid" in loaded
    assert not loaded & later


def test_every_screen_can_be_loaded_behind_the_home_screen() -> None:
    code = "from cxrlab.tui import loading; loading._load(); import sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True
    )
    assert {"cxrlab.tui.screens.run", "cxrlab.tui.palette"} <= set(done.stdout.split())
