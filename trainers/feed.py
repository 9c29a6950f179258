"""How items reach the training loop: in which order, in which batches, and what is left out."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from trainers.config import InputError
from trainers.data.batch import Seeded, collate
from trainers.distributed import World
from trainers.events import EventLog
from trainers.training import Training

logger = logging.getLogger(__name__)


class Batches:
    """Which items each micro-batch of this process holds, from update `start` to `plan.total`.

    Epoch e is a permutation drawn from (seed, e), or what the data set's `epoch_indices` draws.
    It is cut into updates of batch x accumulation x processes items; what is left over is dropped,
    and a set smaller than one update is repeated to fill it. An update holds the same items, in the
    same order, however it is cut into micro-batches; which process gets which differs.
    """

    def __init__(self, dataset: Any, config: Training, world: World, *, start: int = 0) -> None:
        self._dataset, self._config, self._world, self._start = dataset, config, world, start
        self.images_per_update = config.batch_size * config.accum_iter * world.size
        self.updates_per_epoch = max(len(self._indices(0)) // self.images_per_update, 1)
        self.total = config.steps or config.epochs * self.updates_per_epoch

    def _indices(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self._config.seed, 0x0D0E, epoch])
        draw = getattr(self._dataset, "epoch_indices", None)
        chosen = draw(rng) if draw else rng.permutation(len(self._dataset))
        if not len(chosen):
            raise InputError("the training set is empty")
        times = -(-self.images_per_update // len(chosen))
        return np.tile(chosen, times) if times > 1 else chosen

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        size, epoch, order = self._config.held, -1, np.empty(0, int)
        for update in range(self._start, self.total):
            wanted, within = divmod(update, self.updates_per_epoch)
            if wanted != epoch:
                epoch, order = wanted, self._indices(wanted)
            at = within * self.images_per_update
            for micro in range(self._config.micro_batches):
                first = at + (micro * self._world.size + self._world.rank) * size
                yield [(epoch, int(i)) for i in order[first : first + size]]


def open_loader(
    dataset: Any, config: Training, batches: Batches, device: torch.device
) -> Iterator[Any]:
    """Return the micro-batches of this process, one after the other, to the end of training."""
    return iter(
        DataLoader(
            Seeded(dataset, config.seed),
            batch_sampler=batches,
            collate_fn=collate,
            num_workers=config.num_workers,
            pin_memory=device.type == "cuda",
            prefetch_factor=4 if config.num_workers else None,
            # its own generator: the global one must not depend on how often a run was resumed
            generator=torch.Generator().manual_seed(config.seed),
        )
    )


@dataclass
class Skipped:
    """The unreadable items met so far; too many of them and the set is wrong."""

    log: EventLog
    paths: set[str] = field(default_factory=set)
    seen: int = 0

    def note(self, batch: dict[str, Any], size: int) -> None:
        """Report what of one micro-batch of `size` items could not be read.

        Raises:
            InputError: so many that the set itself must be wrong.
        """
        self.seen += size
        for bad in batch.pop("skipped", []):
            if str(bad.path) not in self.paths:
                self.paths.add(str(bad.path))
                logger.warning("skipped %s: %s", bad.path, bad.reason)
                self.log.warning(bad.reason, path=str(bad.path))
        if len(self.paths) > max(20, 0.05 * self.seen):
            raise InputError(
                f"{len(self.paths)} of the first {self.seen} items cannot be read, "
                f"such as {min(self.paths)}"
            )
