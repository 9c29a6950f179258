"""What was seen of images that were opened before, so that they need not be opened again?

A text file with a line an image: its path, its file's size and time of change, and two digests. An
image whose file has another size or time is forgotten.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FIELDS = 5


class Hashes(NamedTuple):
    """What tells an image from others."""

    pixels: bytes
    """Digest of the decoded pixels."""
    hash: bytes
    """As `likeness.difference_hash` has it."""


def read(file: Path) -> dict[Path, Hashes]:
    """Return what is known of images whose files are as they were; a damaged line is left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return {}
    found = {}
    for line in lines:
        parts = line.split("\t")
        if len(parts) != FIELDS or _stamp(Path(parts[0])) != tuple(parts[1:3]):
            continue
        try:
            found[Path(parts[0])] = Hashes(bytes.fromhex(parts[3]), bytes.fromhex(parts[4]))
        except ValueError:
            continue
    return found


def write(file: Path, seen: Mapping[Path, Hashes]) -> None:
    """Write what was seen, whole or not at all; images whose path breaks a line are left out."""
    file.parent.mkdir(parents=True, exist_ok=True)
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    with unfinished.open("w", encoding="utf-8", errors="surrogateescape") as out:
        for path, hashes in seen.items():
            stamp = _stamp(path)
            if stamp and not {"\t", "\n", "\r"} & set(str(path)):
                told = (str(path), *stamp, hashes.pixels.hex(), hashes.hash.hex())
                out.write("\t".join(told) + "\n")
    unfinished.replace(file)


def _stamp(path: Path) -> tuple[str, str] | None:
    try:
        about = path.stat()
    except OSError:
        return None
    return str(about.st_size), str(about.st_mtime_ns)
