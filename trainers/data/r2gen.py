"""What does R2Gen's `annotation.json` say? Which report belongs to which images, part by part.

Source: Chen et al., EMNLP 2020; the file is given out with its code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainers.config import InputError, MissingError
from trainers.data import records
from trainers.data.wording import Rules

FILE = "annotation.json"


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Return the entries of R2Gen's file by part, each with `id`, `report` and `image_path`.

    Raises:
        MissingError: no such file.
        InputError: it is no such file; the message names the entry.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise MissingError(f"{path}: {error.strerror or error}") from None
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from None
    parts = content if isinstance(content, dict) else {}
    if not parts or not all(isinstance(part, list) for part in parts.values()):
        raise InputError(f"{path} holds no lists `train`, `val` and `test`")
    for name, part in parts.items():
        if name not in records.SPLITS:
            raise InputError(f"{path}: `{name}` is no part; expected train, val or test")
        for number, entry in enumerate(part):
            _check_entry(f"{path}: entry {number} of `{name}`", entry)
    return {records.SPLITS[name]: part for name, part in parts.items()}


def _check_entry(where: str, entry: Any) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{where} is no object")
    for key, kind, word in (("id", str | int, "a name"), ("report", str, "text")):
        if not isinstance(entry.get(key), kind):
            raise InputError(f"{where} has no `{key}` that is {word}")
    images = entry.get("image_path")
    if not isinstance(images, list) or not images or not all(isinstance(p, str) for p in images):
        raise InputError(f"{where} (`{entry['id']}`) has no `image_path` that is a list of files")


def rules_of(parts: Mapping[str, Sequence[Mapping[str, Any]]]) -> Rules:
    """Return whose rules R2Gen has for such entries: those of MIMIC-CXR name their patients."""
    return "mimic" if any("subject_id" in entry for part in parts.values() for entry in part) \
        else "iu"  # fmt: skip
