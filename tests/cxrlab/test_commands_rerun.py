from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, launch, plan, rerunning
from cxrlab.lab import Lab
from store import runs

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
