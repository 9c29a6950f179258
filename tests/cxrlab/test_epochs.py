"""Encoders that a pre-training keeps on its way: started from, cloned, correlated, and pruned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.lab import Lab
from store import intake, runs

Make = Callable[..., runs.Run]


@pytest.fixture(autouse=True)
def _nothing_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)


@pytest.fixture
def origin(new_run: Make, db: Any) -> runs.Run:
    """A pre-training that has come to its 30th epoch and goes on, with what it has kept."""
    run = new_run(recipe="p")
    folder = Path(run.folder) / "checkpoints"
    folder.mkdir()
    lines: list[dict[str, Any]] = [{"t": 1.0, "kind": "start", "step": 0}]
    for epoch in (10, 20, 30):
        (folder / f"epoch_{epoch}.pt").write_bytes(b"0" * 1000)
        step, path = 100 * epoch, f"checkpoints/epoch_{epoch}.pt"
        lines += [
            {"t": 1.0, "kind": "metrics", "step": step, "values": {"val/loss": 5 - epoch / 10}},
            {"t": 1.0, "kind": "checkpoint", "kind_of": "epoch", "path": path, "step": step,
             "sha256": f"of-{epoch}"},
        ]  # fmt: skip
    (Path(run.folder) / "config.json").write_text(json.dumps({"recipe": "p"}))
    say(db, run, *lines)
    runs.change_state(db, run.id, "running")
    return runs.get(db, run.id)


def say(db: Any, run: runs.Run, *lines: dict[str, Any]) -> None:
    with (Path(run.folder) / "events.jsonl").open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    intake.take_in(db, run.id, Path(run.folder))


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})


def started(lab: Lab, db: Any, start: str, *words: str) -> runs.Run:
    line = ["launch", "mrm", "--task", "siim", "--ratio", "10", "--gpus", "cpu", "--json"]
    result = invoke(lab, *line, "--pretrained", start, *words)
    assert result.exit_code == 0, result.stderr
    return runs.get(db, json.loads(result.stdout)[-1]["id"])


def encoder_of(run: runs.Run) -> str:
    return Path(run.command[run.command.index("--pretrained") + 1]).name


def test_what_was_kept_is_started_from_while_its_run_goes_on(
    lab: Lab, db: Any, origin: runs.Run
) -> None:
    run = started(lab, db, f"{origin.id[:5]}@20")
    assert (run.state, run.parent, run.needs) == ("queued", origin.id, ())
    assert encoder_of(run) == "epoch_20.pt"
    assert "epoch_20" in invoke(lab, "runs").stdout
    assert started(lab, db, f"{origin.id}@20").id == run.id
    others = {started(lab, db, start).recipe for start in (f"{origin.id}@30", origin.id)}
    assert len(others | {run.recipe}) == 3


@pytest.mark.parametrize(("epoch", "hint"), [("15", "it has 10, 20, 30"), ("", "it has 10")])
def test_an_epoch_that_was_not_kept_is_refused_with_those_that_were(
    lab: Lab, db: Any, origin: runs.Run, epoch: str, hint: str
) -> None:
    line = ["launch", "mrm", "--task", "siim", "--pretrained", f"{origin.id}@{epoch}"]
    result = invoke(lab, *line)
    assert result.exit_code == 3
    assert f"has kept no epoch `{epoch}`" in result.stderr
    assert hint in result.stderr


def test_a_run_that_keeps_nothing_says_how_to(lab: Lab, db: Any, new_run: Make) -> None:
    line = ["launch", "mrm", "--task", "siim", "--pretrained", f"{new_run().id}@5"]
    assert "keep_every=N" in invoke(lab, *line).stderr


def test_a_clone_starts_from_the_same_epoch(lab: Lab, db: Any, origin: runs.Run) -> None:
    run = started(lab, db, f"{origin.id}@20")
    result = invoke(lab, "clone", run.id, "--set", "lr=1e-4", "--json")
    assert result.exit_code == 0, result.stderr
    (other,) = (each for each in runs.select(db, task="siim") if each.id != run.id)
    assert (encoder_of(other), other.parent, other.state) == ("epoch_20.pt", origin.id, "queued")


def test_over_the_budget_what_is_kept_goes_oldest_first_but_for_what_a_run_starts_from(
    lab: Lab, db: Any, origin: runs.Run
) -> None:
    started(lab, db, f"{origin.id}@10")
    runs.change_state(db, origin.id, "succeeded")
    assert invoke(lab, "prune", "--budget", "2000", "--yes").exit_code == 0
    kept = {path.name for path in (Path(origin.folder) / "checkpoints").iterdir()}
    assert kept == {"epoch_10.pt", "epoch_30.pt"}


def concluded(lab: Lab, db: Any, origin: runs.Run, epoch: int, dice: float) -> runs.Run:
    run = started(lab, db, f"{origin.id}@{epoch}")
    runs.change_state(db, run.id, "running")
    folder = Path(origin.folder)
    path = str(folder / "checkpoints" / f"epoch_{epoch}.pt")
    start = {"path": path, "run": folder.name, "sha256": f"of-{epoch}"}
    result = {"values": {"test/Dice": dice, "val/Dice": dice}, "selected_by": "val/Dice"}
    say(db, run, {"t": 2.0, "kind": "result", **result, "encoder": start})
    runs.change_state(db, run.id, "succeeded")
    return run


def test_each_epoch_is_a_point_with_the_loss_of_its_own_time(
    lab: Lab, db: Any, origin: runs.Run
) -> None:
    for epoch, dice in ((10, 0.5), (20, 0.6), (30, 0.7)):
        concluded(lab, db, origin, epoch, dice)
    (found,) = json.loads(invoke(lab, "correlate", "--task", "siim", "--json").stdout)
    points = {(p["step"], p["loss"], p["value"]) for p in found["checkpoints"]}
    assert points == {(1000, 4.0, 0.5), (2000, 3.0, 0.6), (3000, 2.0, 0.7)}
    assert found["left_out"] == 0
    assert "kept on its way" in " ".join(invoke(lab, "correlate").stdout.split())


def test_a_number_of_an_epoch_holds_whatever_becomes_of_its_run(
    lab: Lab, db: Any, origin: runs.Run
) -> None:
    concluded(lab, db, origin, 20, 0.6)
    told = json.loads(invoke(lab, "grid", "--json").stdout)
    (cell,) = (each for each in told if each["value"] is not None)
    assert cell["value"] == 0.6
    assert not cell["stale"]
