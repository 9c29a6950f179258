"""Which ResNet-50 is in a file, and does it fit? Names are torchvision's, which are timm's too.

The classification layer `fc` is no part of an encoder.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from trainers.config import ConfigError, InputError

MARK = "layer1.0.conv1.weight"
"""A tensor by which a ResNet is known."""
BLOCKS = (3, 4, 6, 3)
"""Bottlenecks of each stage. Source: He et al. 2016, table 1."""
STEM = 64
"""Channels after the first convolution."""
COUNTER = "num_batches_tracked"
"""Of a batch norm; files older than torch 0.4.1 have none, and nothing here depends on it."""


@dataclass(frozen=True, kw_only=True)
class ResNetSize:
    """Everything that decides what a ResNet encoder computes, weights aside."""

    network: Literal["resnet50"] = "resnet50"
    width: int = 64
    """Channels within a bottleneck of the first stage; each stage doubles them."""

    def __post_init__(self) -> None:
        if self.width < 1:
            raise ConfigError(f"`width` is {self.width}; expected at least 1")

    @property
    def widths(self) -> tuple[int, int, int, int]:
        """Channels after each stage: 256, 512, 1024 and 2048 of a ResNet-50."""
        first, second, third, fourth = (4 * self.width * 2**stage for stage in range(len(BLOCKS)))
        return first, second, third, fourth

    @property
    def embed_dim(self) -> int:
        """Channels at the end."""
        return self.widths[-1]

    @property
    def depth(self) -> int:
        """Layers as layer decay counts them: the stages."""
        return len(BLOCKS)


def shapes(width: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every encoder tensor by its name, the batch norms' counters left out."""
    found: dict[str, tuple[int, ...]] = {"conv1.weight": (STEM, 3, 7, 7)}
    norms = {"bn1": STEM}
    before = STEM
    for stage, blocks in enumerate(BLOCKS, start=1):
        inner = width * 2 ** (stage - 1)
        for block in range(blocks):
            name = f"layer{stage}.{block}"
            found[f"{name}.conv1.weight"] = (inner, before, 1, 1)
            found[f"{name}.conv2.weight"] = (inner, inner, 3, 3)
            found[f"{name}.conv3.weight"] = (4 * inner, inner, 1, 1)
            norms |= {f"{name}.bn1": inner, f"{name}.bn2": inner, f"{name}.bn3": 4 * inner}
            # a first stage as wide as the stem needs no projection
            if block == 0 and (stage > 1 or before != 4 * inner):
                found[f"{name}.downsample.0.weight"] = (4 * inner, before, 1, 1)
                norms[f"{name}.downsample.1"] = 4 * inner
            before = 4 * inner
    for name, channels in norms.items():
        for part in ("weight", "bias", "running_mean", "running_var"):
            found[f"{name}.{part}"] = (channels,)
    return found


def checked(path: Path, state: Mapping[str, Tensor], kind: str) -> ResNetSize:
    """Return the size of the ResNet-50 whose tensors `state` are said to be.

    Raises:
        InputError: it is another ResNet, lacks a tensor, or holds what is not finite.
    """
    size = ResNetSize(width=max(len(state[MARK]), 1))
    needed = shapes(size.width)
    absent = [name for name in needed if name not in state]
    if absent:
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise InputError(f"{path} lacks `{absent[0]}`{more} of a ResNet-50 (layout {kind})")
    for name, tensor in state.items():
        if name.endswith(COUNTER):
            continue
        if name not in needed:
            raise InputError(f"{path} has `{name}`, which is no part of a plain ResNet-50")
        if tuple(tensor.shape) != needed[name]:
            raise InputError(f"{path}: `{name}` is {tuple(tensor.shape)}; expected {needed[name]}")
        if not tensor.isfinite().all():
            raise InputError(f"{path}: `{name}` holds values that are not finite")
    return size


def fit(encoder: nn.Module, state: Mapping[str, Tensor], size: ResNetSize) -> None:
    """Put what a file holds into a ResNet of timm or torchvision; its `fc` stays as it is.

    Raises:
        InputError: the encoder is no ResNet, or one of another width.
    """
    ours = encoder.state_dict()
    if MARK not in ours:
        raise InputError("the weights are of a ResNet-50; expected a vision transformer")
    if len(ours[MARK]) != size.width:
        raise InputError(
            f"the weights are of another encoder: `width` {size.width} there, "
            f"{len(ours[MARK])} here"
        )
    result = encoder.load_state_dict(state, strict=False)
    absent = [n for n in result.missing_keys if not n.startswith("fc.") and COUNTER not in n]
    if absent or result.unexpected_keys:
        raise InputError(f"the encoder and the weights differ in {absent + result.unexpected_keys}")
