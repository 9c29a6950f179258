"""What people are shown of GPUs, and how they ask for them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, checkup, cli
from cxrlab.gpus import FAKE_VARIABLE
from cxrlab.lab import Lab, find_lab
from store import claims, runs


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words), env={"COLUMNS": "100"})


@pytest.fixture(autouse=True)
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that stands for the driver: one GPU that is used, one idle, one cut into instances."""
    path = tmp_path / "gpus.json"
    blank = {"name": "NVIDIA H200", "used_mib": 0, "total_mib": 144384}
    used = {
        "index": 0, "uuid": "GPU-a", "used_mib": 20480, "utilization": 97, "temperature": 61,
        "power_w": 512, "processes": [[1, "ada", 10240], [2, "bob", None]],
    }  # fmt: skip
    idle, cut = {"index": 1, "uuid": "GPU-b"}, {"index": 2, "uuid": "GPU-c", "mig": True}
    path.write_text(json.dumps([{**blank, **one} for one in (used, idle, cut)]))
    monkeypatch.setenv(FAKE_VARIABLE, str(path))
    return path


@pytest.fixture
def lab(lab: Lab) -> Lab:
    said = lab.settings_file.read_text().replace("gpus = 0", "gpus = [0, 2]")
    lab.settings_file.write_text(said)
    return find_lab(lab.root)


def gpus(lab: Lab) -> Any:
    return json.loads(invoke("--lab", str(lab.root), "gpus", "--json").stdout)


def test_gpus_are_shown_with_load_and_whose_they_are(lab: Lab, db: Any, new_run: Any) -> None:
    said = invoke("--lab", str(lab.root), "gpus").stdout
    for part in ("97 %", "61 °C", "512 W", "20.0/141.0 GiB", "other users: ada, 10 GiB; bob"):
        assert part in said
    run = new_run()
    claims.claim(db, run.id, ["GPU-a"])
    said = invoke("--lab", str(lab.root), "gpus").stdout
    owners = ("not for runs", "MIG, left alone", f"ours: {run.id}, beside ada, 10 GiB; bob")
    for part in owners:
        assert part in said
    assert max(len(line) for line in said.splitlines()) <= 100


def test_programs_are_told_the_owner_in_a_word(lab: Lab, db: Any, new_run: Any) -> None:
    run = new_run()
    claims.claim(db, run.id, ["GPU-x", "GPU-a"])
    told = gpus(lab)
    assert [gpu["owner"] for gpu in told["gpus"]] == ["ours", "left out", "mig", "gone"]
    assert [gpu["run"] for gpu in told["gpus"]] == [run.id, None, None, run.id]
    assert told["gpus"][0]["others"] == [
        {"user": "ada", "mib": 10240},
        {"user": "bob", "mib": None},
    ]
    assert told["gpus"][3] == {
        "uuid": "GPU-x", "owner": "gone", "runs": [run.id], "run": run.id, "others": []
    }  # fmt: skip
    assert (told["known"], told["error"]) == (True, "")


def test_without_gpus_it_says_so_and_succeeds(driver: Path) -> None:
    driver.write_text("[]")
    result = invoke("gpus")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no GPU is there" in result.stderr


def test_gpus_that_cannot_be_read_are_a_state_and_no_error(lab: Lab, driver: Path) -> None:
    driver.write_text("{")
    result = invoke("--lab", str(lab.root), "gpus")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "GPUs unknown since " in result.stderr
    told = gpus(lab)
    assert (told["gpus"], told["known"]) == ([], False)
    assert told["unknown_since"] > 0


def test_the_checkup_tells_of_gpus_that_are_gone_or_cannot_be_read(
    lab: Lab, db: Any, new_run: Any, driver: Path
) -> None:
    assert checkup.graphics(lab).says == "3: NVIDIA H200; 1 in MIG mode and left alone"
    assert checkup.graphics(None).level == "ok"
    run = new_run()
    claims.claim(db, run.id, ["GPU-x"])
    found = checkup.graphics(lab)
    assert (found.level, found.says) == (
        "warning",
        f"GPU-x, on which {run.id} runs, is no longer there",
    )
    driver.write_text("{")
    found = checkup.graphics(lab)
    assert (found.level, found.says[:9]) == ("warning", "unknown: ")
    driver.write_text("[]")
    claims.release(db, run.id)
    assert checkup.graphics(lab).says == "no GPU is there; runs use the CPU"


def launch(lab: Lab, *words: str) -> Any:
    cell = ("launch", "random", "--task", "shenzhen", "--ratio", "100")
    return invoke("--lab", str(lab.root), *cell, *words)


def test_what_a_run_asks_of_a_gpu_is_kept_and_its_clone_asks_the_same(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "ensure_agent", lambda lab, **extra: None)
    result = launch(lab, "--gpus", "1", "--gpu-memory", "22", "--share", "--json")
    assert "it needs about 22 GiB of a GPU" in result.stderr
    (told,) = json.loads(result.stdout)
    assert (told["gpus"], told["gpu_mib"], told["share"]) == (1, 22 * 1024, True)
    invoke("--lab", str(lab.root), "clone", told["id"], "--seed", "7")
    cloned = next(run for run in runs.select(db) if run.seed == 7)
    assert (cloned.gpu_mib, cloned.share) == (22 * 1024, True)


def test_one_who_asks_to_share_without_a_known_need_is_told_how_to_give_one(lab: Lab) -> None:
    result = launch(lab, "--gpus", "1", "--share", "--dry-run", "--json")
    assert "`--gpu-memory GIB`" in result.stderr
    (told,) = json.loads(result.stdout)
    assert (told["gpu_mib"], told["share"]) == (None, True)
    quiet = launch(lab, "--gpus", "1", "--dry-run").stderr
    assert "gpu-memory" not in quiet
    assert launch(lab, "--gpu-memory", "0").exit_code == 2
