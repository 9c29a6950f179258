"""The probes: against scikit-learn and by hand, on features; and as a person runs the program."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from trainers import probe
from trainers.data.generate import main as generate
from trainers.probe import Features, linear_scores, neighbour_scores


def features(rows: list[list[float]], labels: list[int]) -> Features:
    names = np.array([str(i) for i in range(len(rows))])
    return Features(np.array(rows, float), np.array(labels, np.uint8)[:, None], names)


def drawn(seed: int, count: int) -> Features:
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, count)
    rows = rng.normal(size=(count, 6)) + np.outer(label, [2, 0, 0, 1, 0, 0])
    return features(rows.tolist(), label.tolist())


def test_the_linear_probe_is_scikit_learns_with_the_penalty_that_validation_chose() -> None:
    train, val, test = drawn(0, 80), drawn(1, 40), drawn(2, 40)
    scores, strength = linear_scores(train, val, test)
    scaler = StandardScaler().fit(train.features)
    model = LogisticRegression(C=strength, max_iter=2000)
    model.fit(scaler.transform(train.features), train.label[:, 0])
    np.testing.assert_allclose(
        scores[:, 0], model.decision_function(scaler.transform(test.features))
    )


def test_a_class_with_one_label_alone_gets_no_opinion() -> None:
    train = features([[0, 1], [1, 0], [2, 2]], [0, 0, 0])
    scores, _ = linear_scores(train, train, train)
    assert scores.tolist() == [[0], [0], [0]]


def test_neighbours_vote_by_likeness_worked_by_hand() -> None:
    train = features([[1, 0], [-1, 0]], [1, 0])  # their mean is the origin
    test = features([[3, 0], [0, 2]], [1, 0])
    scores = neighbour_scores(train, test)
    far = np.exp(-2 / probe.TEMPERATURE)
    np.testing.assert_allclose(scores[:, 0], [1 / (1 + far), 0.5])


def test_neighbours_vote_as_scikit_learns_with_the_same_weights() -> None:
    train, test = drawn(3, 70), drawn(4, 30)
    second = np.random.default_rng(5).integers(0, 2, (70, 1)).astype(np.uint8)
    train = train._replace(label=np.hstack([train.label, second]))
    centre = train.features.mean(axis=0)

    def weight(distance: np.ndarray) -> np.ndarray:
        return np.exp((1 - distance) / probe.TEMPERATURE)  # a cosine distance is 1 - cosine

    model = KNeighborsClassifier(probe.NEIGHBOURS, weights=weight, metric="cosine")
    model.fit(train.features - centre, train.label)
    expected = [each[:, 1] for each in model.predict_proba(test.features - centre)]
    np.testing.assert_allclose(neighbour_scores(train, test), np.stack(expected, axis=1))


def test_only_the_nearest_have_a_vote() -> None:
    near = [[1.0, 0.01 * i] for i in range(probe.NEIGHBOURS)]
    train = features([*near, *[[-1.0, 0.0]] * 50], [1] * len(near) + [0] * 50)
    assert neighbour_scores(train, features([[1.0, 0.0]], [1]))[0, 0] == pytest.approx(1.0)


@pytest.mark.slow
def test_a_random_encoder_is_probed_without_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generated = ["--out", str(tmp_path), "--count", "60", "--image_px", "64", "--workers", "1"]
    assert generate(generated) == 0
    capsys.readouterr()
    line = ["--task", "shenzhen", "--data_path", str(tmp_path / "shenzhen"), "--json"]
    assert probe.main([*line, "--device", "cpu"]) == 0
    facts = json.loads(capsys.readouterr().out)
    for name in ("linear/AUROC", "knn/AUROC"):
        low, high = facts["bounds"][name]
        assert low <= facts["values"][name] <= high
    assert probe.main(["--task", "siim", "--data_path", "."]) == 3
    assert "no classification is called `siim`" in capsys.readouterr().err
