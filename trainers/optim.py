"""Which parameters are trained how fast: groups, layer decay, schedules, and Lookahead."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["cosine", "poly", "constant", "plateau"]


def layer_of(name: str, depth: int) -> int:
    """Return how deep a parameter lies: 0 the embeddings, i + 1 block i, depth + 1 all else.

    What a task adds to a block of the encoder (`extras.blocks.i`) lies as deep as that block. Of a
    ResNet, 0 is the stem, and its four stages are 1 to 4.
    """
    if re.match(r"encoder\.(patch_embed\.|cls_token$|pos_embed$|conv1\.|bn1\.)", name):
        return 0
    stage = re.match(r"encoder\.layer([1-4])\.", name)
    if stage:
        return int(stage.group(1))
    block = re.match(r"(?:encoder|extras)\.blocks\.(\d+)\.", name)
    return int(block.group(1)) + 1 if block else depth + 1


def parameter_groups(
    model: nn.Module,
    *,
    weight_decay: float,
    layer_decay: float,
    depth: int,
    rate_of: Callable[[str], float] | None = None,
) -> list[dict[str, Any]]:
    """Return optimiser groups with `weight_decay` and the factor `lr_scale` of each.

    Vectors (biases, norms, layer scales) do not decay; class and mask tokens, being stored with
    three dimensions, do, as in the released MAE and MRM code. With `layer_decay` below 1, a
    parameter of layer l is trained at layer_decay ** (depth + 1 - l) of the learning rate; with
    `rate_of`, also at the share of it that this returns for the parameter's name.

    Source: weight-decay rule, MAE's `param_groups_weight_decay` (timm); layer decay, BEiT
    (Bao et al., 2022), appendix.
    """
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        decay = 0.0 if parameter.ndim <= 1 or name.endswith(".bias") else weight_decay
        scale = layer_decay ** (depth + 1 - layer_of(name, depth))
        scale *= rate_of(name) if rate_of else 1.0
        group = groups.setdefault(
            (decay, scale), {"params": [], "weight_decay": decay, "lr_scale": scale}
        )
        group["params"].append(parameter)
    return list(groups.values())


def build_optimizer(
    kind: Optimizer,
    groups: list[dict[str, Any]],
    *,
    betas: tuple[float, float],
    momentum: float,
    device: torch.device,
) -> torch.optim.Optimizer:
    """Return AdamW (fused where the device has it), Adam or SGD; the loop sets the learning rates.

    AdamW takes weight decay off the weights, the two others add it to the gradient.
    """
    if kind == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=momentum, fused=True)
    if kind == "adam":
        return torch.optim.Adam(groups, lr=0.0, betas=betas, fused=True)
    return torch.optim.AdamW(groups, lr=0.0, betas=betas, fused=True)


def learning_rate(
    done: float,
    *,
    peak: float,
    floor: float,
    warmup: float,
    total: float,
    schedule: Schedule,
) -> float:
    """Return the learning rate after `done` of `total` updates (fractions allowed).

    `cosine` and `constant` warm up linearly from 0 to `peak`, then fall along half a cosine to
    `floor` or stay. `poly` falls linearly from the start, and warm-up multiplies it, as in
    mmsegmentation's per-iteration schedule (power 1). `plateau` stays at a `peak` that the loop
    lowers as `Plateau` says, and never goes below `floor`.

    Source: MAE's `adjust_learning_rate` (cosine); MRM's segmentation configuration (poly).
    """
    rising = min(done / warmup, 1.0) if warmup > 0 else 1.0
    if schedule == "poly":
        return floor + (peak - floor) * max(1.0 - done / total, 0.0) * rising
    if rising < 1.0:
        return peak * rising
    if schedule == "constant":
        return peak
    if schedule == "plateau":
        return max(peak, floor)
    share = min((done - warmup) / max(total - warmup, 1e-9), 1.0)
    return floor + (peak - floor) * 0.5 * (1.0 + math.cos(math.pi * share))


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share (`lr_scale`) of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


class Plateau(NamedTuple):
    """How far the learning rate has been lowered for want of progress in validation."""

    scale: float = 1.0
    """The factor on the learning rate."""
    best: float | None = None
    """The best value so far."""
    stale: int = 0
    """Validations since then, or since the rate was lowered."""

    def after(
        self, value: float, *, better: Literal["higher", "lower"], patience: int, factor: float
    ) -> Plateau:
        """Return what follows from one more validation, whose value is `value`.

        When `patience` of them in a row were no better than the best, the rate is multiplied by
        `factor`, and as many are waited for again. A value that is not finite is never better.
        """
        best = self.best
        ahead = best is None or (value > best if better == "higher" else value < best)
        if ahead and math.isfinite(value):
            return Plateau(self.scale, value, 0)
        if self.stale + 1 < patience:
            return self._replace(stale=self.stale + 1)
        return Plateau(self.scale * factor, best, 0)


class Lookahead:
    """Slow weights: every `k` updates the fast ones are drawn back towards them, and both meet.

    Source: Zhang et al. 2019 ("Lookahead Optimizer"), algorithm 1.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, *, k: int, alpha: float) -> None:
        """Start with the weights as they are.

        Args:
            optimizer: moves the fast weights, which are the model's own.
            k: updates between two meetings.
            alpha: how far the slow weights go towards the fast ones, in (0, 1].
        """
        self.k, self.alpha = k, alpha
        self.fast = [p for group in optimizer.param_groups for p in group["params"]]
        self.slow = [p.detach().clone() for p in self.fast]

    @torch.no_grad()
    def after(self, step: int) -> None:
        """Let fast and slow weights meet, if update number `step` (from 1) is one to do so."""
        if step % self.k:
            return
        for slow, fast in zip(self.slow, self.fast, strict=True):
            slow.lerp_(fast, self.alpha)
            fast.copy_(slow)

    def state(self) -> list[Tensor]:
        """Return the slow weights, without which a training does not go on as it would have."""
        return self.slow

    def restore(self, state: list[Tensor]) -> None:
        """Take the slow weights that `state` returned."""
        for slow, saved in zip(self.slow, state, strict=True):
            slow.copy_(saved)


def averaged(model: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of `model` that `update_parameters` moves to it by 1 - `decay` each time.

    Buffers are averaged too, so that batch statistics belong to the averaged weights.
    """
    average = get_ema_multi_avg_fn(decay)
    return AveragedModel(model, multi_avg_fn=average, use_buffers=True)
