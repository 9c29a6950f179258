from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, cli
from cxrlab.lab import Lab
from store import runs
from trainers import catalog


def invoke(lab: Lab, *words: str, answer: str | None = None) -> Any:
    environment = {"COLUMNS": "100"}
    return CliRunner().invoke(
        cli.app, ["--lab", str(lab.root), *words], env=environment, input=answer
    )


def child(lab: Lab, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "cxrlab", "--lab", str(lab.root), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )


SIIM = ("launch", "deep_mrm", "--task", "siim", "--ratio", "10")


def test_a_dry_run_shows_every_command_and_queues_nothing(lab: Lab, db: Any) -> None:
    result = invoke(lab, *SIIM, "--dry-run")
    assert result.exit_code == 0
    assert "deep_mrm pretrain seed 0: no pre-training of deep_mrm" in result.stdout
    assert "--task siim --method deep_mrm --pretrained" in result.stdout
    assert runs.count(db) == 0
    assert not list(lab.runs_dir.iterdir())
    assert not agent.status(lab).alive


def test_a_variant_is_launched_by_its_name_and_fills_a_row_of_its_own(lab: Lab) -> None:
    asked = ("launch", "mrm+hog", "--task", "siim", "--ratio", "10", "--wait", "--json")
    first, second = json.loads(invoke(lab, *asked).stdout)
    assert [run["method"] for run in (first, second)] == ["mrm+hog", "mrm+hog"]
    assert second["state"] == "succeeded"
    filled = [c for c in json.loads(invoke(lab, "grid", "--json").stdout) if c["value"] is not None]
    assert {cell["method"] for cell in filled} == {"mrm+hog"}
    assert invoke(lab, "runs", "--method", "mrm+hog").stdout.count("mrm+hog") == 2


def test_all_methods_are_those_that_vary_no_other(lab: Lab) -> None:
    asked = ("launch", "all", "--task", "shenzhen", "--dry-run", "--json")
    planned = json.loads(invoke(lab, *asked).stdout)
    methods = {run["method"] for run in planned}
    assert {"random", "mrm", "deep_mrm"} <= methods <= set(catalog.main_methods())


def test_a_dry_run_as_json_gives_the_commands(lab: Lab) -> None:
    planned = json.loads(invoke(lab, *SIIM, "--dry-run", "--json").stdout)
    assert [(run["task"], run["id"], run["state"]) for run in planned] == [
        ("pretrain", None, "planned"),
        ("siim", None, "planned"),
    ]
    assert "--ratio" in planned[1]["command"]


def test_launch_waits_and_the_cell_has_its_number_and_its_origin(lab: Lab) -> None:
    result = invoke(lab, *SIIM, "--wait", "--json")
    assert result.exit_code == 0, result.stderr
    first, second = json.loads(result.stdout)
    assert (first["state"], second["state"]) == ("succeeded", "succeeded")
    cells = json.loads(invoke(lab, "grid", "--json").stdout)
    (cell,) = [c for c in cells if c["value"] is not None]
    assert (cell["method"], cell["task"], cell["ratio"], cell["metric"]) == (
        "deep_mrm", "siim", 10, "Dice",
    )  # fmt: skip
    shown = json.loads(invoke(lab, "show", second["id"], "--json").stdout)
    assert shown["encoder"]["run"] == first["id"]
    assert len(shown["encoder"]["sha256"]) == 64
    again = json.loads(invoke(lab, *SIIM, "--json").stdout)
    assert [(run["id"], run["new"]) for run in again] == [(second["id"], False)]


def test_waiting_in_a_pipe_tells_each_change_on_stderr_and_ids_on_stdout(lab: Lab) -> None:
    result = invoke(lab, "launch", "random", "--task", "siim", "--ratio", "10", "--wait")
    assert result.exit_code == 0
    id = result.stdout.split()[0]
    assert f"{id} random siim 10 % seed 0: succeeded" in result.stderr


def test_waiting_for_a_run_that_fails_is_exit_1_and_says_where_to_look(lab: Lab) -> None:
    result = invoke(lab, *SIIM, "--set", "fake_end=fail:no luck", "--wait")
    assert result.exit_code == 1
    assert "no luck" in result.stderr
    assert "cxrlab logs" in result.stderr


def test_waiting_ends_when_what_is_waited_for_has_failed(lab: Lab) -> None:
    result = invoke(lab, *SIIM, "--set", "pretrain.fake_end=fail:no luck", "--wait", "--json")
    assert result.exit_code == 1
    assert [run["state"] for run in json.loads(result.stdout)] == ["failed", "blocked"]


def test_an_interrupted_wait_leaves_the_runs_running_and_says_so(lab: Lab, db: Any) -> None:
    options = ("--set", "fake_steps=100000", "--set", "fake_step_s=0.05", "--wait")
    waiting = child(lab, "launch", "mrm", *options)
    assert waiting.stderr is not None
    while ": running" not in waiting.stderr.readline():
        assert waiting.poll() is None
    (run,) = runs.select(db, states=("running",))
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=900)
    assert waiting.returncode == 130
    assert "the runs go on" in said
    assert "Traceback" not in said
    shown = json.loads(invoke(lab, "show", run.id, "--json").stdout)
    assert shown["state"] == "running"
    stopped = invoke(lab, "stop", run.id)
    assert (stopped.exit_code, "stopped" in stopped.stdout) == (0, True)
    resumed = json.loads(invoke(lab, "resume", run.id, "--json").stdout)
    assert resumed[0]["state"] in ("queued", "running")


def test_seeds_and_tasks_are_given_with_commas_or_again(lab: Lab) -> None:
    words = ("launch", "random", "--task", "siim,shenzhen", "--task", "shenzhen_lungs")
    result = invoke(lab, *words, "--seed", "0,1", "--seed", "2", "--dry-run", "--json")
    planned = json.loads(result.stdout)
    assert len(planned) == 4 * 3  # siim has two ratios
    assert {run["seed"] for run in planned} == {0, 1, 2}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("launch", "mrn"), 3, "did you mean `mrm`?"),
        (("launch", "mrm", "--task", "sim"), 3, "did you mean `siim`?"),
        (("launch", "mrm", "--task", "siim", "--ratio", "ten"), 2, "whole number"),
        (("launch", "mrm", "--task", "siim", "--ratio", "7"), 2, "10, 100"),
        (("launch", "mrm", "--set", "epochs"), 2, "KEY=VALUE"),
        (("launch", "mrm", "--gpus", "two"), 2, "--gpus 1"),
        (("launch", "mrm", "--pretrained", "nowhere.pt"), 3, "neither a run nor a file"),
        (("launch", "random"), 2, "is not pre-trained"),
        (("launch", "mrm", "--backend", "cloud"), 2, "backend"),
    ],
)
def test_what_cannot_work_is_told_before_anything_is_queued(
    lab: Lab, db: Any, words: tuple[str, ...], code: int, said: str
) -> None:
    result = invoke(lab, *words)
    assert result.exit_code == code
    assert said in result.stderr
    assert result.stdout == ""
    assert runs.count(db) == 0


def test_a_refusal_of_the_trainer_is_shown_as_it_put_it(lab: Lab, db: Any) -> None:
    result = invoke(lab, "launch", "mrm", "--set", "fake_refuse=`mask_ratio` is 2")
    assert result.exit_code == 2
    assert result.stderr == "error: `mask_ratio` is 2\n"
    assert runs.count(db) == 0


def test_rm_without_a_terminal_refuses_to_guess(lab: Lab, new_run: Any, db: Any) -> None:
    run = new_run()
    result = invoke(lab, "rm", run.id)
    assert result.exit_code == 2
    assert "--yes" in result.stderr
    assert runs.get(db, run.id)
    assert Path(run.folder).is_dir()


def test_rm_with_yes_removes_row_and_folder(lab: Lab, new_run: Any, db: Any) -> None:
    run = new_run()
    assert invoke(lab, "rm", run.id, "--yes").exit_code == 0
    assert runs.count(db) == 0
    assert not Path(run.folder).exists()


def test_rm_keeps_a_run_that_others_start_from(lab: Lab, new_run: Any, db: Any) -> None:
    parent = new_run()
    later = new_run(task="siim", ratio=10, parent=parent.id, needs=(parent.id,))
    result = invoke(lab, "rm", parent.id, "--yes")
    assert result.exit_code == 1
    assert later.id in result.stderr
    assert Path(parent.folder).is_dir()


def test_logs_prints_the_last_lines_of_a_log_of_many_gibibytes_at_once(
    lab: Lab, new_run: Any
) -> None:
    run = new_run()
    with (Path(run.folder) / "log.txt").open("wb") as file:
        file.truncate(20 * 2**30)  # a hole: takes no space
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + b"".join(b"line %d\n" % i for i in range(500)))
    result = invoke(lab, "logs", run.id, "-n", "3")
    assert result.stdout == "line 497\nline 498\nline 499\n"


@pytest.mark.parametrize(
    ("content", "lines", "said"),
    [
        ("a\nb\nc\n", 2, "b\nc\n"),
        ("a\nb\nc", 2, "b\nc"),
        ("a\n", 5, "a\n"),
        ("", 5, ""),
        ("a\n\n\n", 2, "\n\n"),
        ("a\nb\n", 0, "a\nb\n"),
        ("x" * 200_000 + "\nend\n", 1, "end\n"),
        ("first\n" + "x" * 200_000 + "\n", 1, "x" * 200_000 + "\n"),
    ],
)
def test_the_last_lines_are_whole(
    lab: Lab, new_run: Any, content: str, lines: int, said: str
) -> None:
    run = new_run()
    (Path(run.folder) / "log.txt").write_text(content)
    assert invoke(lab, "logs", run.id, "-n", str(lines)).stdout == said


def test_logs_of_a_run_that_has_none_says_why(lab: Lab, new_run: Any) -> None:
    result = invoke(lab, "logs", new_run().id)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "is queued" in result.stderr


def test_following_a_log_ends_with_the_run_and_loses_no_line(
    lab: Lab, trainer: Any, begin: Any
) -> None:
    run = begin(trainer("--fake_steps", "40", "--fake_step_s", "0.05"))
    follower = child(lab, "logs", run.id, "-f")
    said, talk = follower.communicate(timeout=900)
    assert follower.returncode == 0
    assert said == (Path(run.folder) / "log.txt").read_text()
    assert talk.strip() == f"{run.id} succeeded"


def test_following_does_not_go_with_json(lab: Lab, new_run: Any) -> None:
    assert invoke(lab, "logs", new_run().id, "-f", "--json").exit_code == 2


def test_the_agent_is_started_told_of_and_ended(lab: Lab) -> None:
    assert json.loads(invoke(lab, "agent", "status", "--json").stdout)["alive"] is False
    started = json.loads(invoke(lab, "agent", "start", "--json").stdout)
    assert started["alive"]
    again = invoke(lab, "agent", "start")
    assert "is there already" in again.stdout
    assert "ended" in invoke(lab, "agent", "stop").stdout
    assert "none lives" in invoke(lab, "agent", "status").stdout


def test_rebuild_finds_the_runs_again_from_their_folders_alone(lab: Lab) -> None:
    assert invoke(lab, *SIIM, "--wait").exit_code == 0
    agent.end(lab)
    before = json.loads(invoke(lab, "grid", "--json").stdout)
    for name in ("registry.db", "registry.db-wal", "registry.db-shm"):
        (lab.registry.parent / name).unlink(missing_ok=True)
    assert json.loads(invoke(lab, "rebuild", "--json").stdout)["runs"] == 2
    after = json.loads(invoke(lab, "grid", "--json").stdout)
    assert [(c["value"], c["n"], c["runs"]) for c in after] == [
        (c["value"], c["n"], c["runs"]) for c in before
    ]


def test_a_sweep_queues_a_run_for_every_combination(lab: Lab) -> None:
    line = ["launch", "mrm", "--sweep", "fake_steps=3,5", "--sweep", "fake_step_s=0.1,0.2"]
    result = invoke(lab, *line, "--seed", "0..1", "--preset", "quick", "--dry-run", "--json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    told = {(run["seed"], *run["command"][-2:]) for run in found}
    assert told == {
        (seed, f"--fake_steps={steps}", f"--fake_step_s={step_s}")
        for seed in (0, 1)
        for steps in (3, 5)
        for step_s in (0.1, 0.2)
    }
    assert len({run["recipe"] for run in found}) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "blr="], "no values"),
        (["--sweep", "a=" + ",".join(map(str, range(2000)))], "1000 combinations"),
        (["--sweep", "seed=1,2"], "`--seed`"),
        (["--seed", "4..0"], "goes nowhere"),
        (["--seed", "0..99999"], "too far"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused(lab: Lab, words: list[str], said: str) -> None:
    result = invoke(lab, "launch", "mrm", *words)
    assert result.exit_code == 2
    assert said in result.stderr
