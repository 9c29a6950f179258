"""What does a fine-tuned model say of images that its run has never seen?

The checkpoint carries the run's configuration, so that images are prepared and precision is chosen
as in the run; where the images and their labels lie is all that is to be told.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from trainers import checkpoints, layouts, loop, weights
from trainers.config import ConfigError, InputError, resolve
from trainers.distributed import World
from trainers.finetune import Config, Predicted, complete, in_order, predict, task_module
from trainers.methods import baselines
from trainers.resnets import ResNetSize
from trainers.training import Training
from trainers.weights import AnySize, EncoderSize

logger = logging.getLogger(__name__)


class Trained(NamedTuple):
    """A model as its fine-tuning left it."""

    model: nn.Module
    module: ModuleType
    """The task's file."""
    config: Any
    """The task's own settings."""
    training: Training
    run: Config
    facts: dict[str, Any]
    """Which checkpoint of which run it is; JSON."""


class Tested(NamedTuple):
    """What a model said of a folder of images."""

    predicted: Predicted
    missing: int
    """Images that the labels name and the folder does not hold."""


def read(path: Path, task: str) -> Trained:
    """Return the model in `path`, the `best.pt` or `last.pt` of a fine-tuning on `task`.

    Raises:
        MissingError: no such file or task.
        InputError: the file is anything else; the message says what.
    """
    module = task_module(task)
    content = checkpoints.load(path)
    config = _config_of(path, content, task)
    try:
        run, training, own = (_settings(cls, config) for cls in (Config, Training, module.Config))
    except ConfigError as error:
        raise InputError(f"{path} carries settings that do not fit this version: {error}") from None
    model = module.Task(own, _size_of(path, content, run))
    try:
        model.load_state_dict(_weights(content))
    except RuntimeError as error:
        line = str(error).split("\n")[1].strip()
        raise InputError(f"{path} does not fit the task `{task}`: {line}") from None
    facts = {
        "method": run.method,
        "ratio": run.ratio,
        "checkpoint": str(path),
        "checkpoint_sha256": checkpoints.sha256(path),
        "recipe": config["recipe"],
        "step": content["step"],
        "selected_by": content.get("selected_by", ""),
    }
    return Trained(model, module, own, training, run, facts)


def _config_of(path: Path, content: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """Return the configuration in a checkpoint of a fine-tuning; refuse all else by its name."""
    wanted = f"expected `best.pt` or `last.pt` of a fine-tuning on `{task}`"
    config = content.get("config")
    if content.get("format") == layouts.FORMAT:
        raise InputError(f"{path} is an encoder without the head of a task; {wanted}")
    if not isinstance(config, Mapping) or "program" not in config or "model" not in content:
        raise InputError(f"{path} is no checkpoint of a run: it holds no settings; {wanted}")
    if config["program"] == "pretrain":
        raise InputError(f"{path} is of a pre-training by `{config.get('method')}`; {wanted}")
    if config.get("task") != task:
        raise InputError(f"{path} is of a fine-tuning on `{config.get('task')}`; {wanted}")
    return config


def _settings(cls: type, config: Mapping[str, Any]) -> Any:
    names = {field.name for field in dataclasses.fields(cls)}
    given = {name: value for name, value in config.items() if name in names}
    (settings,) = resolve([cls], preset={}, given=given)
    return settings


def _size_of(path: Path, content: Mapping[str, Any], run: Config) -> AnySize:
    size = content.get("size")
    if isinstance(size, Mapping):
        return ResNetSize(**size) if "network" in size else EncoderSize(**size)
    # files of versions that did not keep it
    if not run.pretrained:
        return baselines.size_of(run.preset)
    if not Path(run.pretrained).is_file():
        raise InputError(
            f"{path} does not tell its encoder's size, and {run.pretrained}, from which it was "
            "trained, is gone"
        )
    return weights.load_encoder(Path(run.pretrained))[1]


def _weights(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights that the run would be judged by: averaged ones where there are any."""
    averaged = content.get("averaged") or {}
    mark = "module."
    chosen = {n.removeprefix(mark): t for n, t in averaged.items() if n.startswith(mark)}
    return chosen or content["model"]


def examine(
    trained: Trained, images: Path, labels: Path, *, device: str, num_workers: int
) -> Tested:
    """Return what a model says of every image that `labels` names and `images` holds.

    A warning names each image that is missing or cannot be read.

    Args:
        trained: the model.
        images: a folder with images at any depth.
        labels: the task's file, or folder, of labels.
        device: `auto`, `cpu` or `cuda`.
        num_workers: loader processes; 0 loads in this one.

    Raises:
        MissingError: folder, labels or all of the images are not there.
        InputError: the labels are not what they should be, or no image can be read.
    """
    split = trained.module.open_folder(trained.config, images, labels)
    place = loop.pick_device(device)
    if place.type == "cuda":
        torch.set_float32_matmul_precision("high")
    predicted = predict(
        trained.model.to(place),
        in_order(
            split,
            batch_size=trained.training.held,
            num_workers=num_workers,
            world=World(0, 1, 0),
        ),
        trained.module,
        device=place,
        autocast=loop.autocast(trained.training, place),
    )
    for line in predicted.skipped:
        logger.warning("skipped %s", line)
    predicted = complete(trained.module, trained.config, predicted, place)
    return Tested(predicted, split.missing)
