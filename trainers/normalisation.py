"""By which mean and deviation are images normalised for an encoder? By those it was trained with.

An `encoder.pt` of this project says so itself; of other files it follows from who published them.
Values are of grey levels in [0, 1]. Standard library only.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from trainers import catalog
from trainers.config import ConfigError

logger = logging.getLogger(__name__)

AUTO = "auto"


class Normalisation(NamedTuple):
    """What is taken off an image, and what the rest is divided by: one value, or one a channel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def of(self, name: str) -> float | tuple[float, ...]:
        """Return `mean` or `std` as a setting: a number where all channels share one."""
        values: tuple[float, ...] = getattr(self, name)
        return values[0] if len(set(values)) == 1 else values


MRM = Normalisation((0.4978,), (0.2449,))
"""Of MIMIC-CXR's grey values. Source: MRM's released code, pre-training and fine-tuning."""
IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of ImageNet's red, green and blue. Source: torchvision; MAE's and REFERS's released code."""
JAX = Normalisation((0.5,), (0.5,))
"""Scales to [-1, 1]. Source: google-research/vision_transformer."""

OF_LAYOUT = {"mrm": MRM, "npz": JAX}
"""By the layout of a published file; the others were all trained with `IMAGENET`'s."""
OF_METHOD = {"mae": IMAGENET, "refers": IMAGENET}
"""By the method of a pre-training here; the others take `MRM`'s."""


def of_method(name: str) -> Normalisation:
    """Return what images are normalised by when `name` of the catalog pre-trains here."""
    return OF_METHOD.get(catalog.base_of(name), MRM)


def of_run(config: Mapping[str, Any]) -> Normalisation | None:
    """Return what the run with this `config.json` normalised by; None where it does not tell."""
    if "mean" in config and "std" in config:  # a fine-tuning
        return _named(config)
    if config.get("program") == "pretrain" and config.get("method") in catalog.METHODS:
        return of_method(config["method"])
    return None


def of_file(content: Mapping[str, Any], kind: str) -> Normalisation | None:
    """Return what the encoder in a file was trained with; None where a file of ours does not tell.

    Args:
        content: what the file holds.
        kind: its layout, as `layouts.find` names it.
    """
    if kind != "cxrlab":
        return OF_LAYOUT.get(kind, IMAGENET)
    if "mean" in content and "std" in content:
        return _named(content)
    config = content.get("config")
    return of_run(config) if isinstance(config, Mapping) else None


def or_mrms(found: Normalisation | None, path: Any) -> Normalisation:
    """Return `found`, or MRM's with a warning, which is what such files were used with."""
    if found is None:
        logger.warning(
            "%s does not tell the mean and deviation it was trained with; MRM's are taken, "
            "%s and %s; `mean` and `std` say otherwise",
            path, *(MRM.of(name) for name in MRM._fields),
        )  # fmt: skip
        return MRM
    return found


def _named(told: Mapping[str, Any]) -> Normalisation:
    return Normalisation(*(_tuple(Levels(told[name])) for name in Normalisation._fields))


def _tuple(value: Any) -> tuple[float, ...]:
    return value if isinstance(value, tuple) else (value,)


class Levels:
    """The type of a setting: a number, three of them, or `auto`, which is the encoder's own."""

    def __new__(cls, value: object) -> Any:
        """Return a float, a tuple of three, or `auto`, from text or JSON.

        Raises:
            ConfigError: it is none of these.
        """
        if value == AUTO:
            return AUTO
        parts = value.strip("[( )]").split(",") if isinstance(value, str) else value
        many = isinstance(parts, Sequence)
        try:
            found = tuple(map(float, parts)) if many else (float(parts),)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            found = ()
        if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
            raise ConfigError(
                f"a grey level is `{value}`; expected a number, three with commas, or {AUTO}"
            )
        return found[0] if len(found) == 1 else found


def settle(config: Any) -> None:
    """Put MRM's values where a task's settings still say `auto`, as for an encoder without one's.

    Raises:
        ConfigError: a deviation is not above zero.
    """
    for name in Normalisation._fields:
        if getattr(config, name) == AUTO:
            object.__setattr__(config, name, MRM.of(name))
    if min(_tuple(config.std)) <= 0:
        raise ConfigError(f"`std` is {config.std}; expected above 0")
