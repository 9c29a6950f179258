from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import stats
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.comparing import correlation
from cxrlab.lab import Lab
from store import intake, runs


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})


def readings(lab: Lab, *words: str) -> list[dict[str, Any]]:
    result = invoke(lab, "correlate", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


numbers = st.integers(-5, 5).map(float)  # few, so that many are equal
pairs = st.lists(st.tuples(numbers, numbers), min_size=4, max_size=20)


@given(st.lists(numbers, min_size=1))
def test_ranks_are_those_of_scipy(values: list[float]) -> None:
    assert correlation.ranks(values) == stats.rankdata(values).tolist()


@given(pairs)
def test_rho_of_one_method_is_scipys(stratum: list[tuple[float, float]]) -> None:
    found = correlation.spearman([stratum])
    xs, ys = zip(*stratum, strict=True)
    if len(set(xs)) == 1 or len(set(ys)) == 1:
        assert found.rho is None
    else:
        assert found.rho == pytest.approx(stats.spearmanr(xs, ys).statistic, abs=1e-12)


@given(st.lists(pairs, min_size=2, max_size=4))
def test_rho_of_several_is_that_of_ranks_freed_of_their_method(
    strata: list[list[tuple[float, float]]],
) -> None:
    """Against a regression of the scaled ranks on the methods, whose residuals are correlated."""
    method = np.concatenate([np.full(len(one), k) for k, one in enumerate(strata)])
    dummies = (method[:, None] == np.arange(len(strata))).astype(float)
    sides = []
    for side in (0, 1):
        scaled = [stats.rankdata([p[side] for p in one]) / len(one) for one in strata]
        values = np.concatenate(scaled)
        fitted = dummies @ np.linalg.lstsq(dummies, values, rcond=None)[0]
        sides.append(values - fitted)
    found = correlation.spearman(strata)
    if min(np.abs(side).max() for side in sides) < 1e-9:
        assert found.rho is None
    else:
        assert found.rho == pytest.approx(np.corrcoef(*sides)[0, 1], abs=1e-9)


def test_methods_whose_losses_differ_are_not_ranked_against_each_other() -> None:
    """Within each method a lower loss is better; over both it looks like the opposite."""
    low = [(0.1 + 0.01 * i, 0.5 - 0.01 * i) for i in range(6)]
    high = [(5.1 + 0.01 * i, 0.9 - 0.01 * i) for i in range(6)]
    mixed = stats.spearmanr(*zip(*low, *high, strict=True)).statistic
    assert mixed > 0
    assert correlation.spearman([low, high]).rho == -1.0


def test_the_interval_is_bonetts_and_wrights() -> None:
    # z = atanh(0.6) = 0.693147, error = sqrt((1 + 0.18) / 17) = 0.263461, by hand
    low, high = correlation.interval(0.6, 20)
    assert low == pytest.approx(np.tanh(0.6931472 - 1.959964 * 0.2634608), abs=1e-6)
    assert high == pytest.approx(np.tanh(0.6931472 + 1.959964 * 0.2634608), abs=1e-6)


def test_the_interval_holds_what_is_true_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    inside = trials = 600
    for _ in range(trials):
        strata = [rng.standard_normal((8, 2)).tolist() for _ in range(3)]
        found = correlation.spearman(strata)
        inside -= not found.low <= 0 <= found.high  # type: ignore[operator]
    assert 0.93 < inside / trials < 0.97


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_where_all_are_in_order_the_interval_ends_at_one_and_is_not_empty(sign: float) -> None:
    found = correlation.spearman([[(float(i), sign * i) for i in range(10)]])
    assert found.rho == sign
    near, far = sorted((found.low, found.high), key=abs)  # type: ignore[arg-type,type-var]
    assert far == sign
    swapped = 1 - 12 / (10 * 99)  # rho of ten of which two neighbours are swapped, by hand
    assert abs(near) == pytest.approx(correlation.interval(swapped, 10)[0])


@pytest.mark.parametrize(
    "strata", [[], [[(1.0, 1.0)] * 3], [[(1.0, 2.0), (2.0, 1.0)]] * 2, [[(1.0, 1.0)]] * 9]
)
def test_too_few_are_told_and_not_computed(strata: list[list[tuple[float, float]]]) -> None:
    found = correlation.spearman(strata)
    assert found.rho is None
    assert found.why.startswith("too few")


def conclude(db: Any, run: runs.Run, **result: Any) -> runs.Run:
    folder = Path(run.folder)
    lines = [{"t": 1.0, "kind": "start", "step": 0}, {"t": 2.0, "kind": "result", **result}]
    if run.task == "pretrain":
        encoder = {"kind_of": "encoder", "path": "checkpoints/encoder.pt", "sha256": f"of-{run.id}"}
        lines.append({"t": 2.0, "kind": "checkpoint", "step": 9, **encoder})
    (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    intake.take_in(db, run.id, folder)
    runs.change_state(db, run.id, "succeeded")
    return run


@pytest.fixture
def family(new_run: Any, db: Any) -> Callable[..., str]:
    """Add a pre-training with its loss, and fine-tunings of it with their Dice."""

    def make(loss: float | None, *values: float, method: str = "mrm", sha256: str = "") -> str:
        origin = new_run(method=method, recipe=f"p-{method}")
        conclude(db, origin, values={"val/loss": loss}, selected_by="last epoch")
        for seed, value in enumerate(values):
            run = new_run(
                method=method, task="siim", ratio=10, seed=seed, parent=origin.id,
                recipe=f"f-{origin.id}",
            )  # fmt: skip
            told = {"test/Dice": value, "test/Dice_nothing": 0.7, "test/Dice/left": value}
            encoder = {"sha256": sha256 or f"of-{origin.id}"}
            conclude(db, run, values=told, selected_by="val/Dice", encoder=encoder)
        return origin.id

    return make


def test_checkpoints_are_the_points_and_seeds_are_averaged(lab: Lab, family: Any) -> None:
    for loss, value in ((1.0, 0.9), (2.0, 0.8), (3.0, 0.85), (4.0, 0.7), (5.0, 0.6)):
        family(loss, value, value + 0.02)
    (one,) = readings(lab)
    assert (one["task"], one["ratio"], one["metric"]) == ("siim", 10, "Dice")
    assert one["n"] == 5
    assert [point["runs"] for point in one["checkpoints"]] == [2] * 5
    assert one["rho"] == pytest.approx(-0.9)
    assert one["low"] < one["rho"] < one["high"]
    assert one["verdict"] == "open"  # five are few


def test_each_method_is_told_alone_and_all_together(lab: Lab, family: Any) -> None:
    for step in range(7):
        family(1.0 + step, 0.9 - step / 100, method="mrm")
        family(100.0 + step, 0.95 - step / 100 + (step == 3) / 40, method="refers")
    (one,) = readings(lab)
    assert set(one["within"]) == {"mrm", "refers"}
    assert one["within"]["mrm"]["rho"] == -1.0
    assert -1.0 < one["within"]["refers"]["rho"] < -0.8
    assert (one["n"], one["verdict"]) == (14, "foretells")
    said = invoke(lab, "correlate")
    assert said.exit_code == 0
    assert "siim Dice 10 %" in said.stdout
    assert "foretells" in said.stdout
    assert "Fisher's z" in said.stdout
    assert "val loss of the pre-training" in said.stdout  # the scatter


def test_too_few_checkpoints_are_said_to_be_too_few(lab: Lab, family: Any) -> None:
    family(1.0, 0.9)
    family(2.0, 0.8)
    (one,) = readings(lab)
    assert (one["rho"], one["n"]) == (None, 2)
    assert one["verdict"].startswith("too few: 2")
    assert "too few" in invoke(lab, "correlate").stdout


def test_an_encoder_that_was_replaced_since_is_left_out(lab: Lab, family: Any) -> None:
    for loss in (1.0, 2.0, 3.0, 4.0):
        family(loss, 1 / loss)
    family(9.0, 0.99, sha256="another file")
    family(None, 0.5)
    (one,) = readings(lab)
    assert (one["n"], one["left_out"]) == (4, 2)
    assert "2 numbers left out" in invoke(lab, "correlate").stdout


def test_floors_and_single_classes_are_shown_only_when_asked_for(lab: Lab, family: Any) -> None:
    family(1.0, 0.9)
    assert [one["metric"] for one in readings(lab)] == ["Dice"]
    assert [one["metric"] for one in readings(lab, "--metric", "Dice/*")] == ["Dice/left"]
    wrong = invoke(lab, "correlate", "--metric", "Dise")
    assert wrong.exit_code == 3
    assert "did you mean `Dice`?" in wrong.stderr


def test_a_lab_without_fine_tunings_says_so(lab: Lab) -> None:
    assert readings(lab) == []
    result = invoke(lab, "correlate")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no finished run" in result.stderr
    assert invoke(lab, "correlate", "--task", "sim").exit_code == 3


def test_the_scatter_is_written_as_a_picture(lab: Lab, family: Any, tmp_path: Path) -> None:
    for loss in (1.0, 2.0, 3.0, 4.0):
        family(loss, 1 / loss)
    out = tmp_path / "scatter.png"
    result = invoke(lab, "correlate", "--out", str(out))
    assert result.exit_code == 0, result.stderr
    assert str(out) in result.stdout
    with Image.open(out) as picture:
        assert picture.size == (1280, 600)
