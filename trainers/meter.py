"""How fast does a training go, and what are its losses? Means between two lines of metrics."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from trainers import distributed


class Meter:
    """Means of what was measured since the last line of metrics."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._sums: dict[str, Tensor] = {}
        self._updates = self._images = 0
        self._waited, self._since = 0.0, time.perf_counter()

    def add(self, values: dict[str, Tensor], *, images: int, waited_s: float) -> None:
        """Add what one update gave."""
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value.detach().float()
        self._updates += 1
        self._images += images
        self._waited += waited_s

    def take(self) -> dict[str, float]:
        """Return the means since the last time, alike on all processes, and begin anew."""
        names = sorted(self._sums)
        means = distributed.mean(torch.stack([self._sums[n] for n in names]) / self._updates)
        spent = max(time.perf_counter() - self._since, 1e-9)
        values = dict(zip(names, means.tolist(), strict=True))
        values["perf/images_per_s"] = self._images / spent
        values["perf/data_wait"] = self._waited / spent
        if self._device.type == "cuda":
            values["perf/peak_gib"] = torch.cuda.max_memory_allocated() / 2**30
        self._sums, self._updates, self._images, self._waited = {}, 0, 0, 0.0
        self._since = time.perf_counter()
        return values
