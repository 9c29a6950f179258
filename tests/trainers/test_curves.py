"""The curves of a classification: what is drawn, of what, and what stops no run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from PIL import Image

from trainers import curves, program
from trainers.events import EventLog


def scored(score: list[list[float]], label: list[list[int]], classes: list[str]) -> curves.Arrays:
    return {
        "score": np.array(score, float),
        "label": np.array(label, np.uint8),
        "classes": np.array(classes),
    }


def inked(path: Path) -> float:
    """Return the share of a picture that is not white."""
    return float((np.asarray(Image.open(path).convert("L")) < 250).mean())


def test_each_kind_of_curve_is_a_file_that_its_caption_describes(tmp_path: Path) -> None:
    arrays = scored([[0.1], [0.4], [0.35], [0.8]], [[0], [0], [1], [1]], ["tb"])
    written = dict(curves.save(arrays, tmp_path))
    assert list(written) == [
        f"samples/{name}.png" for name in ("roc", "precision-recall", "calibration")
    ]
    assert written["samples/roc.png"] == "ROC curve of tb; 4 images"
    assert all(inked(tmp_path / path) > 0.01 for path in written)


def test_drawn_again_the_pictures_are_the_same_pixel_for_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = scored(rng.random((40, 2)).tolist(), rng.integers(0, 2, (40, 2)).tolist(), ["a", "b"])
    for name in ("one", "two"):
        curves.save(arrays, tmp_path / name)
    first, second = (
        np.asarray(Image.open(tmp_path / name / "samples/roc.png")) for name in ("one", "two")
    )
    assert np.array_equal(first, second)


def test_a_class_without_positives_is_said_to_be_so_and_the_others_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrays = scored([[0.2, 0.1], [0.7, 0.2], [0.3, 0.3]], [[0, 0], [1, 0], [0, 0]], ["a", "b"])
    said = []
    from matplotlib.axes import Axes

    text = Axes.text
    monkeypatch.setattr(
        Axes, "text", lambda self, x, y, s, **more: (said.append(s), text(self, x, y, s, **more))[1]
    )
    curves.save(arrays, tmp_path)
    assert said == [
        "AUROC 1.000, 1 positive", "no positive among 3",
        "AP 1.000, 1 positive", "no positive among 3",
        "mean 0.400, observed 0.333", "no positive among 3",
    ]  # fmt: skip


def test_scores_that_are_no_probabilities_have_no_calibration(tmp_path: Path) -> None:
    arrays = scored([[-3.0], [2.0], [0.1]], [[0], [1], [0]], ["tb"])
    assert "samples/calibration.png" not in dict(curves.save(arrays, tmp_path))


def test_bins_hold_equally_many_images_and_their_shares_are_counted_by_hand() -> None:
    score = np.arange(20) / 20
    label = np.array([0] * 8 + [1] * 2 + [0] * 3 + [1] * 7, bool)
    bins = curves.bins_of(score, label)
    np.testing.assert_allclose(bins.predicted, [score[:10].mean(), score[10:].mean()])
    np.testing.assert_allclose(bins.share, [0.2, 0.7])
    # Wilson's interval holds those rates p at which the share is 1.96 standard errors away
    z = NormalDist().inv_cdf(0.975)
    for share, low, high in zip(bins.share, bins.low, bins.high, strict=True):
        for rate in (low, high):
            assert abs(share - rate) == pytest.approx(z * np.sqrt(rate * (1 - rate) / 10), rel=1e-4)


def test_images_of_one_score_are_never_divided_between_bins() -> None:
    score = np.array([0.0] * 70 + [0.5] * 30)
    bins = curves.bins_of(score, np.arange(100) >= 85)
    assert bins.predicted.tolist() == [0.0, 0.5]
    assert bins.share.tolist() == [0.0, 0.5]


def test_a_picture_that_cannot_be_drawn_is_a_warning_and_those_before_it_are_announced(
    tmp_path: Path,
) -> None:
    def draw():
        yield "samples/first.png", "drawn"
        raise OSError("no space left")

    program.show(draw, EventLog(tmp_path))
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["kind"] for event in events] == ["sample", "warning"]
    assert events[1]["message"] == "pictures could not be drawn: OSError: no space left"


def test_matplotlib_is_not_loaded_before_something_is_drawn() -> None:
    code = "import sys, trainers.curves; print('matplotlib' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
