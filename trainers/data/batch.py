"""How items become batches: seeded item by item, with broken files left out and named.

A data set here is anything with `__len__` and `item(index, rng)`. What is random in an item
depends on (seed, epoch, index) alone, never on the worker that makes it, so that a resumed run sees
what the undisturbed one would have seen.
Shapes: B items of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from trainers.data.items import BadItem, Items

SKIPPED = "skipped"
"""The key under which a batch lists the items that could not be read."""


class Seeded(Dataset[Any]):
    """A torch data set over `items` that is asked for `(epoch, index)`."""

    def __init__(self, items: Items, seed: int) -> None:
        self.items = items
        self.seed = seed

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, key: tuple[int, int]) -> Mapping[str, Tensor | str] | BadItem:
        """Return the item, or the `BadItem` that stands for it; other failures are raised."""
        epoch, index = key
        try:
            return self.items.item(index, np.random.default_rng([self.seed, epoch, index]))
        except BadItem as bad:
            return bad


def collate(items: Sequence[Mapping[str, Tensor | str] | BadItem]) -> dict[str, Any]:
    """Stack the items of a batch by name.

    Returns:
        Tensors (B, ...), strings as lists of B, and under `skipped` the bad items, which count
        towards B no more; `{"skipped": [...]}` alone when no item was good.
    """
    bad = [item for item in items if isinstance(item, BadItem)]
    good = [item for item in items if not isinstance(item, BadItem)]
    batch: dict[str, Any] = {SKIPPED: bad}
    for name in good[0] if good else ():
        values = [item[name] for item in good]
        tensors = [value for value in values if isinstance(value, Tensor)]
        batch[name] = torch.stack(tensors) if tensors else values
    return batch
