from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli, runner
from cxrlab.assets import datasets
from cxrlab.commands import demo
from cxrlab.lab import Lab, find_lab, make_lab, set_data_root
from store import runs
from store.db import open_store
from trainers.catalog import METHODS, TASKS, main_methods

FAKE = Path(__file__).parents[1] / "fake_trainer.py"
HERE = [name for name in main_methods() if not METHODS[name].weights]
PRETRAINED = sum(METHODS[name].pretrains for name in HERE)
ALL = PRETRAINED + len(HERE) * sum(len(TASKS[name].ratios) for name in demo.SHOWN)


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "100"})


@pytest.fixture
def demo_lab(tmp_path: Path) -> Iterator[Lab]:
    """A demo lab whose data lie there already and whose trainers are the fake one."""
    lab = demo.demo_lab(tmp_path / "demo-lab")
    out = demo.data_folder(lab)
    for name in ("mimic_cxr", "siim", "shenzhen", "nih", "rsna"):
        (out / name).mkdir(parents=True)
    (out / "generated.json").write_text("{}")
    with_programs(lab, str(FAKE))
    yield lab
    agent.end(lab)
    runner.kill_all({pid for f in lab.runs_dir.iterdir() for pid in runner.processes_of(f)})


def with_programs(lab: Lab, program: str) -> None:
    source = lab.settings_file.read_text()
    lines = "".join(f'{kind}_program = "{program}"\n' for kind in ("pretrain", "finetune"))
    lab.settings_file.write_text(source.replace("\n[launch]\n", f"\n[launch]\n{lines}"))


@pytest.mark.slow
def test_the_demo_fills_every_cell_and_ends_with_three_commands(demo_lab: Lab) -> None:
    result = invoke("demo", "--dir", str(demo_lab.root))
    assert result.exit_code == 0, result.stderr
    assert f"{ALL} runs on generated radiographs" in result.stderr
    assert "minute" in result.stderr.splitlines()[0]
    cells = json.loads(invoke("--lab", str(demo_lab.root), "grid", "--json").stdout)
    filled = [c for c in cells if c["method"] in HERE and c["task"] != "pretrain"]
    assert all(c["value"] is not None for c in filled)
    assert "left out: imagenet and mae, whose published weights are not in" in result.stderr
    grid = (demo_lab.root / "GRID.md").read_text()
    assert grid.count("50.0 (1)") == ALL - PRETRAINED
    lines = result.stdout.splitlines()
    tried = lines[lines.index("try next:") + 1 :]
    assert len(tried) == 3
    assert all(line.startswith(f"  cxrlab --lab {demo_lab.root} ") for line in tried)


def test_the_first_command_it_suggests_for_a_run_works(demo_lab: Lab) -> None:
    said = invoke("demo", "--dir", str(demo_lab.root)).stdout
    (line,) = [line for line in said.splitlines() if " show " in line]
    assert invoke(*line.split()[1:]).exit_code == 0


@pytest.mark.slow
def test_a_second_demo_trains_nothing_anew(demo_lab: Lab) -> None:
    invoke("demo", "--dir", str(demo_lab.root))
    before = {folder.name for folder in demo_lab.runs_dir.iterdir()}
    assert invoke("demo", "--dir", str(demo_lab.root)).exit_code == 0
    assert {folder.name for folder in demo_lab.runs_dir.iterdir()} == before


@pytest.mark.slow
def test_runs_that_fail_are_listed_and_end_with_1_and_are_tried_again(
    demo_lab: Lab, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text(
        f"import runpy, sys\nsys.path.insert(0, {str(FAKE.parents[1])!r})\n"
        "if 'shenzhen' in sys.argv and '--print-config' not in sys.argv:\n"
        "    sys.argv += ['--fake_end', 'fail:no luck']\n"
        f"runpy.run_path({str(FAKE)!r}, run_name='__main__')\n"
    )
    healthy = demo_lab.settings_file.read_text()
    demo_lab.settings_file.write_text(healthy.replace(str(FAKE), str(broken)))
    result = invoke("demo", "--dir", str(demo_lab.root))
    assert result.exit_code == 1
    assert f"{len(HERE)} of {ALL} runs did not succeed" in result.stderr
    assert result.stderr.count("failed: no luck") >= 3
    broken.write_text(broken.read_text().replace("fail:no luck", "succeed"))
    assert invoke("demo", "--dir", str(demo_lab.root)).exit_code == 0


def test_an_interrupted_demo_says_how_to_continue(
    demo_lab: Lab, wait_until: Callable[..., Any]
) -> None:
    slow = demo_lab.root / "slow.py"
    slow.write_text(
        f"import runpy, sys\nsys.path.insert(0, {str(FAKE.parents[1])!r})\n"
        "sys.argv += ['--fake_steps', '100000', '--fake_step_s', '0.05']\n"
        f"runpy.run_path({str(FAKE)!r}, run_name='__main__')\n"
    )
    source = demo_lab.settings_file.read_text()
    demo_lab.settings_file.write_text(source.replace(str(FAKE), str(slow)))
    words = ["demo", "--dir", str(demo_lab.root)]
    child = subprocess.Popen(
        [sys.executable, "-P", "-m", "cxrlab", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ,
    )  # fmt: skip
    wait_until(lambda: demo_lab.registry.exists() and running(demo_lab))
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=900)
    assert child.returncode == 130
    assert f"`cxrlab demo --dir {demo_lab.root}` continues" in said
    assert "Traceback" not in said
    assert running(demo_lab)


def running(lab: Lab) -> int:
    db = open_store(lab.registry)
    try:
        return runs.count(db, states=("running",))
    finally:
        db.conn.close()


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("words")
    result = invoke("demo", "--dir", str(tmp_path))
    assert result.exit_code == 2
    assert "not empty" in result.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_demo_lab_uses_every_core_and_the_quick_preset_and_is_a_lab(tmp_path: Path) -> None:
    lab = demo.demo_lab(tmp_path / "new")
    launch = lab.settings.launch
    assert (launch.cpu_slots, launch.threads) == (len(os.sched_getaffinity(0)), 1)
    assert launch.preset == "quick"
    assert find_lab(tmp_path / "new").root == lab.root
    lab.settings_file.write_text("[launch]\ncpu_slots = 1\n")
    assert demo.demo_lab(tmp_path / "new").settings.launch.cpu_slots == 1


def test_unfinished_data_are_generated_anew(tmp_path: Path) -> None:
    lab = demo.demo_lab(tmp_path / "new")
    torn = demo.data_folder(lab) / "siim" / "torn.dcm"
    torn.parent.mkdir(parents=True)
    torn.write_text("half")
    lab = demo.with_data(lab, count=12, image_px=64)
    assert not torn.exists()
    assert lab.settings.data["mimic_cxr"].root.is_dir()
    assert set(lab.settings.data) == {"mimic_cxr", "siim", "shenzhen", "nih", "rsna"}


def test_a_new_lab_becomes_a_demo_lab(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    assert demo.untouched(lab.root)
    datasets.use(lab, generated_sets(lab))
    assert demo.untouched(lab.root)
    assert demo.demo_lab(lab.root).settings.launch.preset == "quick"


def generated_sets(lab: Lab) -> Path:
    (demo.data_folder(lab) / "siim").mkdir(parents=True)
    return demo.data_folder(lab)


def test_a_lab_that_somebody_set_or_used_is_left_alone(tmp_path: Path) -> None:
    for name, change in {
        "set": lambda lab: lab.settings_file.write_text("[launch]\ncpu_slots = 1\n"),
        "data": lambda lab: set_data_root(lab, "siim", root=tmp_path),
        "used": lambda lab: (lab.runs_dir / "abcdef-mrm").mkdir(),
    }.items():
        lab = make_lab(tmp_path / name)
        change(lab)
        result = invoke("demo", "--dir", str(lab.root))
        assert result.exit_code == 2
        assert "is not empty and no demo lab" in result.stderr
