from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli
from cxrlab import plan as plans
from cxrlab.asked import Asked
from cxrlab.backends import job
from cxrlab.commands import fill as command
from cxrlab.filling import outlook
from cxrlab.lab import Lab
from store import mending, queue, runs
from trainers.catalog import PRETRAIN


@pytest.fixture(autouse=True)
def _no_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave what is queued in the queue."""
    monkeypatch.setattr(agent, "ensure_agent", lambda lab: None)


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "110"})


def filled(lab: Lab, *words: str) -> list[dict[str, Any]]:
    result = invoke(lab, "fill", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def cells(db: Any) -> list[tuple[str, str, int | None, int]]:
    return [(r.method, r.task, r.ratio, r.seed) for r in runs.select(db)]


SIIM = ("mrm", "--task", "siim", "--ratio", "10")


def test_what_is_lacking_is_queued_with_its_pre_training_first(lab: Lab, db: Any) -> None:
    first, second = filled(lab, *SIIM)
    assert (first["task"], first["state"]) == ("pretrain", "queued")
    assert (second["task"], second["state"], second["needs"]) == ("siim", "blocked", [first["id"]])


def test_filling_twice_queues_nothing_twice(lab: Lab, db: Any) -> None:
    assert len(filled(lab, *SIIM)) == 2
    assert filled(lab, *SIIM) == []
    assert len(filled(lab, *SIIM, "--seed", "0,1")) == 1
    assert set(cells(db)) == {
        ("mrm", "pretrain", None, 0),
        ("mrm", "siim", 10, 0),
        ("mrm", "siim", 10, 1),
    }
    assert runs.count(db) == 3


def test_what_launch_has_queued_is_not_queued_again(lab: Lab, db: Any) -> None:
    assert invoke(lab, "launch", *SIIM).exit_code == 0
    assert filled(lab, *SIIM) == []
    assert runs.count(db) == 2


def test_every_state_that_stands_for_a_run_keeps_it_from_being_queued(lab: Lab, db: Any) -> None:
    (run,) = filled(lab, "random", "--task", "shenzhen")
    for state in runs.THERE:
        runs.change_state(db, run["id"], state)
        assert filled(lab, "random", "--task", "shenzhen") == []
    runs.change_state(db, run["id"], "failed")
    assert len(filled(lab, "random", "--task", "shenzhen")) == 1


def test_seeds_of_an_older_recipe_do_not_count(lab: Lab, db: Any, new_run: Any) -> None:
    for seed, recipe in ((0, "old"), (1, "new")):
        run = new_run(method="random", task="shenzhen", ratio=100, seed=seed, recipe=recipe)
        runs.change_state(db, run.id, "succeeded")
    found = outlook.look(lab, db, Asked(("random",), ("shenzhen",), (), (0, 1), "quick"))
    assert [(step.method, step.seed) for step in found.plan.steps] == [("random", 0)]
    assert [job.fills for job in found.jobs] == [False]


@pytest.mark.parametrize("state", ["stopped", "lost", "failed"])
def test_a_run_with_a_checkpoint_goes_on_and_its_fine_tunings_wait_for_it(
    lab: Lab, db: Any, state: str
) -> None:
    (pre,) = filled(lab, "mrm", "--task", "pretrain")
    last = Path(runs.get(db, pre["id"]).folder) / job.LAST_CHECKPOINT
    last.parent.mkdir(parents=True)
    last.write_text("{}")
    runs.change_state(db, pre["id"], state)
    goes_on, waits = filled(lab, *SIIM)
    assert (goes_on["id"], goes_on["state"], goes_on["why"]) == (pre["id"], "queued", "goes on")
    assert (waits["needs"], waits["state"]) == ([pre["id"]], "blocked")


def test_what_others_wait_for_in_vain_goes_on_though_it_left_nothing(lab: Lab, db: Any) -> None:
    pre, tuned = filled(lab, *SIIM)
    runs.change_state(db, pre["id"], "failed")
    (goes_on,) = filled(lab, *SIIM)
    assert (goes_on["id"], goes_on["state"]) == (pre["id"], "queued")
    assert runs.get(db, tuned["id"]).state == "blocked"
    assert runs.count(db) == 2


def test_a_held_run_is_counted_and_not_expected_to_start(lab: Lab, db: Any) -> None:
    (run,) = filled(lab, "random", "--task", "shenzhen")
    queue.hold(db, [run["id"]])
    found = outlook.look(lab, db, Asked(("random",), ("shenzhen",), preset="quick"))
    assert [(job.run_id, job.stuck) for job in found.jobs] == [(run["id"], "held")]
    assert found.spans == {}


def test_a_run_without_a_checkpoint_is_launched_anew(lab: Lab, db: Any) -> None:
    (run,) = filled(lab, "random", "--task", "shenzhen")
    runs.change_state(db, run["id"], "stopped")
    (again,) = filled(lab, "random", "--task", "shenzhen")
    assert again["id"] != run["id"]


def test_a_dry_run_queues_nothing_and_gives_the_commands(lab: Lab, db: Any) -> None:
    planned = filled(lab, *SIIM, "--dry-run")
    assert [(run["task"], run["state"]) for run in planned] == [
        ("pretrain", "planned"),
        ("siim", "planned"),
    ]
    assert "--ratio" in planned[1]["command"]
    assert runs.count(db) == 0


def test_more_than_a_handful_is_asked_about_and_not_guessed(lab: Lab, db: Any) -> None:
    many = ("random", "--task", "siim", "--seed", "0,1,2")
    result = invoke(lab, "fill", *many)
    assert result.exit_code == 2
    assert "6 runs would be queued" in result.stderr
    assert "--yes" in result.stderr
    assert "random: siim 10 %, 10 % seed 1" in result.stderr
    assert runs.count(db) == 0
    assert len(filled(lab, *many, "--yes")) == 6


@pytest.mark.parametrize(("says", "number", "code"), [("y\n", 6, 0), ("n\n", 0, 1)])
def test_the_answer_decides(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch, says: str, number: int, code: int
) -> None:
    terminal = SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(command, "sys", SimpleNamespace(stdin=terminal))
    monkeypatch.setattr(command.typer, "confirm", lambda *_, **__: says == "y\n")
    result = invoke(lab, "fill", "random", "--task", "siim", "--seed", "0,1,2")
    assert result.exit_code == code
    assert runs.count(db) == number


def test_what_cannot_be_made_here_is_told_and_the_rest_is_queued(lab: Lab, db: Any) -> None:
    result = invoke(lab, "fill", "random", "--task", "nih,shenzhen", "--json")
    assert [run["task"] for run in json.loads(result.stdout)] == ["shenzhen"]
    assert "left out: nih of random (3 runs): `[data.nih]` is not in cxrlab.toml" in result.stderr


def test_fine_tunings_are_left_out_where_their_pre_training_cannot_be_made(
    lab: Lab, db: Any
) -> None:
    text = lab.settings_file.read_text()
    lab.settings_file.write_text(text.replace("[data.mimic_cxr]", "[data.rsna]"))
    result = invoke(lab, "fill", "mrm", "--task", "shenzhen", "--json")
    assert json.loads(result.stdout) == []
    assert "needs a pre-training: `[data.mimic_cxr]`" in result.stderr


def test_the_queue_has_the_order_of_the_forecast(lab: Lab, db: Any, new_run: Any) -> None:
    def measured(method: str, task: str, ratio: int | None, seconds: float) -> None:
        run = new_run(method=method, task=task, ratio=ratio, recipe=f"{task}{ratio}", seed=9)
        with db.conn:
            db.conn.execute(
                """
                insert into attempts (run, attempt, started, ended, first_step, total_steps)
                select seq, 1, 0.0, ?, 0, 10 from runs where id = ?
                """,
                (seconds, run.id),
            )
            db.conn.execute("update runs set total = 10, done = 10 where id = ?", (run.id,))
        runs.change_state(db, run.id, "failed")
        runs.change_state(db, run.id, "succeeded" if task == PRETRAIN else "failed")

    for task, ratio, seconds in (("siim", 100, 500.0), ("siim", 10, 50.0), ("shenzhen", 100, 5.0)):
        measured("random", task, ratio, seconds)
    queued = filled(lab, "random", "--task", "siim,shenzhen")
    assert [(run["task"], run["ratio"]) for run in queued] == [
        ("shenzhen", 100),
        ("siim", 10),
        ("siim", 100),
    ]


def test_steps_keep_what_they_wait_for_when_they_change_places() -> None:
    wants = plans.wanted(["mrm", "refers"], ["siim"], ratios=[10])
    made = plans.plan(wants, [])
    order = sorted(range(len(made.steps)), key=lambda i: (made.steps[i].method != "refers", i))
    moved = outlook.reordered(made, order)
    assert [step.method for step in moved.steps] == ["refers", "refers", "mrm", "mrm"]
    for step in moved.steps:
        if step.after is not None:
            assert moved.steps[step.after].task == PRETRAIN
            assert moved.steps[step.after].method == step.method


def test_new_runs_ask_for_what_was_said_and_what_cannot_be_halved_is_told(
    lab: Lab, db: Any
) -> None:
    words = ("--gpus", "1", "--gpu-memory", "22", "--share", "--priority", "3")
    told = invoke(
        lab, "fill", "mrm", "convirt", "--task", "pretrain", *words, "--on-oom", "halve"
    ).stderr
    assert "`--on-oom halve` is not for convirt" in told
    made = {run.method: run for run in runs.select(db)}
    assert {(r.gpus, r.gpu_mib, r.share, r.priority) for r in made.values()} == {
        (1, 22 * 1024, True, 3)
    }
    assert {name: mending.of_run(db, run.id).on_oom for name, run in made.items()} == {
        "mrm": "halve",
        "convirt": "",
    }


def test_new_runs_go_to_the_cluster_where_that_is_said(lab: Lab, db: Any) -> None:
    (run,) = filled(lab, "random", "--task", "shenzhen", "--backend", "slurm", "--nodes", "2")
    made = runs.get(db, run["id"])
    assert (made.backend, made.nodes, made.gpus) == ("slurm", 2, 1)
    refused = invoke(lab, "fill", "mrm", "--task", "pretrain", "--nodes", "2")
    assert (refused.exit_code, runs.count(db)) == (2, 1)
    assert "`--backend slurm` has more" in refused.stderr
