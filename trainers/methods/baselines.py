"""Encoders taken as they are: nothing is trained, so only their size is to be known.

`random` is initialised as a pre-training begins, and has the size of the pre-trained encoders it
is compared with. `imagenet` and `mae` come from published files, which tell their own sizes.
"""

from __future__ import annotations

from trainers.config import ConfigError
from trainers.weights import EncoderSize

SIZES: dict[str, EncoderSize] = {
    "paper": EncoderSize(),
    "quick": EncoderSize(image_px=64, patch_px=8, embed_dim=96, depth=6, num_heads=3),
}
"""By preset; a test holds them equal to those of the methods that pre-train."""


def size_of(preset: str) -> EncoderSize:
    """Return the shapes of an encoder that is not loaded from weights.

    Raises:
        ConfigError: there is no such preset.
    """
    if preset not in SIZES:
        raise ConfigError(f"`preset` is `{preset}`; expected one of {', '.join(SIZES)}")
    return SIZES[preset]
