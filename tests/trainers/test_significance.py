"""Every test of a difference against SciPy, a textbook's slow form, or a published example."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from trainers import scores, significance

# DeLong et al. 1988: albumin, total protein, K-G score and outcome of 43 patients, reprinted with
# results in SAS/STAT User's Guide, The LOGISTIC Procedure, "Comparing Receiver Operating
# Characteristic Curves"
OVARIAN = np.array(
    """
    3.0 5.8 10 0  3.2 6.3 5 1  3.9 6.8 3 1  2.8 4.8 6 0  3.2 5.8 3 1  0.9 4.0 5 0  2.5 5.7 8 0
    1.6 5.6 5 1  3.8 5.7 5 1  3.7 6.7 6 1  3.2 5.4 4 1  3.8 6.6 6 1  4.1 6.6 5 1  3.6 5.7 5 1
    4.3 7.0 4 1  3.6 6.7 4 0  2.3 4.4 6 1  4.2 7.6 4 0  4.0 6.6 6 0  3.5 5.8 6 1  3.8 6.8 7 1
    3.0 4.7 8 0  4.5 7.4 5 1  3.7 7.4 5 1  3.1 6.6 6 1  4.1 8.2 6 1  4.3 7.0 5 1  4.3 6.5 4 1
    3.2 5.1 5 1  2.6 4.7 6 1  3.3 6.8 6 0  1.7 4.0 7 0  3.7 6.1 5 1  3.3 6.3 7 1  4.2 7.7 6 1
    3.5 6.2 5 1  2.9 5.7 9 0  2.1 4.8 7 1  2.8 6.2 8 0  4.0 7.0 7 1  3.3 5.7 6 1  3.7 6.9 5 1
    3.6 6.6 5 1
    """.split(),
    float,
).reshape(-1, 4)
ALBUMIN, PROTEIN, KG = -OVARIAN[:, 0], -OVARIAN[:, 1], OVARIAN[:, 2]
NO_BENEFIT = 1 - OVARIAN[:, 3]


def of_two(a: np.ndarray, b: np.ndarray, label: np.ndarray, patient: object = None):
    """DeLong's test of one class and one run a side."""
    owner = np.arange(len(label)) if patient is None else patient
    mean, _ = significance.delong(a[None, :, None], b[None, :, None], label[:, None], owner)
    return mean


def spread(outcome: significance.Outcome) -> float:
    return (outcome.high - outcome.low) / 2 / stats.norm.ppf(0.975)


def psi(x: float, y: float) -> float:
    return 1.0 if x > y else 0.5 if x == y else 0.0


def textbook(a: np.ndarray, b: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """Difference and variance by DeLong's formulas, pair by pair."""
    theta, v10, v01 = [], [], []
    for score in (a, b):
        positive, negative = score[label == 1], score[label == 0]
        each = np.array([[psi(x, y) for y in negative] for x in positive])
        theta.append(each.mean())
        v10.append(each.mean(axis=1))
        v01.append(each.mean(axis=0))
    m, n = len(v10[0]), len(v01[0])
    covariance = np.cov(v10) / m + np.cov(v01) / n
    return theta[0] - theta[1], covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]


def test_delong_gives_the_published_areas_and_errors():
    found = significance.components(np.stack([ALBUMIN, KG, PROTEIN]), NO_BENEFIT)
    assert found.auroc.round(4).tolist() == [0.7366, 0.7258, 0.6478]
    m, n = 12, 31
    error = np.sqrt(
        (found.positive**2).sum(axis=1) * m / (m - 1)
        + (found.negative**2).sum(axis=1) * n / (n - 1)
    )
    assert error.round(4).tolist() == [0.0927, 0.1028, 0.1]


@pytest.mark.parametrize(
    ("score", "difference", "error", "low", "high", "p"),
    [
        (ALBUMIN, 0.0108, 0.0953, -0.1761, 0.1976, 0.9102),
        (PROTEIN, -0.0780, 0.1046, -0.2830, 0.1271, 0.4561),
    ],
)
def test_delong_gives_the_published_contrasts(score, difference, error, low, high, p):
    found = of_two(score, KG, NO_BENEFIT)
    told = (found.difference, spread(found), found.low, found.high, found.p)
    assert [round(value, 4) for value in told] == [difference, error, low, high, p]


@pytest.mark.parametrize("ties", [False, True])
def test_delong_agrees_with_the_textbook_pair_by_pair(ties):
    rng = np.random.default_rng(3)
    label = (rng.random(80) < 0.3).astype(int)
    a, b = rng.normal(size=80) + label, rng.normal(size=80) + 0.5 * label
    if ties:
        a, b = a.round(), b.round()
    found = of_two(a, b, label)
    difference, variance = textbook(a, b, label)
    assert found.difference == pytest.approx(difference, abs=1e-12)
    assert spread(found) ** 2 == pytest.approx(variance, rel=1e-9)
    assert found.p == pytest.approx(2 * stats.norm.sf(abs(difference) / math.sqrt(variance)))


def test_the_mean_over_classes_has_the_variance_of_their_joint_covariance():
    """Against a jackknife over patients of the mean AUROC itself, which knows no formula."""
    rng = np.random.default_rng(4)
    N, C = 400, 3
    label = (rng.random((N, C)) < [0.2, 0.4, 0.5]).astype(int)
    shared = rng.normal(size=(N, 1))
    a, b = (shared + rng.normal(size=(N, C)) + gain * label for gain in (1.0, 0.8))
    found, each = significance.delong(a[None], b[None], label, np.arange(N))
    left_out = np.array(
        [
            scores.mean_auroc(np.delete(a, i, 0), np.delete(label, i, 0))
            - scores.mean_auroc(np.delete(b, i, 0), np.delete(label, i, 0))
            for i in range(N)
        ]
    )
    variance = (N - 1) / N * ((left_out - left_out.mean()) ** 2).sum()
    assert spread(found) ** 2 == pytest.approx(variance, rel=0.03)
    assert found.difference == pytest.approx(np.mean([one.difference for one in each]))
    assert spread(found) > spread(each[0]) / 3  # not that of independent classes


def test_images_of_one_patient_count_as_one_by_obuchowskis_formula():
    rng = np.random.default_rng(5)
    G, images = 40, 4
    owner = np.repeat(np.arange(G), images)
    mixed = rng.random(G * images) < 0.1  # else all images of a patient are of one label
    label = ((rng.random(G) < 0.4).repeat(images) ^ mixed).astype(int)
    kind = rng.normal(size=(G, 1)).repeat(images, axis=1).ravel()
    a, b = (kind * sign + rng.normal(size=G * images) + label for sign in (1, -1))
    found = of_two(a, b, label, owner)
    parts = []
    for score in (a, b):
        positive, negative = label == 1, label == 0
        each = (score[positive][:, None] > score[negative][None]).astype(float)
        theta = each.mean()
        parts.append(
            [
                np.array([(rows - theta).sum() for rows in by_patient])
                for by_patient in (
                    [each.mean(axis=1)[owner[positive] == g] for g in range(G)],
                    [each.mean(axis=0)[owner[negative] == g] for g in range(G)],
                )
            ]
        )
    m, n = label.sum(), (1 - label).sum()
    with_m, with_n = len(set(owner[label == 1])), len(set(owner[label == 0]))
    x, y = parts[0][0] - parts[1][0], parts[0][1] - parts[1][1]
    variance = (
        with_m / (with_m - 1) * (x**2).sum() / m**2
        + with_n / (with_n - 1) * (y**2).sum() / n**2
        + 2 * G / (G - 1) * (x * y).sum() / (m * n)
    )
    assert spread(found) ** 2 == pytest.approx(variance, rel=1e-9)
    assert spread(found) > 1.2 * spread(of_two(a, b, label))  # alike within a patient


def test_several_runs_a_side_are_tested_by_their_mean():
    rng = np.random.default_rng(6)
    label = (rng.random((60, 1)) < 0.5).astype(int)
    one, two, three = (rng.normal(size=(60, 1)) + label for _ in range(3))
    found, _ = significance.delong([one, two], [three], label, np.arange(60))
    expected = (scores.mean_auroc(one, label) + scores.mean_auroc(two, label)) / 2
    assert found.difference == pytest.approx(expected - scores.mean_auroc(three, label))
    twice, _ = significance.delong([one, one], [three], label, np.arange(60))
    once, _ = significance.delong([one], [three], label, np.arange(60))
    assert spread(twice) == pytest.approx(spread(once))


def test_equal_rankings_show_no_difference():
    rng = np.random.default_rng(7)
    label = (rng.random(50) < 0.5).astype(int)
    score = rng.normal(size=50)
    found = of_two(score, np.exp(score), label)
    assert (found.difference, found.p) == (0.0, 1.0)


def test_a_class_with_a_single_positive_patient_has_no_p():
    rng = np.random.default_rng(8)
    label = np.zeros((30, 2), int)
    label[0, 0], label[:15, 1] = 1, 1
    a, b = rng.normal(size=(2, 30, 2))
    mean, each = significance.delong(a[None], b[None], label, np.arange(30))
    assert math.isnan(mean.p)
    assert math.isnan(each[0].p)
    assert 0 < each[1].p <= 1
    label[0, 0] = 0  # now the class is left out of the mean
    mean, each = significance.delong(a[None], b[None], label, np.arange(30))
    assert mean == each[1]
    assert math.isnan(each[0].difference)


def test_the_bootstrap_agrees_with_scipys_on_pairs():
    rng = np.random.default_rng(9)
    G = 400
    a = rng.beta(5, 2, size=G)
    b = np.clip(a + rng.normal(0.01, 0.1, size=G), 0, 1)
    draws = scores.patient_draws(np.arange(G), seed=1, resamples=8000)
    weight = np.concatenate(list(draws), axis=1)
    drawn = (a - b) @ weight / G
    found = significance.bootstrap(float((a - b).mean()), drawn, G)
    # the same percentiles, which for 400 patients are hardly other than 2.5 and 97.5
    level = 1 - 2 * stats.norm.cdf(stats.t.ppf(0.025, G - 1) * math.sqrt(G / (G - 1)))
    theirs = stats.bootstrap(
        (a, b),
        lambda x, y, axis: x.mean(axis=axis) - y.mean(axis=axis),
        paired=True,
        n_resamples=8000,
        confidence_level=level,
        method="percentile",
        rng=2,
    ).confidence_interval
    assert level == pytest.approx(0.9506, abs=1e-3)
    width = theirs.high - theirs.low
    assert found.low == pytest.approx(theirs.low, abs=0.04 * width)
    assert found.high == pytest.approx(theirs.high, abs=0.04 * width)
    assert found.p == pytest.approx(stats.ttest_rel(a, b).pvalue, abs=0.02)


def test_the_bootstraps_p_is_below_a_twentieth_just_where_its_interval_leaves_out_zero():
    rng = np.random.default_rng(10)
    drawn = rng.normal(size=1999)
    for shift in np.linspace(1.5, 2.5, 41):
        found = significance.bootstrap(shift, drawn + shift, 50)
        if abs(found.low) > 0.03:
            assert (found.p < 0.05) == (found.low > 0)


def test_the_bootstrap_says_nothing_of_nothing():
    assert math.isnan(significance.bootstrap(math.nan, np.full(10, np.nan), 30).p)
    assert significance.bootstrap(0.0, np.zeros(1000), 30).p == pytest.approx(1.0)
    assert significance.bootstrap(1.0, np.ones(1000), 30).p > 0


def test_fewer_than_five_runs_a_side_are_tested_by_welch():
    a, b = [0.841, 0.846, 0.838], [0.829, 0.835, 0.836, 0.826]
    found, theirs = significance.over_seeds(a, b), stats.ttest_ind(a, b, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert found.test == "Welch"
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


@pytest.mark.parametrize(("first", "second"), [(5, 5), (5, 7)])
def test_from_five_runs_a_side_on_every_division_is_counted(first, second):
    rng = np.random.default_rng(11)
    a, b = rng.normal(0.84, 0.01, first), rng.normal(0.83, 0.02, second)

    def far(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.abs(stats.ttest_ind(x, y, equal_var=False, axis=axis).statistic)

    theirs = stats.permutation_test((a, b), far, n_resamples=np.inf, alternative="greater")
    found = significance.over_seeds(a.tolist(), b.tolist())
    assert found.test == "permutation"
    assert found.p == pytest.approx(theirs.pvalue)
    interval = stats.ttest_ind(a, b, equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))


def test_the_smallest_p_of_five_against_five_is_two_of_all_divisions():
    found = significance.over_seeds([5.0, 6.1, 7.3, 8.2, 9.4], [0.0, 1.1, 2.3, 3.2, 4.4])
    assert found.p == pytest.approx(2 / math.comb(10, 5))


def test_too_many_divisions_are_left_to_welch():
    rng = np.random.default_rng(12)
    a, b = rng.normal(size=12).tolist(), rng.normal(size=12).tolist()
    assert significance.over_seeds(a, b).p == pytest.approx(
        stats.ttest_ind(a, b, equal_var=False).pvalue
    )


def test_one_run_a_side_is_not_tested_over_seeds():
    assert significance.over_seeds([0.8], [0.7, 0.71]) is None


def test_runs_without_spread_are_called_different_by_no_p():
    assert significance.over_seeds([0.5, 0.5], [0.5, 0.5]).p == 1
    assert math.isnan(significance.over_seeds([0.6, 0.6], [0.5, 0.5]).p)


def test_against_a_published_number_it_is_a_one_sample_t_test():
    values = [0.836, 0.841, 0.833]
    found, theirs = significance.against_number(values, 0.84), stats.ttest_1samp(values, 0.84)
    assert found.p == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.95)
    assert (found.low + 0.84, found.high + 0.84) == pytest.approx((interval.low, interval.high))
    assert math.isnan(significance.against_number([0.836], 0.84).p)


def test_a_true_null_is_rejected_about_once_in_twenty_and_the_truth_is_covered():
    """A small edition of benchmarks/significance.py, with wide bounds."""
    rng = np.random.default_rng(13)
    trials, G = 300, 150
    rejected = dict.fromkeys(("DeLong", "bootstrap", "Welch", "permutation"), 0)
    covered = dict.fromkeys(rejected, 0)
    draws = np.concatenate(list(scores.patient_draws(np.arange(G), seed=0, resamples=500)), axis=1)
    for _ in range(trials):
        label = (rng.random(G) < 0.4).astype(np.uint8)
        case = rng.normal(size=G) + label
        a, b = case + rng.normal(size=G), case + rng.normal(size=G)
        apart = scores.weighted_aurocs(a, label, draws) - scores.weighted_aurocs(b, label, draws)
        difference = scores.auroc(a, label) - scores.auroc(b, label)
        outcomes = [
            of_two(a, b, label),
            significance.bootstrap(difference, apart, G),
            significance.over_seeds(rng.normal(size=4).tolist(), rng.normal(size=4).tolist()),
            significance.over_seeds(rng.normal(size=5).tolist(), rng.normal(size=5).tolist()),
        ]
        for outcome in outcomes:
            rejected[outcome.test] += outcome.p < 0.05
            covered[outcome.test] += outcome.low <= 0 <= outcome.high
    for test, times in rejected.items():
        assert 0.01 < times / trials < 0.10, test
        assert 0.90 < covered[test] / trials < 0.99, test


def test_ranks_are_scipys():
    values = np.random.default_rng(15).integers(0, 5, (3, 20)).astype(float)
    assert np.array_equal(significance.mid_ranks(values), stats.rankdata(values, axis=1))


def test_components_of_pairs_sum_to_nothing():
    rng = np.random.default_rng(14)
    label = np.array([1, 0, 0, 1, 1, 0])
    found = significance.components(rng.normal(size=(2, 6)), label)
    assert found.positive.sum(axis=1) == pytest.approx(0, abs=1e-12)
    assert found.negative.sum(axis=1) == pytest.approx(0, abs=1e-12)
    assert not found.positive[:, label == 0].any()
