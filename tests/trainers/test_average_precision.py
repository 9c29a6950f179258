"""Are boxes scored as the COCO tools and MGCA's rules say, and as a plain recount says?"""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from trainers import average_precision as ap
from trainers import predictions
from trainers.predictions import Boxed


def boxed(name: str, found, truth, patient: str = "") -> Boxed:
    """An image of 100 x 100 pixels; `found` has x, y, width, height, score."""
    found = np.array(found, float).reshape(-1, 5)
    truth = np.array(truth, float).reshape(-1, 4)
    return Boxed(name, patient or name, (100, 100), found[:, :4], found[:, 4], truth)


def random_arrays(seed: int, *, images: int = 24, decimals: int = 1) -> predictions.Arrays:
    """Some boxes nearly found, some not, some false, with many equal scores; two images each."""
    rng = np.random.default_rng(seed)
    items = []
    for i in range(images):
        G, P = rng.integers(0, 4), rng.integers(0, 7)
        truth = np.concatenate([rng.uniform(0, 60, (G, 2)), rng.uniform(10, 40, (G, 2))], axis=1)
        found = np.concatenate([rng.uniform(0, 60, (P, 2)), rng.uniform(10, 40, (P, 2))], axis=1)
        near = min(G, P)
        found[:near] = truth[:near] + rng.normal(0, 2.5, (near, 4))
        score = rng.random((P, 1)).round(decimals)
        items.append(boxed(f"i{i}", np.concatenate([found, score], axis=1), truth, f"p{i // 2}"))
    return predictions.join_boxes([items])


def overlap(a, b) -> float:
    width = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    height = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    both = max(width, 0) * max(height, 0)
    return both / (a[2] * a[3] + b[2] * b[3] - both)


def plain_precision(items: list[Boxed], least: float) -> float:
    """Count anew, box by box: greedy matching, then precision at 101 levels of recall."""
    judged = []
    for item in items:
        free = list(range(len(item.truth)))
        for p in sorted(range(len(item.score)), key=lambda p: -item.score[p]):
            fits = [(overlap(item.prediction[p], item.truth[g]), g) for g in free]
            best = max(fits, default=(0.0, -1))
            if best[0] >= least:
                free.remove(best[1])
            judged.append((item.score[p], int(best[0] >= least)))
    judged.sort(key=lambda pair: -pair[0])  # a stable sort: equal scores keep their order
    there = sum(len(item.truth) for item in items)
    hits = list(itertools.accumulate(right for _, right in judged))
    points = [(hit / there, hit / n) for n, hit in enumerate(hits, start=1)]
    levels = [max((p for r, p in points if r >= i / 100 - 1e-12), default=0.0) for i in range(101)]
    return sum(levels) / 101


def split_up(arrays: predictions.Arrays) -> list[Boxed]:
    named = zip(arrays["names"], arrays["patient"], strict=True)
    return [
        Boxed(str(name), str(patient), (100, 100), *predictions.boxes_of(arrays, i))
        for i, (name, patient) in enumerate(named)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_every_number_is_that_of_a_plain_recount(seed):
    arrays = random_arrays(seed)
    items = split_up(arrays)
    each = [plain_precision(items, least) for least in ap.OVERLAPS]
    found = ap.box_scores(arrays)
    assert found["mAP"] == pytest.approx(np.mean(each[:8]), abs=1e-6)
    assert found["AP50"] == pytest.approx(each[2], abs=1e-6)
    assert found["AP_coco"] == pytest.approx(np.mean(each[2:]), abs=1e-6)

    sure = [
        item._replace(prediction=item.prediction[item.score >= 0.5],
                      score=item.score[item.score >= 0.5])
        for item in items
    ]  # fmt: skip
    counted = [item for item in sure if len(item.score) and len(item.truth)]
    published = [plain_precision(counted, least) for least in ap.OVERLAPS[:8]]
    assert found["mAP_mgca"] == pytest.approx(np.mean(published), abs=1e-6)
    assert found["mgca_share"] == pytest.approx(len(counted) / len(items))


def test_overlaps_are_those_of_the_published_protocol_and_of_coco():
    assert ap.OVERLAPS[ap.LOW] == pytest.approx([0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75])
    np.testing.assert_array_equal(ap.OVERLAPS[ap.COCO_RANGE], np.linspace(0.5, 0.95, 10))
    assert ap.OVERLAPS[ap.HALF] == 0.5


@pytest.mark.parametrize("seed", range(4))
def test_an_image_drawn_twice_counts_as_two_equal_ones(seed):
    arrays = random_arrays(seed, decimals=9)
    items = split_up(arrays)
    weight = np.random.default_rng(seed).integers(0, 4, size=(len(items), 3))
    drawn = ap.weighted_precisions(ap.matches_of(ap.evaluate(arrays), arrays), weight)
    for column in range(3):
        copies = [item for item, w in zip(items, weight[:, column], strict=True) for _ in range(w)]
        tools = ap.evaluate(predictions.join_boxes([copies]))
        np.testing.assert_allclose(drawn[:, column], ap.accumulate(tools), atol=1e-12)


def test_bounds_hold_every_value_and_narrow_with_more_patients():
    few, many = random_arrays(3), random_arrays(3, images=240)
    for arrays in (few, many):
        values, bounds = ap.box_scores(arrays), ap.box_bounds(arrays, 0, resamples=200)
        assert bounds.keys() == values.keys()
        assert all(low <= values[name] <= high for name, (low, high) in bounds.items())
        assert bounds == ap.box_bounds(arrays, 0, resamples=200)
    widths = [np.diff(ap.box_bounds(a, 0, resamples=200)["mAP"]).item() for a in (few, many)]
    assert widths[1] < widths[0] / 2


def test_where_no_image_has_a_box_there_is_nothing_to_score():
    arrays = predictions.join_boxes([[boxed("a", [[1, 1, 5, 5, 0.9]], []), boxed("b", [], [])]])
    values, bounds = ap.box_scores(arrays), ap.box_bounds(arrays, 0, resamples=20)
    assert values.pop("mgca_share") == 0
    assert np.isnan(list(values.values())).all()
    assert np.isnan(bounds["mAP"]).all()


def test_where_nothing_is_predicted_every_number_is_0():
    arrays = predictions.join_boxes([[boxed("a", [], [[1, 1, 5, 5]]), boxed("b", [], [])]])
    assert set(ap.box_scores(arrays).values()) == {0.0}
    low, high = ap.box_bounds(arrays, 0, resamples=20)["mAP_mgca"]
    assert (low, high) == (0.0, 0.0)


def test_false_alarms_on_healthy_images_and_images_missed_cost_nothing_by_mgcas_rules_alone():
    there = boxed("a", [[10, 10, 20, 20, 0.9]], [[10, 10, 20, 20]])
    healthy = boxed("b", [[10, 10, 20, 20, 0.95]], [])
    missed = boxed("c", [[50, 50, 20, 20, 0.4]], [[10, 10, 20, 20]])
    found = ap.box_scores(predictions.join_boxes([[there, healthy, missed]]))
    assert found["mAP_mgca"] == pytest.approx(1)
    assert found["mgca_share"] == pytest.approx(1 / 3)
    # one of two boxes is found, after a false alarm: precision 1/2 up to recall 1/2
    assert found["mAP"] == pytest.approx(0.5 * 51 / 101)


def test_of_equal_scores_the_first_in_the_file_counts_first():
    right = boxed("a", [[10, 10, 20, 20, 0.5]], [[10, 10, 20, 20]])
    wrong = boxed("b", [[10, 10, 20, 20, 0.5]], [])
    assert ap.box_scores(predictions.join_boxes([[right, wrong]]))["mAP"] == pytest.approx(1)
    assert ap.box_scores(predictions.join_boxes([[wrong, right]]))["mAP"] == pytest.approx(0.5)


def test_nothing_is_printed(capsys):
    ap.box_scores(random_arrays(0))
    assert capsys.readouterr() == ("", "")
