"""Are the position tables those that MAE and the released MRM code compute?"""

from __future__ import annotations

import math

import pytest
import torch

from trainers.modules.positions import sincos_table

# (patch, dimension): (usual, as released with MRM); measured on the released code at 14 x 14, 768
ENTRIES = {
    (1, 0): (0.841471, 0.841471),
    (1, 192): (0.540302, 0.540302),
    (14, 384): (0.841471, 0.841471),
    (1, 100): (0.008254, 0.296873),
    (1, 191): (0.000105, 0.101034),
    (14, 500): (0.003831, 0.246232),
    (195, 191): (0.001364, 0.967635),
    (195, 767): (0.999999, 0.252354),
}
SUMS = (69594.4939, 37421.6216)


@pytest.mark.parametrize("legacy", [False, True])
def test_the_table_has_the_values_of_the_released_code(legacy):
    table = sincos_table(14, 768, legacy=legacy)
    assert table.shape == (1, 197, 768)
    for (patch, dim), expected in ENTRIES.items():
        assert table[0, 1 + patch, dim].item() == pytest.approx(expected[legacy], abs=1e-6)
    assert table.double().sum().item() == pytest.approx(SUMS[legacy], abs=1e-2)


def test_the_class_token_has_no_position():
    assert not sincos_table(3, 8)[0, 0].any()


def test_the_first_half_tells_the_column_and_the_second_the_row():
    table = sincos_table(3, 8)[0, 1:].reshape(3, 3, 8)
    assert torch.equal(table[0, :, :4], table[2, :, :4])
    assert torch.equal(table[:, 0, 4:], table[:, 2, 4:])
    # column 2 by hand: two waves of frequency 1 and 1/100
    expected = [math.sin(2), math.sin(0.02), math.cos(2), math.cos(0.02)]
    assert table[1, 2, :4].tolist() == pytest.approx(expected)


def test_a_width_that_two_axes_cannot_share_is_refused():
    with pytest.raises(ValueError, match="divisible by 4"):
        sincos_table(3, 10)
