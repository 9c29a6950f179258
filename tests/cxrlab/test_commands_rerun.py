from __future__ import annotations

import contextlib
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli, launch, plan, rerunning
from cxrlab.lab import Lab, make_lab
from store import runs
from store.db import writing
from trainers import source
from trainers.data import generate

Begin = Callable[..., runs.Run]


@pytest.fixture
def finished(
    lab: Lab, db: Any, begin: Begin, wait_for_state: Callable[..., runs.Run], monkeypatch: Any
) -> Callable[..., runs.Run]:
    """Launch a pre-training of the fake trainer and run it to its end."""
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)

    def make(*overrides: tuple[str, str]) -> runs.Run:
        wants = plan.wanted(["mrm"], [], ratios=[], preset="quick", overrides=overrides)
        (made,) = launch.carry_out(lab, db, plan.plan(wants, []), gpus=0)
        return end(runs.get(db, made.id))

    def end(run: runs.Run) -> runs.Run:
        begin(run)
        return wait_for_state(run.id, "succeeded")

    make.end = end  # type: ignore[attr-defined]
    return make


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})


def compared(lab: Lab, *words: str) -> tuple[int, dict[str, Any]]:
    result = invoke(lab, "rerun", "--compare", *words, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_a_rerun_is_a_new_run_of_the_same_recipe_and_seed_and_comes_out_the_same(
    lab: Lab, db: Any, finished: Any
) -> None:
    first = finished(("fake_steps", "4"))
    result = invoke(lab, "rerun", first.id, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    assert told["rerun_of"] == first.id
    second = runs.get(db, told["id"])
    assert (second.recipe, second.seed, second.state) == (first.recipe, first.seed, "queued")
    assert second.folder != first.folder
    assert first.folder not in second.command
    finished.end(second)
    code, found = compared(lab, second.id)
    assert (code, found["same"], found["unlike"], found["made_of"]) == (0, True, [], [])
    assert found["numbers"] == 4
    assert "bit for bit" in invoke(lab, "rerun", "--compare", first.id, second.id).stdout


def test_what_differs_is_told_with_the_numbers_that_do(lab: Lab, finished: Any) -> None:
    first, second = finished(("fake_steps", "2")), finished(("fake_steps", "3"))
    made = {"commit": "1", "packages": {"torch": "2.1"}, "visible_devices": "GPU-1"}
    (Path(first.folder) / "provenance.json").write_text(json.dumps(made))
    made = {"commit": "1", "packages": {"torch": "2.2"}, "visible_devices": "GPU-2"}
    (Path(second.folder) / "provenance.json").write_text(json.dumps(made))
    code, found = compared(lab, first.id, second.id)
    assert (code, found["same"], found["numbers"]) == (1, False, 3)
    assert found["unlike"] == [
        {"metric": "train/loss", "step": 3, "before": None, "after": pytest.approx(1 / 3)}
    ]
    assert found["made_of"] == [
        {"name": "fake_steps", "before": 2, "after": 3},
        {"name": "packages.torch", "before": "2.1", "after": "2.2"},
    ]
    said = invoke(lab, "rerun", "--compare", first.id, second.id)
    assert said.exit_code == 1
    assert "1 of 3 numbers differ" in said.stdout
    assert "packages.torch" in said.stdout


def test_the_last_bit_counts(db: Any, finished: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    run = finished()
    told = iter([{("train/loss", 1): 0.1 + 0.2}, {("train/loss", 1): 0.3}])
    monkeypatch.setattr(rerunning, "numbers", lambda db, run: next(told))
    assert not rerunning.compare(db, run, run).same


def test_a_dry_run_queues_nothing(lab: Lab, db: Any, finished: Any) -> None:
    first = finished()
    result = invoke(lab, "rerun", first.id, "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "--output_dir" in result.stdout
    assert runs.count(db) == 1


def test_only_what_has_succeeded_is_run_again(lab: Lab, new_run: Any) -> None:
    result = invoke(lab, "rerun", new_run().id)
    assert result.exit_code == 1
    assert "only a run that has succeeded" in result.stderr


def test_a_run_that_repeats_none_needs_another_to_be_compared_with(lab: Lab, new_run: Any) -> None:
    result = invoke(lab, "rerun", "--compare", new_run().id)
    assert result.exit_code == 2
    assert "repeats no other run" in result.stderr


def test_a_rerun_executes_the_code_of_its_run(
    lab: Lab, db: Any, finished: Any, checkout: Any
) -> None:
    checkout.edit("one")
    first = finished()
    checkout.edit("two")
    second = runs.get(db, json.loads(invoke(lab, "rerun", first.id, "--json").stdout)["id"])
    finished.end(second)
    assert "the code says two" not in (Path(second.folder) / "log.txt").read_text()
    notes = [source.note(Path(run.folder)) for run in (first, second)]
    assert notes[0]["digest"] == notes[1]["digest"]
    assert notes[0]["commit"] == notes[1]["commit"]


def test_code_that_is_gone_is_made_anew_from_its_commit_and_its_changes(
    lab: Lab, db: Any, finished: Any, checkout: Any
) -> None:
    checkout.edit("one")
    (checkout.package / "new.py").write_text("FRESH = 1\n")
    first = finished()
    checkout.git("add", ".")
    checkout.git("commit", "-qm", "second")
    checkout.edit("two")
    shutil.rmtree(lab.code_dir)
    refused = invoke(lab, "rerun", first.id)
    assert (refused.exit_code, "--checkout" in refused.stderr) == (3, True)
    before = checkout.git("status", "--porcelain")
    result = invoke(lab, "rerun", first.id, "--checkout", "--json")
    assert result.exit_code == 0, result.stderr
    assert checkout.git("status", "--porcelain") == before
    second = runs.get(db, json.loads(result.stdout)["id"])
    finished.end(second)
    log = (Path(second.folder) / "log.txt").read_text()
    assert "the code says one" in log
    assert "the code says two" not in log
    (copy,) = lab.code_dir.glob("[!.]*")
    assert source.digest(copy / "trainers") == source.note(Path(first.folder))["digest"]


def test_a_checkout_that_is_other_code_is_refused_with_the_files(
    lab: Lab, finished: Any, checkout: Any
) -> None:
    checkout.edit("one")
    first = finished()
    patch = Path(first.folder) / "diff.patch"
    patch.write_text(patch.read_text().replace("says one", "says two"))
    result = invoke(lab, "rerun", first.id, "--checkout")
    assert result.exit_code == 1
    assert "is not the code of" in result.stderr
    assert "events.py" in result.stderr


def test_a_commit_that_is_not_there_is_said(
    lab: Lab, finished: Any, checkout: Any, tmp_path: Path
) -> None:
    first = finished()
    shutil.rmtree(checkout.root)
    other = tmp_path / "other"
    other.mkdir()
    result = invoke(lab, "rerun", first.id, "--checkout", "--repository", str(other))
    assert result.exit_code == 3
    assert "does not have commit" in result.stderr
    alone = invoke(lab, "rerun", first.id, "--repository", str(other))
    assert alone.exit_code == 2


def test_an_interpreter_that_is_gone_is_replaced_and_said(lab: Lab, db: Any, finished: Any) -> None:
    first = finished()
    with writing(db):
        command = json.dumps(["/gone/bin/python", *first.command[1:]])
        db.conn.execute("update runs set command = ? where id = ?", (command, first.id))
    result = invoke(lab, "rerun", first.id, "--json")
    assert "/gone/bin/python is gone" in result.stderr
    assert runs.get(db, json.loads(result.stdout)["id"]).command[0] == sys.executable


@pytest.mark.slow
def test_a_real_training_comes_out_bit_for_bit_from_a_checkout_of_its_code(
    tmp_path: Path, checkout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(generate.COLLECTIONS) - {"mimic_cxr", "mimic"}
    few = [word for name in sorted(others) for word in (f"--{name}", "0")]
    line = ["--out", str(tmp_path / "data"), "--count", "24", "--image_px", "64", "--workers", "1"]
    assert generate.main([*line, *few]) == 0
    lab = make_lab(tmp_path / "lab")
    lab.settings_file.write_text(
        "[launch]\ngpus = 0\ncpu_slots = 1\nthreads = 1\n"
        f'[data.mimic_cxr]\nroot = "{tmp_path / "data" / "mimic_cxr"}"\n'
    )
    with (checkout.package / "loop.py").open("a") as file:
        file.write("\n# as it was when it was queued\n")
    sizes = {"image_px": 32, "depth": 2, "steps": 3, "epochs": 0, "warmup_epochs": 0,
             "vocab_size": 300, "batch_size": 4, "log_every": 1}  # fmt: skip
    sets = [word for name, value in sizes.items() for word in ("--set", f"{name}={value}")]
    result = invoke(lab, "launch", "mrm", "--preset", "quick", *sets, "--wait", "--json")
    assert result.exit_code == 0, result.stderr
    (first,) = json.loads(result.stdout)
    loop = checkout.package / "loop.py"
    loop.write_text("raise SystemExit('edited since')\n")
    shutil.rmtree(lab.code_dir)
    again = invoke(lab, "rerun", first["id"], "--checkout", "--wait", "--json")
    assert again.exit_code == 0, again.stderr + again.stdout
    found = json.loads(again.stdout)
    assert (found["same"], found["unlike"], found["made_of"]) == (True, [], [])
    assert found["numbers"] > 10
    with contextlib.suppress(Exception):
        agent.end(lab)
