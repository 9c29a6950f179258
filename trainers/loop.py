"""The one training loop: device, precision, accumulation, validation, stopping, resuming.

It is read from top to bottom. A method or task gives a module whose `forward` returns losses by
name; everything about when and how it is trained stands here.

An update is one step of the optimiser, after some micro-batches on each process. Which
items an update sees follows from the seed and its number alone, and each item's randomness from
the seed, the epoch and its index; so a run that was cut and resumed ends bit for bit (on a CPU)
where an undisturbed one ends, with any number of loader workers.
"""

from __future__ import annotations

import contextlib
import logging
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from trainers import checkpoints, distributed, optim
from trainers.config import ConfigError, InputError
from trainers.distributed import World
from trainers.events import EventLog
from trainers.feed import Batches, Skipped, open_loader
from trainers.meter import Meter
from trainers.room import FULL, Room
from trainers.signals import Signals
from trainers.training import Training

logger = logging.getLogger(__name__)


class Keep(NamedTuple):
    """Which weights are kept on the way, beside the last and the best."""

    every: int
    """Epochs between them."""
    content: Callable[[nn.Module, int], dict[str, Any]]
    """What is kept of a model after so many updates."""


class Job(NamedTuple):
    """What is trained, on what, and how it is judged on the way."""

    model: nn.Module
    train: Any
    """A data set of `trainers.data.batch`; may have `epoch_indices(rng)` as its sampler."""
    validate: Callable[[nn.Module], dict[str, float]]
    """Called in eval mode on the bare module; returns `val/NAME` values, alike on all ranks."""
    select: tuple[str, Literal["higher", "lower"]] | None
    """Validation metric by which `best.pt` is kept; None keeps only the last weights.

    The schedule `plateau` goes by it too, and by `val/loss` where there is none."""
    depth: int
    """Encoder blocks, for layer decay."""
    config: dict[str, Any]
    """The resolved configuration, stored in each checkpoint."""
    size: dict[str, Any] | None = None
    """The shapes of the encoder, stored in each checkpoint, where the configuration lacks them."""
    rate_of: Callable[[str], float] | None = None
    """The share of the learning rate at which a parameter is trained, by its name; None: all."""
    keep: Keep | None = None


class Finished(NamedTuple):
    """How a training ended."""

    step: int
    seconds: float
    """Time spent training, over all attempts."""
    skipped: int
    """Items that could not be read, counted once each in this attempt."""
    best: float | None
    values: dict[str, float]
    """The last validation."""


class Stopped(Exception):
    """SIGTERM or SIGINT came; `last.pt` is written."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


class NonFiniteLoss(Exception):
    """A loss, or a weight, is NaN or infinite; names the step, the part and the items."""


def pick_device(wanted: str) -> torch.device:
    """Return the device for `auto`, `cpu` or `cuda`.

    Raises:
        ConfigError: `cuda` is asked for where there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError("`device` is `cuda`, but torch sees no CUDA device here")
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(wanted)


def to_device(batch: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Move the tensors of a batch, without waiting, and leave the rest."""
    return {
        k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()
    }


def autocast(config: Training, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Return the autocast context of the configured precision."""
    if config.precision == "fp32":
        return contextlib.nullcontext()
    kind = torch.bfloat16 if config.precision == "bf16" else torch.float16
    return torch.autocast(device.type, dtype=kind)


class Trainer:
    """The state of one training, and the steps that change it."""

    def __init__(self, job: Job, config: Training, world: World, log: EventLog) -> None:
        self.job, self.config, self.world, self.log = job, config, world, log
        self.folder = Path(config.output_dir)
        self.device = next(job.model.parameters()).device
        groups = optim.parameter_groups(
            job.model,
            weight_decay=config.weight_decay,
            layer_decay=config.layer_decay,
            depth=job.depth,
            rate_of=job.rate_of,
        )
        self.optimizer = optim.build_optimizer(
            config.optimizer,
            groups,
            betas=(config.beta1, config.beta2),
            momentum=config.momentum,
            device=self.device,
        )
        self.lookahead = (
            optim.Lookahead(self.optimizer, k=config.lookahead_k, alpha=config.lookahead_alpha)
            if config.lookahead_k
            else None
        )
        self.averaged = optim.averaged(job.model, config.ema_decay) if config.ema_decay else None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "fp16")
        self.step, self.seconds, self.best = 0, 0.0, None
        self.values: dict[str, float] = {}
        self.plateau = optim.Plateau()
        if world.size > 1:  # else dropout would leave out the same units in all processes
            torch.manual_seed(config.seed + world.rank)
        if config.resume:
            self._restore(Path(config.resume))
        self.batches = Batches(job.train, config, world, start=self.step)
        self.skipped = Skipped(log)
        self.room = Room(self.folder, log, enabled=world.first)
        self.signals = Signals()
        self.peak = config.lr or config.blr * self.batches.images_per_update / 256
        model: nn.Module = torch.compile(job.model) if config.compile else job.model
        if world.size > 1:
            if self.device.type == "cuda":
                model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
            ids = [world.local_rank] if self.device.type == "cuda" else None
            model = DistributedDataParallel(model, device_ids=ids)
        self.model = model
        self._pending: deque[tuple[int, dict[str, Tensor], list[str]]] = deque()
        self._spare: dict[str, Any] = {}
        self._ahead: deque[dict[str, Any]] = deque()
        """Read already, and yet to be trained on."""
        self._began = self._saved = time.monotonic()

    def _restore(self, path: Path) -> None:
        state = checkpoints.load(path)
        if state.get("format") != checkpoints.FORMAT:
            raise InputError(f"{path} holds weights, not a training that could go on")
        theirs, ours = state["config"].get("recipe"), self.job.config.get("recipe")
        if theirs != ours:
            raise ConfigError(
                f"{path} was trained with other settings: {_difference(state, self.job.config)}"
            )
        of_it, here = state.get("processes"), self.world.size
        if of_it not in (None, here):
            raise ConfigError(
                f"{path} was trained by {of_it} processes, each with its share of an update; here "
                f"there would be {here}, so as many as before must go on"
            )
        self.job.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.lookahead:
            self.lookahead.restore(state["lookahead"])
        if self.averaged:
            self.averaged.load_state_dict(state["averaged"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.best = state["best"] if self._has_best(path) else None
        self.values = state["values"]
        self.plateau = optim.Plateau(*state["plateau"])
        if self.world.rank < len(state["random"]):
            checkpoints.restore_random_states(state["random"][self.world.rank])
        logger.info("resumed from %s after %d updates", path, self.step)

    def _has_best(self, last: Path) -> bool:
        """Return whether the best weights so far are at hand; fetch them from the folder of `last`.

        All processes come to the same answer: the file here is made of the one there alone.
        """
        here, there = self.folder / checkpoints.BEST, last.with_name(Path(checkpoints.BEST).name)
        if here.exists() or not there.exists():
            return here.exists()
        if self.world.first:
            checkpoints.save(here, checkpoints.load(there))
        return True

    def save(self) -> None:
        """Write `last.pt`; waits while the disk is full, unless it is asked to stop."""
        self._check_losses(keep=0)
        self._check_weights()
        states = distributed.gather([checkpoints.random_states()])
        state = {
            "format": checkpoints.FORMAT,
            "model": self.job.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "lookahead": self.lookahead.state() if self.lookahead else [],
            "averaged": self.averaged.state_dict() if self.averaged else {},
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "seconds": self._spent(),
            "best": self.best,
            "values": self.values,
            "plateau": list(self.plateau),
            "random": states,
            "processes": self.world.size,
            "config": self.job.config,
            "size": self.job.size,
        }
        self._keep(checkpoints.LAST, state, kind="last")
        self._saved = time.monotonic()

    def _keep(self, name: str, content: dict[str, Any], *, kind: str) -> bool:
        """Write a checkpoint and announce it; all processes wait for its room together.

        Returns whether it was written: not where the training was asked to stop meanwhile. What
        keeps all but `best.pt` from being written, beside a full disk, is told and is no failure.
        """

        def write() -> None:
            try:
                checkpoints.save(self.folder / name, content)
            except OSError as error:
                if error.errno in FULL or kind == "best":
                    raise
                logger.error("cannot write %s: %s", name, error)
                self.log.warning(f"checkpoint not written: {error}", path=name)
            else:
                digest = checkpoints.sha256(self.folder / name) if kind == "epoch" else None
                self.log.checkpoint(kind, name, step=self.step, sha256=digest)

        kept = self.room.keep(
            write,
            needed=checkpoints.size_of(content),
            stopping=lambda: bool(self.signals.number),
            together=lambda flag: distributed.anyone(flag, self.device),
        )
        if not kept:
            self.log.warning("checkpoint not written: the disk is full", path=name)
        return kept

    def _spent(self) -> float:
        return self.seconds + time.monotonic() - self._began

    def run(self) -> Finished:
        """Train to the end.

        Raises:
            Stopped: a signal asked for it; `last.pt` is written.
            NonFiniteLoss: see there.
            InputError: too many items cannot be read.
        """
        self.log.start(self.step, total_steps=self.batches.total)
        loader = open_loader(self.job.train, self.config, self.batches, self.device)
        meter = Meter(self.device)
        every = self.config.eval_every or self.batches.updates_per_epoch
        with self.signals as signals:
            while self.step < self.batches.total:
                self._update(loader, meter)
                final = self.step == self.batches.total
                if final or self.step % self.config.log_every == 0:
                    self._report(meter.take())
                if final or self.step % every == 0:
                    self._validate()
                self._keep_epoch()
                if distributed.anyone(bool(signals.number), self.device):
                    self.save()
                    raise Stopped(signals.number or signal.SIGTERM)
                due = time.monotonic() - self._saved >= self.config.save_every_s
                if final or distributed.anyone(due, self.device):
                    self.save()
        if self.job.select and self.best is None:
            raise InputError(
                f"{self.job.select[0]} was never a number: the validation set is too small, or "
                "lacks positives or negatives"
            )
        if self.averaged:
            self.job.model.load_state_dict(self.judged.state_dict())
        return Finished(
            self.step, self._spent(), len(self.skipped.paths), self.best, dict(self.values)
        )

    @property
    def judged(self) -> nn.Module:
        """What is validated, and kept as the best: the averaged weights where there are any."""
        return self.averaged.module if self.averaged else self.job.model

    def _update(self, loader: Iterator[Any], meter: Meter) -> None:
        config = self.config
        rate = optim.learning_rate(
            self.step + config.schedule_lead,
            peak=self.peak * self.plateau.scale,
            floor=config.min_lr,
            warmup=config.warmup_steps or config.warmup_epochs * self.batches.updates_per_epoch,
            total=self.batches.total,
            schedule=config.schedule,
        )
        optim.set_learning_rate(self.optimizer, rate)
        self.model.train()
        totals: dict[str, Tensor] = {}
        names: list[str] = []
        waited, images = 0.0, 0
        for micro in range(config.micro_batches):
            asked = time.perf_counter()
            batch = self._next(loader)
            waited += time.perf_counter() - asked
            # what grows over the first epochs goes by it; validation has none, and sees it grown
            batch["epoch"] = torch.tensor(self.step / self.batches.updates_per_epoch)
            last = micro == config.micro_batches - 1
            for name, value in self._backward(to_device(batch, self.device), sync=last).items():
                totals[name] = totals.get(name, 0.0) + value / config.micro_batches
            names += batch.get("name", [])
            images += len(next(v for v in batch.values() if isinstance(v, Tensor)))
        self.scaler.unscale_(self.optimizer)
        if config.clip_grad:
            norm = nn.utils.clip_grad_norm_(self.job.model.parameters(), config.clip_grad)
            totals["train/grad_norm"] = norm
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.lookahead:
            self.lookahead.after(self.step)
        if self.averaged:
            self.averaged.update_parameters(self.job.model)
        totals["train/lr"] = torch.tensor(rate, device=self.device)
        self._pending.append((self.step, totals, names))
        # one update behind, so that the GPU is never waited for
        self._check_losses(keep=1 if self.device.type == "cuda" else 0)
        meter.add(totals, images=images * self.world.size, waited_s=waited)

    def _next(self, loader: Iterator[Any]) -> dict[str, Any]:
        """Return the next micro-batch; for one of which no item can be read, a good one near it.

        So all processes take the same number of steps, and each of them its own items.
        """
        if self._ahead:
            return self._ahead.popleft()
        passed = 0
        for batch in loader:
            self.skipped.note(batch, self.config.held)
            if not batch and not self._spare:
                passed += 1
                continue
            self._spare = batch or self._spare
            self._ahead.extend([self._spare] * passed)
            return self._spare
        raise InputError("no item of the training set can be read")

    def _backward(self, batch: dict[str, Any], *, sync: bool) -> dict[str, Tensor]:
        waits = isinstance(self.model, DistributedDataParallel) and not sync
        with self.model.no_sync() if waits else contextlib.nullcontext():
            with autocast(self.config, self.device):
                parts = self.model(batch)
            loss = sum(v for k, v in parts.items() if not k.startswith("monitor/"))
            self.scaler.scale(loss / self.config.micro_batches).backward()
        values = {"train/loss": loss.detach()}
        for name, value in parts.items():
            values["train/" + name.removeprefix("monitor/")] = value.detach()
        return values

    def _check_losses(self, *, keep: int) -> None:
        while len(self._pending) > keep:
            step, values, names = self._pending.popleft()
            parts = [k for k in values if k.startswith("train/") and k != "train/grad_norm"]
            bad = [k for k in parts if not math.isfinite(values[k].item())]
            if bad:
                items = f"; items {', '.join(names)}" if names else ""
                raise NonFiniteLoss(f"{(bad[1:] or bad)[0]} is not finite at step {step}{items}")

    def _check_weights(self) -> None:
        """Refuse to keep weights that a gradient without a finite loss to tell of it has spoilt."""
        for name, weight in self.job.model.named_parameters():
            if not bool(weight.detach().isfinite().all()):
                raise NonFiniteLoss(
                    f"the weights {name} are not finite at step {self.step}, though every loss "
                    "was: a gradient overflowed"
                )

    def _report(self, values: dict[str, float]) -> None:
        done, total = self.step, self.batches.total
        epoch = done / self.batches.updates_per_epoch
        self.log.metrics(done, values, epoch=epoch)
        spent = (self._spent() - self.seconds) / max(done - self.batches._start, 1)
        self.log.progress(done, total, eta_s=round((total - done) * spent, 1))
        if self.world.first:
            logger.info(
                "step %d of %d, loss %.4f, %.1f images/s",
                done, total, values["train/loss"], values["perf/images_per_s"],
            )  # fmt: skip

    def _validate(self) -> None:
        states = checkpoints.random_states()
        self.judged.eval()
        began = time.monotonic()
        with torch.inference_mode(), autocast(self.config, self.device):
            self.values = self.job.validate(self.judged)
        checkpoints.restore_random_states(states)
        values = {**self.values, "perf/validation_s": time.monotonic() - began}
        self.log.metrics(self.step, values, epoch=self.step / self.batches.updates_per_epoch)
        if self.world.first:
            said = ", ".join(f"{k} {v:.4f}" for k, v in self.values.items())
            logger.info("step %d: %s", self.step, said)
        if self.config.schedule == "plateau":
            self._look_for_progress()
        self._keep_best()

    def _look_for_progress(self) -> None:
        name, better = self.job.select or ("val/loss", "lower")
        before, config = self.plateau, self.config
        self.plateau = before.after(
            self.values[name],
            better=better,
            patience=config.plateau_patience,
            factor=config.plateau_factor,
        )
        if self.plateau.scale < before.scale and self.world.first:
            logger.info("%s has stopped improving: learning rate lowered", name)

    def _keep_epoch(self) -> None:
        """Keep the weights of an epoch that is due; those of the last are the training's result."""
        keep = self.job.keep
        epoch, within = divmod(self.step, self.batches.updates_per_epoch)
        if keep is None or within or epoch % keep.every or self.step == self.batches.total:
            return
        self._check_losses(keep=0)
        self._check_weights()
        content = keep.content(self.judged, self.step)
        self._keep(checkpoints.EPOCH.format(epoch), content, kind="epoch")

    def _keep_best(self) -> None:
        if self.job.select is None:
            return
        name, better = self.job.select
        value = self.values[name]
        ahead = self.best is None or (
            value > self.best if better == "higher" else value < self.best
        )
        if not ahead or not math.isfinite(value):
            return
        content = {
            "model": self.judged.state_dict(),
            "step": self.step,
            "selected_by": name,
            "value": value,
            "config": self.job.config,
            "size": self.job.size,
        }
        if self._keep(checkpoints.BEST, content, kind="best"):
            self.best = value


def _difference(state: dict[str, Any], config: dict[str, Any]) -> str:
    before = state["config"]
    changed = [
        f"{k} was {before.get(k)}, is {v}"
        for k, v in config.items()
        if k not in ("recipe", "output_dir", "resume", "seed", "device") and before.get(k) != v
    ]
    return "; ".join(changed[:4]) or "the recipes differ"
