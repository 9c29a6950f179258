"""How much brighter and harder may a radiograph get by chance?

Colour jitter as it acts on a grey image: saturation and hue, which the methods jitter too, change
nothing there.
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageEnhance


def jitter(
    image: Image.Image,
    rng: np.random.Generator,
    *,
    strength: float = 0.4,
    probability: float = 0.8,
) -> Image.Image:
    """Return `image`, with `probability` made brighter or darker, harder or softer, in any order.

    Four numbers are drawn from `rng` either way. Values that leave 0 to 255 are cut.

    Args:
        image: of mode "L".
        rng: drawn from.
        strength: the factors lie between 1 - strength and 1 + strength.
        probability: of any change.

    Source: REFERS's released code (brightness and contrast from 0.6 to 1.4, p 0.8).
    """
    happens, first, *factors = rng.random(4)
    if happens >= probability:
        return image
    brightness, contrast = (1 - strength + 2 * strength * share for share in factors)
    steps = [(ImageEnhance.Brightness, brightness), (ImageEnhance.Contrast, contrast)]
    for enhance, factor in steps if first < 0.5 else reversed(steps):
        image = enhance(image).enhance(factor)
    return image
