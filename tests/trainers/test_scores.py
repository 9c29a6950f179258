"""Are the scores what scikit-learn, MONAI and a pencil say they are?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from monai.metrics import DiceMetric
from sklearn.metrics import f1_score, roc_auc_score

from trainers import predictions, scores

coarse = hnp.arrays(np.float64, st.integers(2, 40), elements=st.integers(0, 5).map(float))


def overlap_of(pairs: list[tuple[list[int], list[int]]]) -> scores.Overlap:
    both = [
        sum(p & t for p, t in zip(prediction, truth, strict=True)) for prediction, truth in pairs
    ]
    return scores.Overlap(
        np.array(both),
        np.array([sum(prediction) for prediction, _ in pairs]),
        np.array([sum(truth) for _, truth in pairs]),
    )


FOUR = overlap_of(
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),  # nothing there, nothing found: 1
        ([1, 0, 0, 0], [0, 0, 0, 0]),  # nothing there, a pixel found: 0
        ([1, 1, 0, 0], [0, 1, 1, 0]),  # 2 * 1 / (2 + 2): 1/2
        ([0, 0, 0, 0], [1, 1, 1, 0]),  # missed: 0
    ]
)


def test_auroc_counts_pairs_in_order_and_half_of_the_ties():
    # positives .9 .5, negatives .5 .1: pairs .9>.5, .9>.1, .5=.5 (half), .5>.1
    assert scores.auroc([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0]) == 3.5 / 4


@given(coarse, st.data())
def test_auroc_is_scikit_learns_with_any_ties(score, data):
    label = data.draw(hnp.arrays(np.uint8, score.size, elements=st.integers(0, 1)))
    if label.min() == label.max():
        assert np.isnan(scores.auroc(score, label))
    else:
        assert scores.auroc(score, label) == pytest.approx(roc_auc_score(label, score), abs=1e-12)


@given(coarse, st.data())
def test_auroc_under_weights_is_scikit_learns(score, data):
    label = data.draw(hnp.arrays(np.uint8, score.size, elements=st.integers(0, 1)))
    weight = data.draw(hnp.arrays(np.uint16, (score.size, 3), elements=st.integers(0, 4)))
    for found, w in zip(scores.weighted_aurocs(score, label, weight), weight.T, strict=True):
        present = label[w > 0]
        if present.size == 0 or present.min() == present.max():
            assert np.isnan(found)
        else:
            expected = roc_auc_score(label, score, sample_weight=w)
            assert found == pytest.approx(expected, abs=1e-12)


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="1 of 2 scores are not numbers"):
        scores.auroc([np.nan, 0.5], [0, 1])


def test_a_class_without_positives_or_without_negatives_is_left_out_of_the_mean():
    score = np.array([[0.1, 0.3, 0.1], [0.9, 0.6, 0.2], [0.5, 0.1, 0.3]])
    label = np.array([[0, 0, 1], [1, 0, 1], [0, 0, 1]])
    assert np.isnan(scores.class_aurocs(score, label)).tolist() == [False, True, True]
    assert scores.mean_auroc(score, label) == 1.0
    assert np.isnan(scores.mean_auroc(score[:, 1:], label[:, 1:]))


def test_the_interval_of_the_auroc_is_that_of_a_plain_loop_over_patients():
    rng = np.random.default_rng(3)
    patient = rng.integers(0, 30, size=120)
    label = rng.integers(0, 2, size=(120, 2))
    score = np.round(label + rng.normal(size=label.shape), 1)
    (low, high), per_class = scores.auroc_bounds(score, label, patient, seed=5, resamples=400)

    drawn = []
    for weight in scores.patient_draws(patient, seed=5, resamples=400):
        for column in weight.T:
            rows = np.repeat(np.arange(120), column)
            drawn.append(roc_auc_score(label[rows], score[rows], average=None))
    expected = np.percentile(np.mean(drawn, axis=1), [2.5, 97.5])
    assert (low, high) == pytest.approx(tuple(expected), abs=1e-12)
    assert per_class == pytest.approx(np.percentile(drawn, [2.5, 97.5], axis=0).T, abs=1e-12)


def test_images_of_one_patient_are_drawn_together_and_as_many_patients_as_there_are():
    patient = np.array(["b", "a", "b", "c", "a"])
    weight = np.concatenate(list(scores.patient_draws(patient, seed=1, resamples=600)), axis=1)
    assert weight.shape == (5, 600)
    assert (weight[0] == weight[2]).all()
    assert (weight[1] == weight[4]).all()
    assert set(weight[[0, 1, 3]].sum(axis=0)) == {3}
    assert weight.mean() == pytest.approx(1.0, abs=0.05)


def test_the_seed_decides_the_interval():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 2, size=(60, 1))
    score = label + rng.normal(size=label.shape)
    first, again, other = (
        scores.auroc_bounds(score, label, np.arange(60), seed=seed, resamples=50)[0]
        for seed in (1, 1, 2)
    )
    assert first == again
    assert first != other


def test_every_dice_of_four_images_worked_by_hand():
    found = scores.dice_scores(FOUR)
    assert found["Dice"] == (1 + 0 + 0.5 + 0) / 4
    assert found["Dice_positive"] == (0.5 + 0) / 2
    assert found["Dice_pooled"] == 2 * 1 / ((1 + 2) + (2 + 3))
    assert found["Dice_nothing"] == 2 / 4


def test_the_published_floor_of_the_legacy_siim_test_list_is_64_7():
    nothing = np.zeros(1904, np.int64)
    true = np.where(np.arange(1904) < 672, 100, 0)
    found = scores.dice_scores(scores.Overlap(nothing, nothing, true))
    assert round(100 * found["Dice"], 1) == 64.7
    assert found["Dice"] == found["Dice_nothing"]


def test_without_any_mask_anywhere_dice_of_positives_is_not_a_number():
    zero = np.zeros(3, np.int64)
    found = scores.dice_scores(scores.Overlap(zero, zero, zero))
    assert found["Dice"] == found["Dice_pooled"] == found["Dice_nothing"] == 1.0
    assert np.isnan(found["Dice_positive"])


@given(
    hnp.arrays(np.uint8, (5, 2, 6, 7), elements=st.integers(0, 1)),
    st.lists(st.sampled_from(["as drawn", "no truth", "nothing found"]), min_size=5, max_size=5),
)
def test_dice_is_monais_and_the_pooled_dice_scikit_learns_f1(masks, kinds):
    for pair, kind in zip(masks, kinds, strict=True):
        if kind != "as drawn":
            pair[["nothing found", "no truth"].index(kind)] = 0
    prediction, truth = masks[:, 0], masks[:, 1]
    arrays = packed(list(prediction), list(truth))
    found = scores.dice_scores(scores.overlap_of(arrays))

    metric = DiceMetric(include_background=False, ignore_empty=False, reduction="mean")
    one_hot = [
        torch.nn.functional.one_hot(torch.from_numpy(m).long(), 2).permute(0, 3, 1, 2)
        for m in (prediction, truth)
    ]
    metric(*one_hot)
    assert found["Dice"] == pytest.approx(metric.aggregate().item(), abs=1e-6)
    if masks.any():
        expected = f1_score(truth.ravel(), prediction.ravel(), zero_division=1.0)
        assert found["Dice_pooled"] == pytest.approx(expected, abs=1e-12)


def test_the_interval_of_dice_is_that_of_a_plain_loop_over_patients():
    patient = np.array(["x", "y", "x", "z"])
    bounds = scores.dice_bounds(FOUR, patient, seed=2, resamples=300)
    drawn: dict[str, list[float]] = {name: [] for name in bounds}
    for weight in scores.patient_draws(patient, seed=2, resamples=300):
        for column in weight.T:
            rows = np.repeat(np.arange(4), column)
            for name, value in scores.dice_scores(scores.Overlap(*(p[rows] for p in FOUR))).items():
                drawn[name].append(value)
    for name, (low, high) in bounds.items():
        expected = np.nanpercentile(drawn[name], [2.5, 97.5])
        assert (low, high) == pytest.approx(tuple(expected), abs=1e-12), name


def packed(prediction, truth):
    pairs = enumerate(zip(prediction, truth, strict=True))
    return predictions.join_masks(
        [
            [
                predictions.Masked(
                    f"image {i}",
                    str(i),
                    t.shape,
                    predictions.pack_mask(p),
                    predictions.pack_mask(t),
                )
            ]
            for i, (p, t) in pairs
        ]
    )


def test_masks_of_different_sizes_come_back_from_the_file_as_they_went_in(tmp_path):
    rng = np.random.default_rng(0)
    shapes = list(itertools.product((1, 3, 8), (1, 5, 16)))
    prediction = [rng.integers(0, 2, size=s).astype(bool) for s in shapes]
    truth = [rng.integers(0, 2, size=s).astype(bool) for s in shapes]
    np.savez_compressed(tmp_path / "predictions.npz", **packed(prediction, truth))
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        arrays = dict(file)
    for index in range(len(shapes)):
        got = predictions.masks_of(arrays, index)
        np.testing.assert_array_equal(got[0], prediction[index])
        np.testing.assert_array_equal(got[1], truth[index])
    overlap = scores.overlap_of(arrays)
    assert overlap.both.tolist() == [
        int((p & t).sum()) for p, t in zip(prediction, truth, strict=True)
    ]
    assert overlap.true.tolist() == [int(t.sum()) for t in truth]


def test_scores_come_back_from_the_file_as_they_went_in(tmp_path):
    parts = [
        [predictions.Scored("a.png", "1", [0.25], [1])],
        [predictions.Scored("图 b.png", "2", [1e-300], [0])],
    ]
    arrays = predictions.join_scores(parts, classes=["tb"])
    np.savez_compressed(tmp_path / "predictions.npz", **arrays)
    with np.load(tmp_path / "predictions.npz", allow_pickle=False) as file:
        assert {key: (a.dtype, a.tolist()) for key, a in file.items()} == {
            key: (a.dtype, a.tolist()) for key, a in arrays.items()
        }


def test_several_classes_are_scored_one_by_one_beside_their_mean():
    parts = [
        [
            predictions.Scored("a", "1", [0.9, 0.1], [1, 0]),
            predictions.Scored("b", "2", [0.8, 0.2], [0, 0]),
            predictions.Scored("c", "3", [0.7, 0.1], [1, 1]),
        ]
    ]
    arrays = predictions.join_scores(parts, classes=["mass", "nodule"])
    # mass: .9 > .8 but .7 < .8; nodule: .1 ties .1 (half), .1 < .2
    assert scores.label_scores(arrays) == {
        "AUROC": (0.5 + 0.25) / 2,
        "AUROC/mass": 0.5,
        "AUROC/nodule": 0.25,
    }
    assert set(scores.label_bounds(arrays, seed=0)) == {"AUROC", "AUROC/mass", "AUROC/nodule"}
