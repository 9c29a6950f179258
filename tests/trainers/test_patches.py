"""Are targets cut and standardised as written down in the paper's code?"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from trainers.modules import patches


def test_a_patch_holds_its_pixels_by_row_then_column_then_channel():
    image = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4)
    cut = patches.patchify(image, 2)
    assert cut.shape == (2, 4, 12)
    # patch 1 is the upper right one: rows 0 and 1, columns 2 and 3
    by_hand = [image[0, c, r, k].item() for r in (0, 1) for k in (2, 3) for c in range(3)]
    assert cut[0, 1].tolist() == by_hand
    by_hand = [image[1, c, r, k].item() for r in (2, 3) for k in (0, 1) for c in range(3)]
    assert cut[1, 2].tolist() == by_hand


def test_cut_patches_can_be_put_together_again():
    image = torch.randn(2, 3, 12, 12)
    assert torch.equal(patches.unpatchify(patches.patchify(image, 4), 3), image)


def test_patches_are_standardised_by_the_unbiased_variance():
    values = torch.tensor([[[1.0, 2.0, 3.0, 6.0]]])
    # mean 3, squared distances 4 + 1 + 0 + 9 over 3
    expected = (np.array([1, 2, 3, 6]) - 3) / np.sqrt(14 / 3 + 1e-6)
    assert patches.standardise(values)[0, 0].tolist() == pytest.approx(expected.tolist())


def test_a_patch_without_contrast_becomes_zero_and_not_nan():
    assert torch.equal(patches.standardise(torch.full((1, 2, 5), 0.7)), torch.zeros(1, 2, 5))


def test_the_error_is_the_mean_over_all_hidden_values():
    prediction = torch.tensor([[[1.0, 2.0], [0.0, 0.0]]])
    target = torch.tensor([[[0.0, 2.0], [3.0, 0.0]]])
    assert patches.hidden_error(prediction, target).item() == pytest.approx((1 + 0 + 9 + 0) / 4)


def test_hidden_patches_get_what_was_predicted_and_seen_ones_stay():
    image = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    hide = torch.tensor([[3, 0], [1, 2]])
    predicted = torch.zeros(2, 2, 48)
    filled = patches.fill(image, hide, predicted, patch_px=4, standardised=False)
    assert (filled[0, :, 4:, 4:] == 0).all()
    assert (filled[0, :, :4, :4] == 0).all()
    assert torch.equal(filled[0, :, :4, 4:], image[0, :, :4, 4:])
    assert torch.equal(filled[1, :, 4:, 4:], image[1, :, 4:, 4:])


def test_a_standardised_prediction_gets_its_patchs_own_mean_and_deviation_back():
    image = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 + 1
    hide = torch.tensor([[2, 1]])
    target = patches.standardise(patches.patchify(image, 4)).gather(
        1, hide[:, :, None].expand(-1, -1, 48)
    )
    filled = patches.fill(image, hide, target, patch_px=4, standardised=True)
    torch.testing.assert_close(filled, image)


def test_what_is_shown_is_grey_in_0_to_1_and_says_what_was_hidden():
    grey = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    centre, spread = (torch.tensor(x).reshape(3, 1, 1) for x in (mean, std))
    image = (grey.expand(-1, 3, -1, -1) - centre) / spread
    said = {"a": torch.full((1, 1, 48), 99.0)}
    shown = patches.rebuilt(
        image, torch.tensor([[1]]), said, patch_px=4, standardised=False, mean=mean, std=std
    )
    torch.testing.assert_close(shown.original, grey[:, 0])
    where = torch.zeros(1, 8, 8, dtype=torch.bool)
    where[0, :4, 4:] = True
    assert torch.equal(shown.hidden, where)
    assert (shown.by["a"][where] == 1).all()
    torch.testing.assert_close(shown.by["a"][~where], shown.original[~where])
