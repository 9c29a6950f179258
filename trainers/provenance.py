"""What a run was made of: commit and diff, versions, machine, seed, data and weights."""

from __future__ import annotations

import json
import os
import platform
import socket
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from trainers import commit as commit_of
from trainers import machine, source

PACKAGES = ("torch", "torchvision", "timm", "transformers", "tokenizers", "monai", "scikit-learn",
            "numpy", "pillow", "pydicom")  # fmt: skip


def write(folder: Path, *, seed: int, data: dict[str, Any], weights: dict[str, Any]) -> None:
    """Write `provenance.json`, and `diff.patch` where the code has uncommitted changes.

    Args:
        folder: the run folder.
        seed: the run's seed.
        data: what the data set says of itself (counts, lists, their SHA-256).
        weights: the initial weights' path and SHA-256, empty for none.
    """
    content = {
        **_code(folder),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "cpu_threads": torch.get_num_threads(),
        "gpus": [
            torch.cuda.get_device_name(i)
            for i in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
        ],
        "cuda": torch.version.cuda if torch.cuda.is_available() else None,
        "driver": machine.driver(),
        "visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "interpreter": sys.executable,
        "seed": seed,
        "data": data,
        "weights": weights,
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, default=str)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _code(folder: Path) -> dict[str, Any]:
    """Return which code this is, and write `diff.patch` where it has uncommitted changes.

    A copy that was made when the run was queued is in no checkout; where it was copied from
    stands in the note beside.
    """
    digest = source.digest(source.PACKAGE)
    note = source.note(folder)
    if note.get("digest") == digest:
        name, changed = note.get("commit"), bool(note.get("uncommitted_changes"))
    else:
        name, diff = commit_of.of_package(source.PACKAGE)
        changed = bool(diff)
        (folder / "diff.patch").unlink(missing_ok=True)
        if diff:
            (folder / "diff.patch").write_text(diff, encoding="utf-8")
    return {"code": digest, "commit": name, "uncommitted_changes": changed}
