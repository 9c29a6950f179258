"""How a checkpoint reaches the disk whole, and how training goes on from it exactly.

A file is written under a temporary name, synced, then renamed, so that a crash leaves the old one.
Everything in it loads with `weights_only=True`: tensors, numbers, text, lists and dicts.
"""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainers.config import InputError, MissingError

FORMAT = "cxrlab-training-state"
"""Marks a file that training can go on from, as against weights to start from."""

LAST, BEST, ENCODER = "checkpoints/last.pt", "checkpoints/best.pt", "checkpoints/encoder.pt"
EPOCH = "checkpoints/epoch_{}.pt"
"""An encoder that is kept on the way, by the epochs it has been trained for."""


def save(path: Path, content: dict[str, Any]) -> None:
    """Write `content` so that at any moment `path` is either the old file or the new one.

    Raises:
        OSError: the disk is full, the folder cannot be written or is gone with its run; the old
            file is untouched.
    """
    path.parent.mkdir(exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def size_of(content: Any) -> int:
    """Return about how many bytes `content` takes in a file: those of its tensors."""
    if isinstance(content, torch.Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, dict):
        return sum(map(size_of, content.values()))
    return sum(map(size_of, content)) if isinstance(content, list | tuple) else 0


def load(path: Path) -> dict[str, Any]:
    """Return the content of a checkpoint of this project, on the CPU.

    Raises:
        MissingError: no such file.
        InputError: it is torn, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise MissingError(f"checkpoint {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        line = str(error).split("\n")[0]
        raise InputError(f"checkpoint {path} cannot be read: {line}") from None
    if not isinstance(content, dict):
        raise InputError(f"checkpoint {path} holds a {type(content).__name__}, not a dict")
    return content


def is_training_state(path: Path) -> bool:
    """Return whether `path` is a `last.pt`, to go on from, rather than weights to start from."""
    if path.suffix == ".npz" or not path.is_file():
        return False
    try:
        content = torch.load(path, map_location="meta", weights_only=True, mmap=True)
    except Exception:  # any other layout; `weights` says what is wrong with it
        return False
    return isinstance(content, dict) and content.get("format") == FORMAT


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file in 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def random_states() -> dict[str, Any]:
    """Return the state of every random generator of this process."""
    kind, key, position, has_gauss, cached = np.random.get_state()
    return {
        "python": list(random.getstate()[1]),
        "numpy": {
            "kind": kind,
            "key": torch.from_numpy(key.astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def restore_random_states(states: dict[str, Any]) -> None:
    """Put every random generator back where `random_states` found it."""
    random.setstate((3, tuple(states["python"]), None))
    saved = states["numpy"]
    key = saved["key"].numpy().astype(np.uint32)
    np.random.set_state(
        (saved["kind"], key, saved["position"], saved["has_gauss"], saved["cached"])
    )
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(states["cuda"][: torch.cuda.device_count()])
