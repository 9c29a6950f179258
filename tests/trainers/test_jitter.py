"""Is a grey image jittered as torchvision's ColorJitter does it?"""

from __future__ import annotations

import numpy as np
from PIL import Image
from torchvision.transforms import functional

from trainers.data.jitter import jitter

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)


class Drawn:
    """A generator that draws what it is told."""

    def __init__(self, *numbers: float) -> None:
        self.numbers = numbers

    def random(self, count: int) -> list[float]:
        assert count == len(self.numbers)
        return list(self.numbers)


def test_brightness_and_contrast_are_those_of_torchvision_in_either_order() -> None:
    # factors 0.6 + 0.8 x: brightness 1.3, contrast 0.7
    one = functional.adjust_contrast(functional.adjust_brightness(IMAGE, 1.3), 0.7)
    other = functional.adjust_brightness(functional.adjust_contrast(IMAGE, 0.7), 1.3)
    assert np.array_equal(jitter(IMAGE, Drawn(0.0, 0.1, 0.875, 0.125)), one)
    assert np.array_equal(jitter(IMAGE, Drawn(0.0, 0.9, 0.875, 0.125)), other)
    assert not np.array_equal(one, other)


def test_one_image_in_five_is_left_as_it_is() -> None:
    rng = np.random.default_rng(3)
    same = [np.array_equal(jitter(IMAGE, rng), PIXELS) for _ in range(1000)]
    assert 0.16 < np.mean(same) < 0.24
    assert np.array_equal(jitter(IMAGE, Drawn(0.8, 0.1, 0.9, 0.9)), PIXELS)
