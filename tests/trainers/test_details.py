"""What `trainers.evaluate --details` says of a classification, against plain counting."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, brier_score_loss, confusion_matrix

from trainers import details, evaluate, scores


def counted(score, label, threshold):
    """Return sensitivity, specificity, PPV and NPV of calling `threshold` or more positive."""
    tn, fp, fn, tp = confusion_matrix(label, score >= threshold, labels=[False, True]).ravel()
    return [a / (a + b) if a + b else math.nan
            for a, b in ((tp, fn), (tn, fp), (tp, fp), (tn, fn))]  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10), st.booleans()), min_size=2, max_size=40))
def test_each_working_point_is_the_best_of_all_thresholds(pairs):
    score = np.array([s for s, _ in pairs]) / 10
    label = np.array([y for _, y in pairs])
    if label.all() or not label.any():
        return
    points = details.working_points(score, label)
    every = [counted(score, label, t)[:2] for t in [*np.unique(score), np.inf]]
    assert points["youden"]["sensitivity"] + points["youden"]["specificity"] == pytest.approx(
        max(a + b for a, b in every)
    )
    assert points["specificity_95"]["sensitivity"] == pytest.approx(
        max(a for a, b in every if b >= 0.95)
    )
    assert points["sensitivity_95"]["specificity"] == pytest.approx(
        max(b for a, b in every if a >= 0.95)
    )
    for point in points.values():
        told = [point[k] for k in ("sensitivity", "specificity", "ppv", "npv")]
        assert told == pytest.approx(counted(score, label, point["threshold"]), nan_ok=True)


def test_calibration_is_counted_bin_by_bin_and_needs_probabilities():
    rng = np.random.default_rng(0)
    score, label = rng.random(500), rng.random(500) < 0.3
    score[:2] = 0.0, 1.0
    said = details.calibration(score, label)
    assert said["brier"] == pytest.approx(brier_score_loss(label, score), abs=1e-12)
    error = 0.0
    for i in range(details.BINS):
        low, high = i / details.BINS, (i + 1) / details.BINS
        inside = (score >= low) & ((score < high) | (i == details.BINS - 1))
        if inside.any():
            error += inside.mean() * abs(score[inside].mean() - label[inside].mean())
    assert said["expected_calibration_error"] == pytest.approx(error, abs=1e-12)
    assert details.calibration(score * 3, label) is None


def test_the_reliability_table_is_scikit_learns_calibration_curve():
    rng = np.random.default_rng(3)
    score, label = rng.random(400) ** 3, rng.random(400) < 0.2
    rows = details.calibration(score, label)["reliability"]
    true, said = calibration_curve(label, score, n_bins=details.BINS)
    assert [row["share"] for row in rows] == pytest.approx(true, abs=1e-12)
    assert [row["mean_score"] for row in rows] == pytest.approx(said, abs=1e-12)
    assert sum(row["n"] for row in rows) == 400


def test_thresholds_chosen_on_other_predictions_are_judged_on_these(tmp_path, capsys):
    rng = np.random.default_rng(4)
    files = {}
    for name, n in (("test", 60), ("val", 40)):
        label = rng.integers(0, 2, (n, 1))
        score = 0.3 * label + 0.7 * rng.random((n, 1))
        names = np.array([str(i) for i in range(n)])
        files[name] = {"names": names, "patient": names, "score": score,
                       "label": label, "classes": np.array(["tb"])}  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", **files[name])
    line = ["--task", "shenzhen", "--predictions", str(tmp_path / "test.npz"), "--json"]
    apart = ["--details", "--thresholds-from", str(tmp_path / "val.npz")]
    assert evaluate.main([*line, *apart]) == 0
    said = json.loads(capsys.readouterr().out)["details"]
    chosen = details.thresholds(files["val"]["score"][:, 0], files["val"]["label"][:, 0] == 1)
    points = said["classes"][0]["points"]
    assert {name: point["threshold"] for name, point in points.items()} == chosen
    score, label = files["test"]["score"][:, 0], files["test"]["label"][:, 0] == 1
    for point in points.values():
        told = [point[k] for k in ("sensitivity", "specificity", "ppv", "npv")]
        assert told == pytest.approx(counted(score, label, point["threshold"]), nan_ok=True)
    assert said["note"] == details.CHOSEN_APART
    assert evaluate.main([*line, *apart[1:]]) == 2


def test_a_runs_own_validation_set_gives_the_thresholds_where_it_was_kept(tmp_path, capsys):
    files = {}
    for name in ("predictions", "predictions_val"):
        rng = np.random.default_rng(len(name))
        label = rng.integers(0, 2, (50, 1))
        names = np.array([str(i) for i in range(50)])
        files[name] = {"names": names, "patient": names, "label": label,
                       "score": 0.3 * label + 0.7 * rng.random((50, 1)),
                       "classes": np.array(["tb"])}  # fmt: skip
        np.savez(tmp_path / f"{name}.npz", **files[name])
    line = ["--task", "shenzhen", "--details", "--json", "--predictions"]
    assert evaluate.main([*line, str(tmp_path / "predictions.npz")]) == 0
    said = json.loads(capsys.readouterr().out)["details"]
    val = files["predictions_val"]
    chosen = details.thresholds(val["score"][:, 0], val["label"][:, 0] == 1)
    points = said["classes"][0]["points"]
    assert {name: point["threshold"] for name, point in points.items()} == chosen
    assert said["thresholds_from"] == [str(tmp_path / "predictions_val.npz")]
    (tmp_path / "predictions.npz").rename(tmp_path / "others.npz")
    assert evaluate.main([*line, str(tmp_path / "others.npz")]) == 0
    said = json.loads(capsys.readouterr().out)["details"]
    assert (said["thresholds_from"], said["note"]) == ([], details.CHOSEN)


def arrays():
    rng = np.random.default_rng(1)
    label = (rng.random((80, 3)) < (0.4, 0.1, 0.0)).astype(np.uint8)
    return {
        "names": np.array([f"i{i}" for i in range(80)]),
        "patient": np.array([f"p{i // 2}" for i in range(80)]),
        "score": np.clip(rng.random((80, 3)) * 0.7 + 0.3 * label, 0, 1),
        "label": label,
        "classes": np.array(["Mass", "Nodule", "Hernia"]),
    }


def test_a_row_a_class_and_a_class_without_positives_has_no_score():
    rows, given_arrays = details.of_classes(arrays(), seed=0), arrays()
    assert [row["class"] for row in rows] == ["Mass", "Nodule", "Hernia"]
    score, label = given_arrays["score"], given_arrays["label"]
    for c in (0, 1):
        assert rows[c]["positives"] == label[:, c].sum()
        assert rows[c]["AUROC"] == scores.auroc(score[:, c], label[:, c])
        assert rows[c]["average_precision"] == pytest.approx(
            average_precision_score(label[:, c], score[:, c]), abs=1e-12
        )
        assert rows[c]["low"] <= rows[c]["AUROC"] <= rows[c]["high"]
    assert (rows[2]["positives"], rows[2]["points"]) == (0, None)
    assert math.isnan(rows[2]["AUROC"])
    assert any("Hernia" in line for line in details.table({"classes": rows, "note": ""}))


def test_the_program_tells_details_of_classifications_alone(tmp_path, capsys):
    file = tmp_path / "predictions.npz"
    one = arrays() | {"classes": np.array(["tb"])}
    one |= {name: one[name][:, :1] for name in ("score", "label")}
    np.savez(file, **one)
    line = ["--task", "shenzhen", "--predictions", str(file), "--details"]
    assert evaluate.main([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["class"] for row in said["details"]["classes"]] == ["tb"]
    assert said["details"]["classes"][0]["AUROC"] == said["values"]["test/AUROC"]
    assert said["details"]["classes"][0]["low"] == said["bounds"]["test/AUROC"][0]
    assert (said["details"]["bins"], said["details"]["note"]) == (details.BINS, details.CHOSEN)
    assert evaluate.main(line) == 0
    assert "youden" in capsys.readouterr().out
    assert evaluate.main(["--task", "siim", "--predictions", str(file), "--details"]) == 2
    assert "is none" in capsys.readouterr().err
