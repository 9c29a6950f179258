from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.agent import Agent
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import steering
from store import points, queue, results, runs

PROGRAM = """
import json, os, sys, time
print("Namespace(blr=0.0003, epochs=2)")
for epoch in range(2):
    for i in range(3):
        loss = 1 / (3 * epoch + i + 1)
        print(f"Epoch: [{epoch}]  [{i}/3]  eta: 0:00:01  lr: 0.1  loss: {loss:.4f}")
    with open("work/log.txt", "a") as file:
        file.write(json.dumps({"val_loss": 0.5 - epoch / 10, "epoch": epoch}) + "\\n")
print("port", os.environ["MASTER_PORT"], *sys.argv[1:], flush=True)
print("Test: AUROC: 81.5")
sys.exit(int(os.environ.get("HOW", "0")))
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "their code"
    (place / "work").mkdir(parents=True)
    (place / "train.py").write_text(PROGRAM)
    (place / "neighbour.py").write_text("")
    monkeypatch.chdir(place)
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    return place


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(
        cli.app, ["--lab", str(lab.root), "run", *words], env={"COLUMNS": "80"}
    )


def queued(lab: Lab, db: Any, *words: str) -> runs.Run:
    cell = ["--method", "mrm", "--task", "nih", "--ratio", "10", "--gpus", "cpu", "--json"]
    result = invoke(lab, *cell, *words)
    assert result.exit_code == 0, result.stderr
    return runs.get(db, json.loads(result.stdout)[0]["id"])


def test_a_program_of_ones_own_fills_a_cell_from_its_log(
    lab: Lab, db: Any, folder: Path, wait_for_state: Any
) -> None:
    run = queued(
        lab, db, "--result", "AUROC=AUROC%", "--watch", "work", "--seed", "3",
        "--", sys.executable, "train.py", "--master_port", "12345", "--epochs", "2",
        "--out={run_dir}", "--seed", "{seed}",
    )  # fmt: skip
    assert (run.method, run.task, run.ratio, run.seed) == ("mrm", "nih", 10, 3)
    Agent(lab, idle_s=1.0).one_pass()
    assert wait_for_state(run.id, *runs.ENDED).state == "succeeded"
    assert [(n.metric, n.value) for n in results.of_run(db, run.id)] == [("test/AUROC", 0.815)]
    losses = points.curve(db, run.id, "train/loss")
    assert [step for step, _ in losses] == [0, 1, 2, 3, 4, 5]
    assert losses[-1][1] == pytest.approx(1 / 6, abs=1e-4)
    assert points.curve(db, run.id, "val/loss")[-1][1] == pytest.approx(0.4)
    log = (Path(run.folder) / "log.txt").read_text()
    said = next(line for line in log.splitlines() if line.startswith("port ")).split()
    assert said[1] == said[3] != "12345"
    assert f"--out={run.folder}" in said
    assert said[-2:] == ["--seed", "3"]


def test_the_same_program_with_the_same_seed_is_there_already(
    lab: Lab, db: Any, folder: Path
) -> None:
    line = ["--", sys.executable, "train.py"]
    first, again = queued(lab, db, *line), queued(lab, db, *line)
    other = queued(lab, db, "--seed", "1", *line)
    assert first.id == again.id != other.id
    assert first.recipe == other.recipe
    repeat = queued(lab, db, "--again", *line)
    assert repeat.recipe == first.recipe
    assert repeat.id not in (first.id, other.id)


def test_a_program_that_fails_says_why_in_its_own_words(
    lab: Lab, db: Any, folder: Path, wait_for_state: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOW", "3")
    run = queued(lab, db, "--env", "HOW", "--", sys.executable, "train.py")
    monkeypatch.delenv("HOW")  # kept as it was when it was queued
    Agent(lab, idle_s=1.0).one_pass()
    ended = wait_for_state(run.id, *runs.ENDED)
    assert (ended.state, ended.reason) == ("failed", "Test: AUROC: 81.5")


KILLED = (
    "import os, pathlib; mark = pathlib.Path(r'{run_dir}/begun'); again = mark.exists(); "
    "mark.touch(); again or os.kill(os.getppid(), 9); print('went on')"
)


@pytest.mark.parametrize("restartable", [True, False])
def test_a_lost_program_starts_again_by_itself_only_where_it_may(
    lab: Lab, db: Any, folder: Path, wait_until: Any, restartable: bool
) -> None:
    source = lab.settings_file.read_text()
    lab.settings_file.write_text(source.replace("retry_lost = 0", "retry_lost = 3"))
    lab = find_lab(lab.root)
    words = ["--restartable"] if restartable else []
    run = queued(lab, db, *words, "--", sys.executable, "-c", KILLED)
    agent = Agent(lab, idle_s=1.0)

    def after(*states: str) -> runs.Run | None:
        agent.one_pass()
        now = runs.get(db, run.id)
        return now if now.attempt and now.state in states else None

    lost = wait_until(lambda: after("queued", "lost", "failed"))
    if not restartable:
        assert lost.state == "lost"
        assert lost.reason.endswith("a program of your own, which was not said to be restartable")
        return
    assert (lost.state, lost.reason[:10]) == ("queued", "lost once,")
    queue.release(db, [run.id])
    assert wait_until(lambda: after(*runs.ENDED)).state == "succeeded"
    assert "went on" in (Path(run.folder) / "log.txt").read_text()


def test_what_a_cluster_starts_again_is_told_by_the_same_word(
    lab: Lab, db: Any, folder: Path
) -> None:
    def script(*words: str) -> str:
        cell = ["--method", "mrm", "--task", "nih", "--ratio", "10", "--gpus", "cpu"]
        return str(
            invoke(lab, *cell, *words, "--backend", "slurm", "--dry-run", "--", "sleep", "9").stdout
        )

    assert "#SBATCH --no-requeue" in script()
    assert "#SBATCH --requeue" in script("--restartable")


def test_a_program_is_stopped_with_all_it_started(
    lab: Lab, db: Any, folder: Path, wait_until: Any
) -> None:
    code = "import subprocess, sys, time; print('loss: 0.5', flush=True); time.sleep(600)"
    run = queued(lab, db, "--", sys.executable, "-c", code)
    Agent(lab, idle_s=1.0).one_pass()
    wait_until(lambda: "loss" in (Path(run.folder) / "log.txt").read_text())
    stopped = steering.stop(lab, db, runs.get(db, run.id))
    assert (stopped.state, stopped.reason) == ("stopped", "SIGTERM received")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--method", "mrn", "--task", "nih", "--ratio", "1", "--", "true"], 3, "did you mean"),
        (["--method", "mrm", "--task", "nih", "--", "true"], 2, "`--ratio`"),
        (["--method", "mrm", "--task", "pretrain", "--", "no-such-program"], 3, "no-such-program"),
        (["--method", "mrm", "--task", "pretrain", "--watch", "away", "--", "true"], 3, "away"),
        (["--method", "mrm", "--task", "pretrain", "--env", "NONE_SUCH", "--", "true"], 3, "NONE"),
        (["--method", "mrm", "--task", "nih", "--ratio", "1", "--result", "AUROC", "--", "true"], 2,
         "Dice=test_dice"),
        (["--method", "mrm", "--task", "nih", "--ratio", "1", "--result", "x=y", "--", "true"], 2,
         "no metric"),
        (["--method", "mrm", "--task", "pretrain"], 2, "COMMAND"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(
    lab: Lab, db: Any, folder: Path, words: list[str], code: int, said: str
) -> None:
    result = invoke(lab, *words)
    assert result.exit_code == code, result.stderr
    assert said in result.stderr
    assert runs.count(db) == 0
