"""What a data set of the trainers is, and what it says of a file that cannot be used.

Knows no torch: whoever only reads or draws pictures need not load it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


class BadItem(Exception):
    """One file that cannot be used: where it lies and what is wrong with it."""

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(str(path), reason)  # both as args, so that it survives pickling
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class Items(Protocol):
    """A data set whose randomness is handed in."""

    def __len__(self) -> int:
        """Return how many items there are."""
        ...

    def item(self, index: int, rng: np.random.Generator) -> Mapping[str, Tensor | str]:
        """Return one item; raises `BadItem` when its files cannot be used."""
        ...
