"""How far may a radiograph be turned, shifted, scaled and blurred by chance?

Geometry follows torchvision on PIL images; every number is drawn from the generator handed in.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageFilter

from trainers.data.transforms import BILINEAR


def affine(
    image: Image.Image, *, degrees: float, shift_px: tuple[float, float], scale: float
) -> Image.Image:
    """Return `image` turned about its middle, scaled, then shifted; black where nothing comes.

    Args:
        image: of any size, which it keeps.
        degrees: clockwise.
        shift_px: to the right, and down.
        scale: above 1 enlarges.

    Source: torchvision.transforms.functional.affine, without shear.
    """
    x, y = image.width * 0.5, image.height * 0.5
    # Pillow asks where each pixel comes from, which is the way back
    cosine, sine = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
    across, down = x + shift_px[0], y + shift_px[1]
    way_back = (
        cosine, sine, x - cosine * across - sine * down,
        -sine, cosine, y + sine * across - cosine * down,
    )  # fmt: skip
    return image.transform(image.size, Image.Transform.AFFINE, way_back, BILINEAR)


def random_affine(
    image: Image.Image,
    rng: np.random.Generator,
    *,
    degrees: float,
    shift: float,
    scale: tuple[float, float],
) -> Image.Image:
    """Return `image` turned, shifted and scaled by chance; four numbers are drawn from `rng`.

    Args:
        image: of any size, which it keeps.
        rng: drawn from.
        degrees: the most it is turned, either way.
        shift: the most it is shifted along each axis, either way, as a share of its side; in whole
            pixels.
        scale: factor on its size, from and to.

    Source: torchvision.transforms.RandomAffine.
    """
    turn, across, down = rng.uniform(-1, 1, 3)
    moved = (round(across * shift * image.width), round(down * shift * image.height))
    size = rng.uniform(*scale)
    return affine(image, degrees=turn * degrees, shift_px=moved, scale=size)


def random_blur(
    image: Image.Image, rng: np.random.Generator, *, sigma: tuple[float, float]
) -> Image.Image:
    """Return `image` blurred by a Gaussian whose width in pixels lies in `sigma`, evenly drawn.

    Pillow puts three box filters for the Gaussian, which differ from it by a grey value or two.
    """
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(*sigma)))
