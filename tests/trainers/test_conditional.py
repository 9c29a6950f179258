"""Is the conditional contrast the one that is defined, by hand and against a plain one?"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trainers.config import ConfigError
from trainers.modules import conditional, contrast


def similarity(n: int) -> torch.Tensor:
    return torch.randn(n, n, generator=torch.Generator().manual_seed(3)) * 3


def kernel(n: int) -> torch.Tensor:
    points = torch.randn(n, 2, generator=torch.Generator().manual_seed(4))
    return torch.exp(-torch.cdist(points, points).square())


def test_three_records_by_hand() -> None:
    # records 0 and 1 are alike, 2 is like neither. With ridge 1 the pair's block is
    # [[2, h], [h, 2]]^-1 [[1, h], [h, 1]], h = 1/2: off the diagonal (2 h - h) / (4 - h h) = 2/15
    h = 0.5
    k = torch.tensor([[1, h, 0], [h, 1, 0], [0, 0, 1.0]])
    weights, alone = conditional.weigh(k, ridge=1.0)
    assert weights.tolist() == [[0, 1, 0.5], [1, 0, 0.5], [0, 0, 0]]
    assert alone.tolist() == [False, False, True]
    s = torch.tensor([[2.0, 1, 0], [0, 3, 1], [1, 0.5, 2]])
    e = math.exp
    each = [
        math.log(e(2) + 2 * e(1)) - 2,  # twice its one negative: (n - 1) times a weight of 1
        math.log(e(3) + 2 * e(0)) - 3,
        math.log(e(2) + e(1) + e(0.5)) - 2,  # alone: both others, once each
    ]
    found = conditional.conditional_nce(s, weights)
    assert found.item() == pytest.approx(sum(each) / 3, rel=1e-6)


def test_weights_of_unequal_likeness_are_those_of_the_regression() -> None:
    k = kernel(6).double().numpy()
    found = np.linalg.inv(k + 0.05 * np.eye(6)) @ k
    np.fill_diagonal(found, 0)
    found = np.clip(found, 0, None)
    weights = conditional.weigh(kernel(6), ridge=0.05).weights.numpy()
    np.testing.assert_allclose(weights, found / found.sum(axis=0), atol=1e-5)


def test_the_loss_is_its_definition_term_by_term() -> None:
    s, w = similarity(5).double().numpy(), conditional.weigh(kernel(5), ridge=0.05).weights.numpy()
    terms = []
    for i in range(5):
        negatives = 4 * sum(math.exp(s[i, j]) * w[j, i] for j in range(5))
        terms.append(s[i, i] - math.log(math.exp(s[i, i]) + negatives))
    found = conditional.conditional_nce(similarity(5), torch.from_numpy(w)).item()
    assert found == pytest.approx(-np.mean(terms), rel=1e-5)


def test_uniform_weights_make_it_the_plain_contrast() -> None:
    s = similarity(7)
    uniform = (1 - torch.eye(7)) / 6
    found = conditional.conditional_nce(s, uniform)
    assert found.item() == pytest.approx(contrast.info_nce(s).item(), rel=1e-6)
    nobody_alike, _ = conditional.weigh(torch.eye(7), ridge=0.05)
    assert torch.allclose(nobody_alike, uniform)


def test_the_order_of_records_does_not_matter() -> None:
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    s, k = similarity(6), kernel(6)
    weights = conditional.weigh(k, ridge=0.05).weights
    turned = conditional.weigh(k[order][:, order], ridge=0.05).weights
    assert torch.allclose(turned, weights[order][:, order], atol=1e-5)
    assert conditional.conditional_nce(s[order][:, order], turned).item() == pytest.approx(
        conditional.conditional_nce(s, weights).item(), rel=1e-5
    )


def test_the_same_report_is_no_negative_unless_there_is_no_other() -> None:
    same = torch.eye(4, dtype=torch.bool)
    same[0, 1] = same[1, 0] = True
    weights = conditional.weigh(torch.ones(4, 4), ridge=0.1, same=same).weights
    assert weights[:, 0].tolist() == pytest.approx([0, 0, 0.5, 0.5])
    assert weights[:, 2].tolist() == pytest.approx([1 / 3, 1 / 3, 0, 1 / 3], rel=1e-5)
    all_same = conditional.weigh(torch.ones(3, 3), ridge=0.1, same=torch.ones(3, 3) > 0)
    assert torch.allclose(all_same.weights, (1 - torch.eye(3)) / 2)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_records_have_finite_losses_and_gradients(n: int) -> None:
    s = similarity(n).requires_grad_()
    weights = conditional.weigh(torch.zeros(n, n), ridge=0.05).weights
    loss = conditional.conditional_nce(s, weights)
    loss.backward()
    assert loss.isfinite()
    assert s.grad is not None
    assert s.grad.isfinite().all()
    assert n > 1 or loss.item() == 0


def test_similar_ones_far_apart_do_not_overflow() -> None:
    s = torch.tensor([[200.0, -200], [200, -200]], requires_grad=True)
    loss = conditional.conditional_nce(s, conditional.weigh(torch.ones(2, 2), ridge=0.1).weights)
    loss.backward()
    assert loss.item() == pytest.approx(200.0)  # 0 and 400
    assert s.grad is not None
    assert s.grad.isfinite().all()


def test_more_records_than_can_be_solved_for_are_refused_with_what_to_change() -> None:
    with pytest.raises(ConfigError, match=r"1024 .* 1025.*`batch_size`"):
        conditional.weigh(torch.eye(1025), ridge=0.05)


def test_weights_do_not_depend_on_the_precision_of_the_training() -> None:
    plain = conditional.weigh(kernel(6), ridge=0.05).weights
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(conditional.weigh(kernel(6), ridge=0.05).weights, plain)
        loss = conditional.conditional_nce(similarity(6), plain)
    assert loss.dtype == torch.float32
    assert loss.item() == conditional.conditional_nce(similarity(6), plain).item()


def test_the_kernel_of_categories_is_scikit_learns() -> None:
    codes = torch.tensor([[0, 5], [0, 5], [1, 5], [2, 7], [0, 7], [1, 6]])
    z = StandardScaler().fit_transform(OneHotEncoder(sparse_output=False).fit_transform(codes))
    apart = np.linalg.norm(z[:, None] - z, axis=2)
    ordered = np.sort(apart[apart > 0])
    width = ordered[(len(ordered) - 1) // 2]  # torch's median is the lower of two middle ones
    wanted = rbf_kernel(z, gamma=1 / (2 * width**2))
    np.testing.assert_allclose(conditional.category_kernel(codes).numpy(), wanted, atol=1e-5)


def test_records_of_one_category_are_all_alike() -> None:
    assert torch.equal(conditional.category_kernel(torch.zeros(4, 2).long()), torch.ones(4, 4))


def test_the_kernel_of_reports_is_the_cosine_of_scikit_learns_tf_idf() -> None:
    ids = torch.tensor([[2, 7, 7, 9, 0], [2, 7, 8, 0, 0], [2, 9, 9, 9, 7], [2, 5, 6, 5, 0]])
    counted = ids > 0
    counts = np.zeros((4, 10))
    for row, words in enumerate(ids.tolist()):
        for word in words:
            counts[row, word] += word > 0
    counts = counts[:, counts.sum(axis=0) > 0]
    plain = TfidfTransformer(smooth_idf=False, norm=None).fit_transform(counts).toarray()
    z = plain - counts  # scikit-learn adds 1 to the logarithm
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(conditional.report_kernel(ids, counted).numpy(), z @ z.T, atol=1e-5)


def test_a_report_of_words_that_all_have_is_like_none() -> None:
    ids = torch.tensor([[2, 4, 5], [2, 4, 6], [2, 4, 0]])
    assert conditional.report_kernel(ids, ids > 0)[2].tolist() == [0, 0, 0]


def test_reports_are_the_same_only_word_for_word() -> None:
    ids = torch.tensor([[2, 4, 5], [2, 4, 6], [2, 4, 5]])
    assert conditional.same_reports(ids).tolist() == [
        [True, False, True], [False, True, False], [True, False, True],
    ]  # fmt: skip
