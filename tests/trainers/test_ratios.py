"""The error of a difference of ratios, against a jackknife, a recount and a textbook's t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trainers import ratios, scores, significance
from trainers.ratios import Ratio


def masks(seed: int, images: int = 150) -> scores.Overlap:
    """Masks of very different sizes; what is true is the same for all seeds."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    true = (truth.lognormal(6, 1, images) * (truth.random(images) < 0.5)).astype(np.int64)
    both = (true * rng.uniform(0.2, 1, images)).astype(np.int64)
    return scores.Overlap(both, both + (true * rng.uniform(0, 0.4, images)).astype(np.int64), true)


def pooled(overlap: scores.Overlap, which: np.ndarray) -> float:
    return scores.dice_scores(scores.Overlap(*(part[which] for part in overlap)))["Dice_pooled"]


@pytest.mark.parametrize("kind", ["Dice", "Dice_positive", "Dice_pooled"])
def test_a_kind_of_dice_as_a_ratio_is_that_kind(kind):
    overlap = masks(1)
    ratio = ratios.of_masks(overlap)[kind]
    expected = scores.dice_scores(overlap)[kind]
    assert ratio.numerator.sum() / ratio.denominator.sum() == pytest.approx(expected)


def test_the_error_is_that_of_a_jackknife_over_patients():
    a, b = masks(1), masks(2)
    patient = np.arange(150) // 2
    sides = [[ratios.of_masks(side)["Dice_pooled"]] for side in (a, b)]
    found = ratios.errors(*sides, patient, [np.ones((150, 1), int)])
    left_out = np.array([pooled(a, patient != g) - pooled(b, patient != g) for g in range(75)])
    expected = math.sqrt(74 / 75 * ((left_out - left_out.mean()) ** 2).sum())
    assert found.here == pytest.approx(expected, rel=0.05)
    assert found.drawn[0] == pytest.approx(found.here)


def test_a_draws_error_is_that_of_the_images_it_holds():
    a, b = masks(1, 40), masks(2, 40)
    weight = np.random.default_rng(3).multinomial(40, np.full(40, 1 / 40))[:, None]
    sides = [[ratios.of_masks(side)["Dice_pooled"]] for side in (a, b)]
    found = ratios.errors(*sides, np.arange(40), [weight])
    times = np.repeat(np.arange(40), weight[:, 0])
    repeated = [[Ratio(*(part[times] for part in side[0]))] for side in sides]
    again = ratios.errors(*repeated, np.arange(40), [np.ones((40, 1), int)])
    assert found.drawn[0] == pytest.approx(again.here)


def test_the_error_of_a_mean_difference_is_the_textbooks():
    rng = np.random.default_rng(4)
    a, b, c = (Ratio(rng.random(50), np.ones(50)) for _ in range(3))
    found = ratios.errors([a, b], [c], np.arange(50), [np.ones((50, 1), int)])
    apart = (a.numerator + b.numerator) / 2 - c.numerator
    assert found.here == pytest.approx(stats.sem(apart))
    alone = ratios.errors([a], [], np.arange(50), [np.ones((50, 1), int)])
    assert alone.here == pytest.approx(stats.sem(a.numerator))


def test_the_studentised_interval_of_a_mean_is_about_students():
    rng = np.random.default_rng(5)
    apart = rng.normal(0.2, 1, 80)
    draws = np.concatenate(
        list(scores.patient_draws(np.arange(80), seed=0, resamples=8000)), axis=1
    )
    ratio = Ratio(apart, np.ones(80))
    error = ratios.errors([ratio], [], np.arange(80), [draws])
    found = significance.studentised(float(apart.mean()), apart @ draws / 80, *error)
    theirs = stats.ttest_1samp(apart, 0)
    low, high = theirs.confidence_interval(0.95)
    assert found.low == pytest.approx(low, abs=0.02)
    assert found.high == pytest.approx(high, abs=0.02)
    assert found.p == pytest.approx(theirs.pvalue, abs=0.02)


def test_the_studentised_p_and_interval_agree_with_a_plain_loop():
    rng = np.random.default_rng(6)
    drawn, errors = rng.normal(0.3, 1, 999), rng.uniform(0.8, 1.2, 999)
    found = significance.studentised(0.3, drawn, 1.1, errors)
    far = sorted(abs(d - 0.3) / e for d, e in zip(drawn, errors, strict=True))
    reach = 1.1 * float(np.quantile(far, 0.95))
    assert (found.low, found.high) == pytest.approx((0.3 - reach, 0.3 + reach))
    assert found.p == (sum(one >= 0.3 / 1.1 for one in far) + 1) / 1000


def test_where_nothing_moves_nothing_is_shown():
    same = significance.studentised(0.0, np.zeros(100), 0.0, np.zeros(100))
    assert (same.p, same.low, same.high) == (1.0, 0.0, 0.0)
    assert math.isnan(significance.studentised(0.1, np.full(9, 0.1), 0.0, np.zeros(9)).p)
    assert math.isnan(significance.studentised(math.nan, np.zeros(9), 1.0, np.ones(9)).p)


def test_a_true_null_of_heavy_masks_is_rejected_about_once_in_twenty():
    """A small edition of benchmarks/significance.py, with wide bounds."""
    rng = np.random.default_rng(7)
    trials, images = 300, 150
    draws = np.concatenate(
        list(scores.patient_draws(np.arange(images), seed=0, resamples=400)), axis=1
    )
    rejected = 0
    for _ in range(trials):
        true = (rng.lognormal(6, 1, images) * (rng.random(images) < 0.5)).astype(np.int64)
        sides = []
        for _ in "ab":
            both = (true * rng.uniform(0, 1, images)).astype(np.int64)
            sides.append(scores.Overlap(both, both + (0.2 * true).astype(np.int64), true))
        points = [scores.dice_scores(side)["Dice_pooled"] for side in sides]
        each = [scores.weighted_dice(side, draws)["Dice_pooled"] for side in sides]
        known = [ratios.of_masks(side)["Dice_pooled"] for side in sides]
        error = ratios.errors(known[:1], known[1:], np.arange(images), [draws])
        found = significance.studentised(points[0] - points[1], each[0] - each[1], *error)
        rejected += found.p < 0.05
    assert 0.01 < rejected / trials < 0.10
