"""Retrieval over one pool: by hand, with equal texts, with ties, and whatever the chunks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from sklearn.metrics import top_k_accuracy_score

from trainers import retrieval
from trainers.retrieval import recalls


def words(*texts: int) -> np.ndarray:
    return np.array([[text, 0] for text in texts])


def test_ranks_are_counted_by_hand():
    # texts at 0, 40, 90 and 180 degrees; images at 10, 30, 60 and 30
    image, text = (
        np.stack([np.cos(np.deg2rad(a)), np.sin(np.deg2rad(a))], axis=1)
        for a in ([10, 30, 60, 30], [0, 40, 90, 180])
    )
    found = recalls(image, text, words(0, 1, 2, 3))
    # own texts are 1st, 1st, 2nd (40 is nearer to 60 than 90 is) and 4th
    assert found["recall_at_1_image_to_text"] == 2 / 4
    assert found["recall_at_5_image_to_text"] == 1
    # own images are 1st; 1st, but the 4th is there too: half; 1st; 4th... of 60, 30, 30, 10
    assert found["recall_at_1_text_to_image"] == pytest.approx((1 + 1 / 2 + 1 + 0) / 4)
    assert found["retrieval_pool"] == 4


def test_of_distinct_texts_recall_is_scikit_learns_top_k_accuracy():
    rng = np.random.default_rng(0)
    image, text = rng.normal(size=(2, 60, 8))
    text += image
    found = recalls(image, text, words(*range(60)))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (image, text))
    for k, (name, alike) in itertools.product(
        (1, 5, 10), {"image_to_text": a @ b.T, "text_to_image": b @ a.T}.items()
    ):
        expected = top_k_accuracy_score(range(60), alike, k=k, labels=range(60))
        assert found[f"recall_at_{k}_{name}"] == pytest.approx(expected)


def test_an_equal_text_is_a_hit():
    image = np.eye(3)
    text = np.eye(3)[[1, 0, 2]]  # the first two have each other's
    assert recalls(image, text, words(0, 1, 2))["recall_at_1_image_to_text"] == 1 / 3
    assert recalls(image, text, words(7, 7, 2))["recall_at_1_image_to_text"] == 1
    assert recalls(image, text, words(7, 7, 2))["recall_at_1_text_to_image"] == 1


def test_where_all_is_alike_recall_is_that_of_chance():
    found = recalls(np.ones((20, 4)), np.ones((20, 4)), words(*range(20)))
    assert found["recall_at_1_image_to_text"] == pytest.approx(1 / 20)
    assert found["recall_at_5_text_to_image"] == pytest.approx(5 / 20)
    # with ten texts said twice, the chance that neither of two is among the first five of 20
    twice = recalls(np.ones((20, 4)), np.ones((20, 4)), words(*range(10), *range(10)))
    assert twice["recall_at_5_image_to_text"] == pytest.approx(1 - (15 * 14) / (20 * 19))


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch):
    rng = np.random.default_rng(1)
    image, text = rng.normal(size=(2, 23, 3)).round(1)
    ids = words(*rng.integers(0, 9, 23))
    whole = recalls(image, text, ids)
    monkeypatch.setattr(retrieval, "CHUNK", 4)
    assert recalls(image, text, ids) == pytest.approx(whole)


def test_the_order_of_the_pairs_changes_nothing():
    rng = np.random.default_rng(2)
    image, text = rng.normal(size=(2, 30, 5))
    ids, order = words(*rng.integers(0, 12, 30)), rng.permutation(30)
    moved = recalls(image[order], text[order], ids[order])
    assert moved == pytest.approx(recalls(image, text, ids))


def test_what_is_no_number_has_no_recall():
    image = np.ones((3, 2))
    image[1] = np.nan
    assert np.isnan(recalls(image, np.ones((3, 2)), words(0, 1, 2))["recall_at_1_image_to_text"])
