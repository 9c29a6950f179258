from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, cloning, launch, plan
from cxrlab.lab import Lab
from store import runs


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)


@pytest.fixture
def tuned(lab: Lab, db: Any) -> runs.Run:
    """A fine-tuning behind its pre-training, both queued, with a setting given by hand."""
    wants = plan.wanted(
        ["mrm"], ["siim"], ratios=[10], preset="quick", overrides=(("fake_steps", "7"),)
    )
    launched = launch.carry_out(lab, db, plan.plan(wants, launch.pretrainings(db)), gpus=0)
    return runs.get(db, launched[-1].id)


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "80"})


def test_a_clone_has_what_was_set_by_hand_and_what_is_changed(
    lab: Lab, db: Any, tuned: runs.Run
) -> None:
    result = invoke(lab, "clone", tuned.id, "--set", "fake_step_s=0.5", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    made = runs.get(db, told["id"])
    assert (made.method, made.task, made.ratio, made.seed) == ("mrm", "siim", 10, 0)
    assert "--fake_steps=7" in made.command
    assert "--fake_step_s=0.5" in made.command
    assert (made.parent, made.needs) == (tuned.parent, tuned.needs)
    assert {"name": "fake_step_s", "before": 0.01, "after": 0.5} in told["differences"]
    assert [each["name"] for each in told["differences"]] == ["fake_step_s"]


def test_a_clone_without_a_change_is_there_already(lab: Lab, tuned: runs.Run) -> None:
    result = invoke(lab, "clone", tuned.id)
    assert result.exit_code == 0, result.stderr
    assert tuned.id in result.stdout
    assert "is there already" in result.stdout
    assert "no setting is another one" in result.stderr


def test_another_seed_is_another_run_of_the_same_recipe(lab: Lab, db: Any, tuned: runs.Run) -> None:
    result = invoke(lab, "clone", tuned.id, "--seed", "3", "--json")
    made = runs.get(db, json.loads(result.stdout)["id"])
    assert (made.seed, made.recipe) == (3, tuned.recipe)


def test_a_dry_run_queues_nothing(lab: Lab, db: Any, tuned: runs.Run) -> None:
    before = runs.count(db)
    result = invoke(lab, "clone", tuned.id, "--set", "fake_steps=9", "--dry-run")
    assert result.exit_code == 0, result.stderr
    assert "fake_steps" in result.stdout
    assert runs.count(db) == before


def test_what_has_an_option_of_its_own_cannot_be_set(lab: Lab, tuned: runs.Run) -> None:
    result = invoke(lab, "clone", tuned.id, "--set", "seed=3")
    assert result.exit_code == 2
    assert "--seed" in result.stderr


def test_a_run_that_was_not_launched_here_cannot_be_cloned(lab: Lab, new_run: Any) -> None:
    result = invoke(lab, "clone", new_run(command=["true"]).id)
    assert result.exit_code == 2
    assert "not launched here" in result.stderr


@pytest.mark.parametrize(
    ("words", "settings"),
    [
        (["--blr=1e-4", "--compile", "--no_norm_pix_loss"],
         (("blr", "1e-4"), ("compile", "true"), ("norm_pix_loss", "false"))),
        ([], ()),
        (["--tokenizer=a b=c"], (("tokenizer", "a b=c"),)),
    ],
)  # fmt: skip
def test_settings_are_read_from_a_command(words: list[str], settings: Any, tmp_path: Path) -> None:
    assert cloning.told_by_hand(["python", "--threads", "1", *words]) == settings
