"""Program: trains an encoder on one task, chooses by validation, then tests once.

python -m trainers.finetune --task siim --method mrm --pretrained RUN/checkpoints/encoder.pt \
        --ratio 10 --data_path DIR --output_dir RUN
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from trainers import (
    catalog,
    checkpoints,
    distributed,
    loop,
    normalisation,
    program,
    provenance,
    weights,
)
from trainers.config import ConfigError, InputError, MissingError, option
from trainers.data.batch import Seeded, collate
from trainers.distributed import World
from trainers.events import EventLog
from trainers.methods import baselines
from trainers.training import Training

logger = logging.getLogger(__name__)

PREDICTIONS = "predictions.npz"
VALIDATED = "predictions_val.npz"
"""What a classification says of its validation set, by which `trainers.evaluate --details` chooses
thresholds."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """What is fine-tuned, from which encoder, on how much of the labels."""

    task: str = option("", "a task of the catalog")
    method: str = option("random", "the method whose encoder this is", aliases=("model",))
    preset: Literal["paper", "quick"] = option("paper", "sizes and schedule to start from")
    data_path: str = option("", "folder of the task's data set", recipe=False)
    data_version: str = option("", "what the data are called, such as V3; goes into the result")
    pretrained: str = option("", "the encoder: a run's encoder.pt, MAE, MRM, ...", recipe=False)
    encoder_recipe: str = option("", "recipe of the encoder's run or digest of its file; filled in")
    ratio: int = option(100, "percent of the labelled training set: 1, 10 or 100")
    split_seed: int = option(0, "seed of splits and label shares that no list fixes")

    def __post_init__(self) -> None:
        if not 0 < self.ratio <= 100:
            raise ConfigError(f"`ratio` is {self.ratio}; expected a percentage in 1 to 100")


def task_module(name: str) -> ModuleType:
    """Return the module of a task, or of the one that it varies.

    Raises:
        MissingError: the catalog has no such task.
    """
    if name not in catalog.TASKS:
        raise MissingError(f"no task is called `{name}`; there are {', '.join(catalog.TASKS)}")
    return importlib.import_module(f"trainers.tasks.{catalog.TASKS[name].base or name}")


def settle_variant(name: str, given: dict[str, Any]) -> None:
    """Add to `given` what makes the task `name` a variant, and refuse what would make another.

    Scores of a task and of its variants do not compare, and each has a column of its own.

    Raises:
        ConfigError: another value is given for one of these settings.
    """
    own = catalog.TASKS[name]
    for key, value in own.settings.items():
        if given.setdefault(key, value) != value:
            raise ConfigError(
                f"`{key}` is `{given[key]}`, but `{name}` is `{own.base}` with `{key}` {value}"
            )
    for other, entry in catalog.TASKS.items():
        for key, value in entry.settings.items():
            if entry.base == name and given.get(key) == value:
                raise ConfigError(f"`{name}` with `{key}` {value} is the task `{other}`")


def configure(argv: Sequence[str]) -> program.Parsed:
    """Resolve a command line of this program; see `program.parse`."""
    task = program.glance(argv, "task") or ""
    module = task_module(task)
    method = program.glance(argv, "method", ["model"]) or "random"
    if method not in catalog.METHODS:
        raise MissingError(f"no method is called `{method}`")
    preset = program.glance(argv, "preset") or "paper"
    if preset not in module.PRESETS:
        raise ConfigError(f"`preset` is `{preset}`; expected one of {', '.join(module.PRESETS)}")

    # some sources train longer on more labels; unlisted shares follow the preset alone
    by_ratio = getattr(module, "BY_RATIO", {})
    share = program.glance(argv, "ratio") or "100"
    ratio = int(share) if share.isdecimal() else 0

    chosen = {**module.PRESETS[preset], **by_ratio.get((preset, ratio), {})}

    def adjust(given: dict[str, Any]) -> None:
        resume = str(given.get("resume", ""))
        if resume and not Path(resume).is_file():
            raise MissingError(f"`resume`: {resume} does not exist")
        if resume and not checkpoints.is_training_state(Path(resume)):
            given["pretrained"], given["resume"] = resume, ""  # published weights, to start from
        start = str(given.get("pretrained", ""))
        entry = catalog.METHODS[method]
        if (entry.pretrains or entry.weights) and not start:
            raise ConfigError(f"`pretrained` is not given; `{method}` needs its encoder")
        if start and not given.get("encoder_recipe"):
            given["encoder_recipe"] = _encoder_recipe(Path(start))
        settle_variant(task, given)
        if start:
            take_normalisation(given, {**_defaults(module), **chosen}, Path(start), method)
        if hasattr(module, "settle"):
            module.settle(given)

    return program.parse(
        argv,
        program="finetune",
        classes=(Config, Training, module.Config),
        preset=chosen,
        adjust=adjust,
    )


def _defaults(module: ModuleType) -> dict[str, Any]:
    return {field.name: field.default for field in fields(module.Config)}


def take_normalisation(
    given: dict[str, Any], otherwise: Mapping[str, Any], start: Path, method: str = ""
) -> None:
    """Put `mean` and `std` of the encoder at `start` into `given`, where they are to be its own.

    Args:
        given: settings that a person gave.
        otherwise: those that hold where none is given.
        start: the encoder.
        method: by which it is going to be made, if it need not be there yet.

    Raises:
        MissingError: no such file.
        InputError: it cannot be read.
    """
    names = [
        name
        for name in normalisation.Normalisation._fields
        if given.get(name, otherwise.get(name)) == normalisation.AUTO
    ]
    if names:
        try:
            own = weights.normalisation_at(start)
        except MissingError:
            if not method:
                raise
            own = normalisation.of_method(method)  # a plan's: its pre-training is yet to begin
        given |= {name: own.of(name) for name in names}


def _encoder_recipe(path: Path) -> str:
    beside = path.resolve().parent.parent / "config.json"
    if path.parent.name == "checkpoints" and beside.is_file():
        recipe = str(json.loads(beside.read_text(encoding="utf-8"))["recipe"])
        # one that was kept on the way is another encoder than what became of it
        return f"{recipe}@{path.stem}" if path.match(checkpoints.EPOCH.format("*")) else recipe
    if not path.is_file():
        raise MissingError(f"`pretrained`: {path} does not exist")
    return checkpoints.sha256(path)


def main(argv: Sequence[str]) -> int:
    """Fine-tune as `argv` says and return the exit code."""
    events: EventLog | None = None

    def work() -> int:
        nonlocal events
        parsed = configure(argv)
        if parsed.print_only:
            print(json.dumps(parsed.flat, indent=2, ensure_ascii=False))
            return 0
        config, training, _ = parsed.configs
        if not config.data_path:
            raise ConfigError("`data_path` is not given; it names the folder of the data set")
        world, device = program.set_up(training)
        folder = Path(training.output_dir)
        if world.first:
            program.open_folder(folder, parsed.flat, resuming=bool(training.resume))
        events = EventLog(folder, enabled=world.first)
        _Finetuning(parsed, world, device, events).run()
        return 0

    return program.guard(work, lambda: events)


class Predicted(NamedTuple):
    """What a model said of one split."""

    arrays: dict[str, np.ndarray]
    """As `predictions.npz` holds them."""
    skipped: tuple[str, ...]
    """Each item that could not be read, and why."""


class _Finetuning:
    """One fine-tuning: its model, its splits, and what is done with them in turn."""

    def __init__(
        self, parsed: program.Parsed, world: World, device: torch.device, events: EventLog
    ) -> None:
        self.config, self.training, self.task_config = parsed.configs
        self.flat, self.world, self.device, self.events = parsed.flat, world, device, events
        self.module = task_module(self.config.task)
        self.folder = Path(self.training.output_dir)
        self._validated: DataLoader[Any] | None = None

    def run(self) -> None:
        """Train, choose, test, and write the result."""
        config = self.config
        self.splits = self.module.open_splits(
            self.task_config, Path(config.data_path), ratio=config.ratio, seed=config.split_seed
        )
        if config.data_version:
            self.splits.facts["version"] = config.data_version
        sizes = {n: len(getattr(self.splits, n)) for n in ("train", "val", "test")}
        logger.info("items: %s", ", ".join(f"{n} {size}" for n, size in sizes.items()))
        model, self.start = self._build()
        if hasattr(model, "prepare"):
            model.prepare(self.splits)  # what it is made of follows from the training set
        if self.world.first:
            provenance.write(
                self.folder,
                seed=self.training.seed,
                data=self.splits.facts,
                weights=self.start,
            )
        entry = catalog.TASKS[config.task]
        rate_of = getattr(self.module, "rate_of", None)
        job = loop.Job(
            model=model.to(self.device),
            train=self.splits.train,
            validate=self._validate,
            select=(f"val/{entry.metric}", entry.better),
            depth=model.size.depth,
            config=self.flat,
            size=asdict(model.size),
            rate_of=partial(rate_of, self.task_config) if rate_of else None,
        )
        finished = loop.Trainer(job, self.training, self.world, self.events).run()
        distributed.wait()
        best = checkpoints.load(self.folder / checkpoints.BEST)
        model.load_state_dict(best["model"])
        if entry.metric == "AUROC":
            validated = self._predict(model, self._validated or self._in_order(self.splits.val))
            if self.world.first:
                self._save(VALIDATED, validated)
        tested = self._predict(model, self._in_order(self.splits.test))
        if self.world.first:
            tested = complete(self.module, self.task_config, tested, self.device)
            self._conclude(finished, best, tested)

    def _build(self) -> tuple[nn.Module, dict[str, Any]]:
        if not self.config.pretrained:
            size = baselines.size_of(self.config.preset)
            return self.module.Task(self.task_config, size), {}
        state, size, report = weights.load_encoder(Path(self.config.pretrained))
        model = self.module.Task(self.task_config, size)
        weights.fit_encoder(model.encoder, state, size)
        logger.info("encoder from %s: %s", self.config.pretrained, report)
        seen = report.normalisation
        told = {"normalisation": seen._asdict()} if seen else {}
        return model, {**program.weights_facts(self.config.pretrained), **told}

    def _validate(self, model: nn.Module) -> dict[str, float]:
        # some scores take longer than an epoch; those that choose must not
        score = getattr(self.module, "validation_score", self.module.score)
        if self._validated is None:
            self._validated = self._in_order(self.splits.val)
        scores = score(self._predict(model, self._validated).arrays)
        return {f"val/{name}": value for name, value in scores.items()}

    def _in_order(self, split: Any) -> DataLoader[Any]:
        return in_order(
            split,
            batch_size=self.training.held,
            num_workers=min(self.training.num_workers, 4),
            world=self.world,
        )

    def _predict(self, model: nn.Module, loader: DataLoader[Any]) -> Predicted:
        """Return what `model` says of every item, each once."""
        autocast = loop.autocast(self.training, self.device)
        return predict(model, loader, self.module, device=self.device, autocast=autocast)

    def _save(self, name: str, predicted: Predicted) -> None:
        path = self.folder / name
        program.keep(
            self.folder, self.events, lambda: np.savez_compressed(path, **predicted.arrays)
        )

    def _conclude(self, finished: loop.Finished, best: dict[str, Any], tested: Predicted) -> None:
        self._save(PREDICTIONS, tested)
        values = {f"test/{k}": v for k, v in self.module.score(tested.arrays).items()}
        values |= {k: v for k, v in finished.values.items() if k.startswith("val/")}
        values[best["selected_by"]] = best["value"]
        bounds = self.module.bounds(tested.arrays, seed=0)
        result = {
            "method": self.config.method,
            "task": self.config.task,
            "ratio": self.config.ratio,
            "metric": catalog.TASKS[self.config.task].metric,
            "values": values,
            "bounds": {f"test/{name}": pair for name, pair in bounds.items()},
            "selected_by": best["selected_by"],
            "step": best["step"],
            "train_seconds": round(finished.seconds, 1),
            "checkpoint": checkpoints.BEST,
            "checkpoint_sha256": checkpoints.sha256(self.folder / checkpoints.BEST),
            "predictions": PREDICTIONS,
            "encoder": {**self.start, "recipe": self.config.encoder_recipe},
            "skipped": finished.skipped + len(tested.skipped),
            "data": self.splits.facts,
        }
        program.write_result(self.folder, result, self.events)
        program.show(
            lambda: self.module.samples(tested.arrays, self.splits.test, self.folder), self.events
        )
        self.events.end("succeeded")


def in_order(split: Any, *, batch_size: int, num_workers: int, world: World) -> DataLoader[Any]:
    """Return a loader of this process's share of a split.

    Its workers live as long as it does, and read the same items each time: so what a split keeps in
    memory is decoded once for all validations.

    Args:
        split: a data set of a task.
        batch_size: of this process.
        num_workers: loader processes; 0 loads in this one.
        world: who else takes a share.
    """
    mine = [(0, i) for i in range(world.rank, len(split), world.size)]
    return DataLoader(
        Seeded(split, 0),
        batch_sampler=[mine[i : i + batch_size] for i in range(0, len(mine), batch_size)],
        collate_fn=collate,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        generator=torch.Generator(),
    )


@torch.inference_mode()
def predict(
    model: nn.Module,
    loader: DataLoader[Any],
    module: ModuleType,
    *,
    device: torch.device,
    autocast: Any,
) -> Predicted:
    """Return the predictions of `model` for a whole split, gathered from all processes.

    Args:
        model: the task's module.
        loader: of this process's share of the split, as `in_order` makes it.
        module: the task's file, whose `collect` packs the outputs.
        device: where the model lies.
        autocast: the precision to predict in.

    Raises:
        InputError: no item of the split can be read.
    """
    model.eval()
    outputs: list[Any] = []
    skipped: list[str] = []
    for batch in loader:
        skipped += [str(bad) for bad in batch.pop("skipped")]
        if not batch:
            continue
        with autocast:
            said = model.predict(loop.to_device(batch, device))
        outputs.append(module.collect(batch, {k: _to_cpu(v) for k, v in said.items()}))
    gathered = distributed.gather([(outputs, skipped)])
    outputs = [part for parts, _ in gathered for part in parts]
    if not outputs:
        raise InputError("no item to evaluate on can be read")
    return Predicted(module.join(outputs), tuple(line for _, bad in gathered for line in bad))


def complete(module: ModuleType, config: Any, tested: Predicted, device: torch.device) -> Predicted:
    """Return `tested` with what a task reads off the predictions before it scores a test.

    Args:
        module: the task's file; most have nothing to add.
        config: the task's settings.
        tested: what a model said of the test set.
        device: where to read.
    """
    add = getattr(module, "complete", None)
    return tested._replace(arrays=add(config, tested.arrays, device)) if add else tested


def _to_cpu(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float().cpu() if value.is_floating_point() else value.cpu()
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
