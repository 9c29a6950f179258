from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, lagging
from cxrlab.lab import Lab
from store import intake, predecessors, runs


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "200"})


@pytest.fixture
def pretrained(new_run: Any, db: Any) -> Callable[..., runs.Run]:
    """Add a pre-training with held-out losses by epoch, of ten steps each."""

    def make(
        losses: dict[float, float | None], *, done: bool = True, state: str = "", **facts: Any
    ) -> runs.Run:
        run = new_run(**facts)
        lines: list[dict[str, Any]] = [{"t": 1.0, "kind": "start", "step": 0, "total_steps": 1000}]
        for epoch, loss in losses.items():
            lines.append(
                {"t": 2.0, "kind": "metrics", "step": round(10 * epoch), "epoch": epoch,
                 "values": {"val/loss": loss}}
            )  # fmt: skip
        if done:
            values = {"val/loss": list(losses.values())[-1]}
            lines.append({"t": 3.0, "kind": "result", "values": values, "selected_by": "last"})
        folder = Path(run.folder)
        (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        intake.take_in(db, run.id, folder)
        runs.change_state(db, run.id, state or ("succeeded" if done else "stopped"))
        return runs.get(db, run.id)

    return make


CURVE = [(1.0, 3.0), (2.0, 2.0), (4.0, 1.0)]


@pytest.mark.parametrize(
    ("epoch", "loss"), [(1.0, 3.0), (2.0, 2.0), (3.0, 1.5), (4.0, 1.0), (0.5, None), (5.0, None)]
)
def test_a_curve_is_straight_between_its_points_and_nothing_outside(
    epoch: float, loss: float | None
) -> None:
    assert lagging.at(CURVE, epoch) == loss


@pytest.mark.parametrize(("loss", "told"), [(1.5, False), (1.57, False), (1.58, True)])
def test_only_what_is_beyond_the_margin_is_told(loss: float, told: bool) -> None:
    found = lagging.behind([(3.0, loss)], CURVE, run_id="aaaaaa", same_recipe=True)
    assert (found is not None) == told


def test_the_latest_epoch_counts_and_not_an_earlier_one() -> None:
    own = [(1.0, 9.0), (4.0, 1.0)]
    assert lagging.behind(own, CURVE, run_id="a", same_recipe=True) is None
    assert lagging.behind([], CURVE, run_id="a", same_recipe=True) is None


def test_a_negative_loss_has_a_margin_too() -> None:
    best = [(1.0, -2.0)]
    assert lagging.behind([(1.0, -1.95)], best, run_id="a", same_recipe=True) is None
    assert lagging.behind([(1.0, -1.5)], best, run_id="a", same_recipe=True) is not None


def test_the_predecessor_is_the_best_of_the_recipe_else_of_the_preset(
    pretrained: Any, db: Any
) -> None:
    other = pretrained({1.0: 0.1}, recipe="other")
    pretrained({1.0: 0.01}, recipe="other", preset="paper")
    pretrained({1.0: 0.01}, method="refers")
    pretrained({1.0: 0.01}, done=False)
    run = pretrained({1.0: 0.5}, recipe="mine", done=False)
    found = predecessors.best(db, run)
    assert found is not None
    assert (found.id, found.loss) == (other.id, 0.1)
    pretrained({1.0: 0.4}, recipe="mine")
    later = pretrained({1.0: 0.3}, recipe="mine")
    last = pretrained({1.0: 0.9}, recipe="mine")
    assert predecessors.best(db, last).id == later.id  # type: ignore[union-attr]
    assert predecessors.best(db, run).id == other.id  # type: ignore[union-attr] # none came later


def test_show_and_runs_say_that_a_pre_training_is_behind(
    lab: Lab, pretrained: Any, db: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    best = pretrained({6.0: 0.6, 12.0: 0.47, 20.0: 0.3})
    run = pretrained({6.0: 0.6, 12.0: 0.52}, done=False)
    said = "val loss 0.520 at epoch 12, best predecessor"
    expected = f"{said} {best.id} (of the same recipe) 0.470: more than 5 % behind"
    assert expected in invoke(lab, "show", run.id).stdout
    known = json.loads(invoke(lab, "show", run.id, "--json").stdout)["behind"]
    assert (known["run_id"], known["loss"], known["best"], known["epoch"]) == (
        best.id, 0.52, 0.47, 12.0,
    )  # fmt: skip
    assert json.loads(invoke(lab, "show", best.id, "--json").stdout)["behind"] is None
    assert said not in invoke(lab, "runs").stdout  # it does not run, so nothing can be saved
    monkeypatch.setattr("cxrlab.refresh.refresh", lambda lab, db, **_: None)  # no process behind it
    runs.change_state(db, run.id, "running")
    assert expected in invoke(lab, "runs").stdout
    listed = {one["id"]: one["behind"] for one in json.loads(invoke(lab, "runs", "--json").stdout)}
    assert listed[best.id] is None
    assert listed[run.id]["told"] == expected


def test_a_run_without_epochs_or_losses_is_not_compared(
    pretrained: Any, new_run: Any, db: Any
) -> None:
    pretrained({1.0: 0.4})
    assert lagging.look(db, new_run()) is None
    assert lagging.look(db, pretrained({1.0: None}, done=False)) is None
    fine_tuned = pretrained({1.0: 9.0}, done=False, task="siim", ratio=10)
    assert lagging.look(db, fine_tuned) is None
