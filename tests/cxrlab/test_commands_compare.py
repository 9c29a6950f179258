"""`cxrlab compare`: which sides there are, what is refused, and how little is claimed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.comparing import verdicts
from cxrlab.comparing.verdicts import Compared, SideScore, Test
from cxrlab.lab import Lab
from store import intake, runs
from trainers.events import EventLog

SPLIT = {"train": "a" * 64, "val": "b" * 64, "test": "c" * 64}
IMAGES = 60


def invoke(lab: Lab, *words: str, columns: int = 160) -> Any:
    line = ["--lab", str(lab.root), *words]
    return CliRunner().invoke(cli.app, line, env={"COLUMNS": str(columns)})


def document(lab: Lab, *words: str) -> Any:
    result = invoke(lab, "compare", *words, "--resamples", "200", "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def predictions(
    seed: int, gain: float, *, images: int = IMAGES, classes: tuple[str, ...] = ("Tuberculosis",)
) -> dict[str, Any]:
    """What a run said of some findings in two images a patient."""
    shape = (images, len(classes))
    label = (np.random.default_rng(0).random(shape) < 0.5).astype(np.uint8)
    score = np.random.default_rng(seed).normal(size=shape) + gain * label
    return {
        "names": np.array([f"i{i}" for i in range(images)]),
        "patient": np.array([f"p{i // 2}" for i in range(images)]),
        "score": score,
        "label": label,
        "classes": np.array(classes),
    }


@pytest.fixture
def finished(lab: Lab, db: Any, new_run: Any) -> Callable[..., runs.Run]:
    """Add a finished run with predictions: `finished("mrm", seed=1, gain=2.0)`."""

    def finish(
        method: str, *, seed: int = 0, gain: float = 1.0, split: Any = SPLIT, images: int = IMAGES,
        encoder: Any = None, **facts: Any,
    ) -> runs.Run:  # fmt: skip
        facts = {"task": "shenzhen", "ratio": 100, "recipe": method * 8, "preset": "paper", **facts}
        run = new_run(method=method, seed=seed, **facts)
        arrays = predictions(1000 * len(method) + seed, gain, images=images)
        np.savez_compressed(Path(run.folder) / "predictions.npz", **arrays)
        metric = {"siim": "Dice", "siim_legacy": "Dice"}.get(facts["task"], "AUROC")
        events = EventLog(Path(run.folder))
        data = {"split_sha256": split} if split else {}
        told = {"encoder": encoder} if encoder else {}
        events.result(
            **told, values={f"test/{metric}": 0.7}, data=data, predictions="predictions.npz"
        )
        events.end("succeeded")
        intake.take_in(db, run.id, Path(run.folder))
        runs.change_state(db, run.id, "succeeded")
        return runs.get(db, run.id)

    return finish


def a_test(over: Any, p: float | None, difference: float = 0.02, p_holm: float | None = -1) -> Test:
    known = p if p_holm == -1 else p_holm
    return Test(test="bootstrap" if over == "patients" else "Welch", over=over,
                difference=difference, low=0.0, high=0.0, p=p, p_holm=known)  # fmt: skip


def a_column(*tests: Test, better: str = "higher") -> Compared:
    side = SideScore(value=0.8, sd=None, n=1)
    return Compared(task="nih", ratio=10, metric="AUROC", better=better, a=side, b=side,
                    difference=0.02, tests=tests, images=9, patients=3)  # fmt: skip


def test_holm_is_that_of_the_textbook():
    # worked by hand: sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1, each no less than the last
    assert verdicts.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert verdicts.holm([0.6, None, 0.5]) == [1.0, None, 1.0]
    assert verdicts.holm([]) == []


def test_each_kind_of_test_is_corrected_across_the_columns_by_itself():
    columns = [a_column(a_test("patients", 0.01), a_test("seeds", 0.04)) for _ in range(3)]
    corrected = verdicts.corrected([*columns, a_column(a_test("patients", 0.01))])
    assert [t.p_holm for t in corrected[0].tests] == pytest.approx([0.04, 0.12])


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ([a_test("patients", 0.01), a_test("seeds", 0.01)], "A better"),
        ([a_test("patients", 0.01)], "A better on such patients; other seeds not tested"),
        ([a_test("patients", 0.2)], "no difference shown"),
        (
            [a_test("patients", 0.01), a_test("seeds", 0.2)],
            "A better on such patients; over seeds no difference shown",
        ),
        (
            [a_test("patients", 0.2), a_test("seeds", 0.01, -0.02)],
            "B better over seeds; on such patients no difference shown",
        ),
        (
            [a_test("patients", 0.01), a_test("seeds", 0.01, -0.02)],
            "A better on such patients, but B better over seeds",
        ),
        ([a_test("patients", None), a_test("seeds", None)], "not tested"),
        (
            [a_test("patients", None), a_test("seeds", 0.01)],
            "A better over seeds; the other's spread is not known",
        ),
        ([a_test("patients", 0.03, p_holm=0.06)], "no difference shown"),
    ],
)
def test_a_verdict_claims_no_more_than_both_tests_show(tests, said):
    assert verdicts.of_column(a_column(*tests), names=("A", "B")) == said


def test_where_lower_is_better_the_lower_side_is_better():
    column = a_column(a_test("patients", 0.01), a_test("seeds", 0.01), better="lower")
    assert verdicts.of_column(column, names=("A", "B")) == "B better"


def test_methods_are_compared_by_all_their_seeds(lab, finished):
    ids = {
        method: [finished(method, seed=seed, gain=gain).id for seed in range(3)]
        for method, gain in (("mrm", 4.0), ("refers", 0.2))
    }
    found = document(lab, "mrm", "refers")
    (row,) = found["rows"]
    assert (row["task"], row["ratio"], row["metric"]) == ("shenzhen", 100, "AUROC")
    assert (row["a"]["n"], row["b"]["n"], row["patients"]) == (3, 3, 30)
    assert sorted(row["a"]["runs"]) == sorted(ids["mrm"])
    assert [t["test"] for t in row["tests"]] == ["DeLong", "bootstrap", "Welch"]
    assert row["verdict"] == "mrm better"
    assert all(t["verdict"] == "mrm better" and t["p_holm"] == t["p"] for t in row["tests"])
    assert found["refused"] == []


def test_two_runs_are_compared_by_patients_alone_and_it_is_said(lab, finished):
    a, b = finished("mrm", gain=4.0), finished("mrm", seed=1, gain=0.0)
    (row,) = document(lab, a.id, b.id)["rows"]
    assert [t["over"] for t in row["tests"]] == ["patients", "patients"]
    assert row["verdict"] == f"{a.id} better on such patients; other seeds not tested"
    said = invoke(lab, "compare", a.id[:5], b.id, "--resamples", "200")
    assert said.exit_code == 0
    assert "one run a side: nothing is said of other seeds" in said.stdout
    assert "DeLong, patients" in said.stdout


def test_a_run_equal_to_itself_shows_no_difference(lab, finished):
    run = finished("mrm")
    (row,) = document(lab, run.id, run.id)["rows"]
    assert (row["difference"], row["verdict"]) == (0, "no difference shown")


def test_every_cell_that_both_have_is_a_column(lab, finished):
    for ratio in (1, 10):
        finished("mrm", task="covid", ratio=ratio)
        finished("refers", task="covid", ratio=ratio)
    finished("mrm", task="shenzhen")
    assert [r["ratio"] for r in document(lab, "mrm", "refers")["rows"]] == [1, 10]
    (row,) = document(lab, "mrm", "refers", "--task", "covid", "--ratio", "10")["rows"]
    assert row["ratio"] == 10
    assert invoke(lab, "compare", "mrm", "refers", "--task", "shenzhen").exit_code == 3


def test_other_test_images_are_refused_with_both_lists(lab, finished):
    a, b = finished("mrm"), finished("refers", split={**SPLIT, "test": "d" * 64})
    result = invoke(lab, "compare", a.id, b.id)
    assert result.exit_code == 4
    assert "c" * 12 in result.stderr
    assert "d" * 12 in result.stderr
    assert result.stdout == ""


def test_other_metrics_are_refused_with_both_definitions(lab, finished):
    a, b = finished("mrm"), finished("mrm", task="siim", ratio=10)
    result = invoke(lab, "compare", a.id, b.id)
    assert result.exit_code == 4
    assert "`AUROC` does not compare with `Dice`" in result.stderr
    assert "area under the ROC curve" in result.stderr
    c = finished("mrm", task="siim_legacy", ratio=10)
    other = invoke(lab, "compare", b.id, c.id)
    assert other.exit_code == 4
    assert "other images" in other.stderr


def test_one_refused_cell_leaves_the_others(lab, finished):
    for method in ("mrm", "refers"):
        finished(method)
        other = {**SPLIT, "test": method.ljust(64, "x")}
        finished(method, task="covid", split=other)
    found = document(lab, "mrm", "refers")
    assert [row["task"] for row in found["rows"]] == ["shenzhen"]
    ((told),) = found["refused"]
    assert (told["task"], told["code"]) == ("covid", 4)
    assert "not compared: covid 100 %" in invoke(lab, "compare", "mrm", "refers").stdout


def test_images_that_one_run_lacks_are_told(lab, finished):
    a, b = finished("mrm", split=None), finished("refers", split=None, images=50)
    (row,) = document(lab, a.id, b.id)["rows"]
    assert row["images"] == 50
    assert any("on the 50 test images that all have" in note for note in row["notes"])
    assert any("paired by their names" in note for note in row["notes"])


def test_where_only_the_paper_has_a_number_runs_are_held_against_it(lab, finished):
    for seed in range(3):
        finished("mrm", task="nih", ratio=10, seed=seed)
    for words, sign in ((("mrm", "refers"), 1), (("refers", "mrm"), -1)):
        (row,) = document(lab, *words)["rows"]
        ours, paper = (row["a"], row["b"]) if sign == 1 else (row["b"], row["a"])
        assert (ours["n"], paper["n"], paper["value"]) == (3, 0, 0.809)
        assert "REFERS" in paper["source"] or "Cross-supervision" in paper["source"]
        assert row["difference"] == pytest.approx(sign * (ours["value"] - 0.809))
        over_patients, over_seeds = row["tests"]
        assert (over_patients["p"], over_seeds["test"]) == (None, "one-sample t")
        assert over_seeds["low"] < row["difference"] < over_seeds["high"]
        assert any("the paper gives no spread" in note for note in row["notes"])


def test_a_method_is_held_against_its_own_paper_by_that_word(lab, finished):
    finished("mrm", task="nih", ratio=10)
    (row,) = document(lab, "mrm", "paper")["rows"]
    assert (row["b"]["value"], row["verdict"]) == (0.84, "not tested")
    assert invoke(lab, "compare", "deep_mrm", "paper").exit_code == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("mrn", "refers"), 3, "did you mean the method `mrm`"),
        (("zzzzzz", "refers"), 3, "neither a run nor a method"),
        (("mrm", "refers"), 3, "no such cell is in both"),
        (("mrm", "refers", "--task", "nhi"), 3, "did you mean `nih`"),
        (("mrm", "refers", "--ratio", "ten"), 2, "no whole number"),
        (("mrm", "refers", "--ratio", "²"), 2, "no whole number"),
        (("mrm",), 2, "missing argument"),
    ],
)
def test_names_that_stand_for_nothing_end_with_the_contracts_code(lab, words, code, said):
    result = invoke(lab, "compare", *words)
    assert result.exit_code == code
    assert said in result.stderr.lower() or said in result.stderr


def test_a_run_without_a_test_result_is_refused(lab, new_run):
    pretraining, waiting = new_run(), new_run(task="nih", ratio=10)
    assert "is a pre-training" in invoke(lab, "compare", pretraining.id, "mrm").stderr
    result = invoke(lab, "compare", waiting.id, "mrm")
    assert (result.exit_code, "is queued" in result.stderr) == (2, True)


def test_predictions_that_are_gone_are_missed_by_name(lab, finished):
    a, b = finished("mrm"), finished("refers")
    (Path(b.folder) / "predictions.npz").unlink()
    result = invoke(lab, "compare", a.id, b.id)
    assert result.exit_code == 3
    assert "predictions.npz do not exist" in result.stderr


def test_toy_sizes_are_told(lab, finished):
    a, b = finished("mrm", preset="quick"), finished("refers", preset="quick")
    assert "toy sizes" in invoke(lab, "compare", a.id, b.id, "--resamples", "200").stdout


def test_fine_tunings_that_differ_in_more_than_the_encoder_are_told(lab, finished):
    a, b = finished("mrm"), finished("refers")
    shared = {"batch_size": 96, "accum_iter": 1, "blr": 1.5e-4, "steps": 300}
    for run, rate in ((a, 0.001), (b, 0.003)):
        config = json.dumps({**shared, "lr": rate, "method": run.method, "seed": run.seed})
        (Path(run.folder) / "config.json").write_text(config)
    (row,) = document(lab, a.id, b.id)["rows"]
    (note,) = [note for note in row["notes"] if "fine-tuned otherwise" in note]
    assert note.endswith("learning rate 0.001 against 0.003, at the same effective batch of 96")


def test_a_stale_side_says_so(lab, db, finished, new_run):
    encoder = new_run(method="mrm")
    runs.change_state(db, encoder.id, "succeeded")
    start = {"path": f"{encoder.folder}/checkpoints/encoder.pt", "run": Path(encoder.folder).name}
    finished("mrm", encoder=start, parent=encoder.id)
    finished("refers")
    runs.change_state(db, encoder.id, "failed")
    (row,) = document(lab, "mrm", "refers")["rows"]
    assert any(note.startswith("stale: its encoder's run") for note in row["notes"])


def test_each_class_has_a_line_of_its_own_where_that_is_asked_for(lab, finished):
    ids = []
    for method, gain in (("mrm", 3.0), ("refers", 0.0)):
        run = finished(method, task="nih", ratio=10)
        arrays = predictions(len(method), gain, classes=("Edema", "Hernia"))
        np.savez_compressed(Path(run.folder) / "predictions.npz", **arrays)
        ids.append(run.id)
    result = invoke(lab, "compare", *ids, "--classes", "--metric", "AUROC", "--resamples", "200")
    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[0] for line in lines if line[-1:] == ["better"]].count("Edema") == 1
    assert any(line[:1] == ["Hernia"] for line in lines)


def test_predictions_made_elsewhere_say_so_and_tell_no_settings(lab, finished):
    a, b = finished("mrm", preset="foreign", split=None), finished("refers")
    (row,) = document(lab, a.id, b.id)["rows"]
    assert "made elsewhere and brought in: how it was trained is not known" in row["notes"]


def test_the_page_fits_a_narrow_terminal(lab, finished):
    a, b = finished("mrm"), finished("refers")
    said = invoke(lab, "compare", a.id, b.id, "--resamples", "200", columns=80).stdout
    assert max(map(len, said.splitlines())) <= 80
    assert "DeLong, patients" in said
