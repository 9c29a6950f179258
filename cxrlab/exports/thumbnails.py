"""How do pictures get into a page that holds them itself? Small, as many as there is room for.

A child makes them, since only trainers' programs touch pixels.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from cxrlab import programs
from cxrlab.lab import Lab

SIDE_PX = 320
BYTES = 6_000_000
"""How much of a page its pictures may take, all together."""


class Thumbnail(NamedTuple):
    """A small copy of a picture; without data where there is none."""

    width: int
    height: int
    data: str
    """A `data:` address."""


def thumbnails(
    lab: Lab, paths: Sequence[Path], *, most_bytes: int = BYTES
) -> dict[Path, Thumbnail]:
    """Return a small copy of each picture that can be read and for which there is room.

    Raises:
        CxrlabError: the program that makes them broke down.
    """
    if not paths or most_bytes <= 0:
        return {}
    with tempfile.TemporaryDirectory(prefix="cxrlab-") as folder:
        wanted = Path(folder) / "wanted.json"
        asked = {"pictures": [str(path) for path in paths], "side_px": SIDE_PX,
                 "most_bytes": most_bytes}  # fmt: skip
        wanted.write_text(json.dumps(asked), encoding="utf-8")
        command = [sys.executable, "-P", "-m", "trainers.thumbnails", "--wanted", str(wanted)]
        answer = programs.answer_of(lab, command, wanted="pictures", key="pictures")
    return {
        path: Thumbnail(made["width"], made["height"], f"data:image/webp;base64,{made['base64']}")
        for path, made in zip(paths, answer["pictures"], strict=True)
        if "base64" in made
    }
