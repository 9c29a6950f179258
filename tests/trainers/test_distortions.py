"""Distortions: torchvision's geometry, a Gaussian's width, and chance from the generator alone."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as theirs

from trainers.data import distortions


def picture(width: int = 60, height: int = 44) -> Image.Image:
    pixels = np.random.default_rng(3).integers(0, 256, (height, width), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize(
    ("degrees", "shift", "scale"), [(0, (0, 0), 1.0), (17, (0, 0), 1.0), (-20, (5, -3), 0.95),
                                    (3.3, (-6, 4), 1.05)]
)  # fmt: skip
def test_the_geometry_is_torchvisions_to_the_pixel(degrees, shift, scale):
    image = picture()
    ours = distortions.affine(image, degrees=degrees, shift_px=shift, scale=scale)
    bilinear = InterpolationMode.BILINEAR
    expected = theirs.affine(image, degrees, list(shift), scale, [0.0, 0.0], bilinear)
    assert np.array_equal(np.asarray(ours), np.asarray(expected))


def test_a_turn_by_a_quarter_is_clockwise():
    image = Image.fromarray(np.pad(np.full((1, 1), 255, np.uint8), ((0, 4), (2, 2))))
    turned = np.asarray(distortions.affine(image, degrees=90, shift_px=(0, 0), scale=1.0))
    # from the top to the right
    assert np.unravel_index(turned.argmax(), turned.shape) == (2, 4)


def test_chance_stays_within_its_bounds_and_reaches_them():
    """A white square of 10 in the middle of 100; its place tells the shift."""
    image = Image.new("L", (100, 100))
    image.paste(255, (45, 45, 55, 55))
    rng = np.random.default_rng(0)
    places, areas = [], []
    for _ in range(300):
        seen = distortions.random_affine(image, rng, degrees=20, shift=0.1, scale=(0.95, 1.05))
        rows, columns = np.nonzero(np.asarray(seen) > 127)
        places += [rows.mean() - 49.5, columns.mean() - 49.5]
        areas.append(np.asarray(seen).sum() / 255)
    assert 9.5 < np.abs(places).max() < 10.6
    assert 100 * 0.95**2 - 2 < min(areas) < max(areas) < 100 * 1.05**2 + 2


@pytest.mark.parametrize("sigma", [0.5, 1.5, 3.0])
def test_a_blur_is_close_to_a_gaussian_of_its_width(sigma):
    image = picture(90, 80)
    blurred = distortions.random_blur(image, np.random.default_rng(0), sigma=(sigma, sigma))
    expected = gaussian_filter(np.asarray(image, dtype=float), sigma, mode="nearest")
    inner = np.s_[12:-12, 12:-12]
    assert np.abs(np.asarray(blurred, dtype=float)[inner] - expected[inner]).mean() < 1.5


def test_what_is_drawn_follows_from_the_generator_alone():
    def drawn(seed):
        rng = np.random.default_rng(seed)
        image = distortions.random_affine(picture(), rng, degrees=20, shift=0.1, scale=(0.95, 1.05))
        return np.asarray(distortions.random_blur(image, rng, sigma=(0.1, 3.0)))

    assert np.array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
