"""Which GPUs does this machine have, and by which driver? As the kernel tells, without a library.

Standard library only.
"""

from __future__ import annotations

import re
from pathlib import Path

PLACE = Path("/proc/driver/nvidia")


def driver(place: Path = PLACE) -> str | None:
    """Return the version of the GPUs' driver; None where there is none."""
    try:
        said = (place / "version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)", said)
    return found[1] if found else None


def gpus(visible: str | None, place: Path = PLACE) -> list[str]:
    """Return the models of the GPUs that are visible.

    Args:
        visible: their UUIDs or numbers as in `CUDA_VISIBLE_DEVICES`; None for all.
        place: where the driver tells of them.
    """
    found: dict[str, str] = {}
    try:
        folders = sorted((place / "gpus").iterdir())
    except OSError:
        return []
    for number, folder in enumerate(folders):
        try:
            said = (folder / "information").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        facts = dict(re.findall(r"^([\w ]+?):\s*(.*?)\s*$", said, re.MULTILINE))
        found[facts.get("GPU UUID", str(number))] = facts.get("Model", "a GPU")
    if visible is None:
        return list(found.values())
    by_number = dict(enumerate(found.values()))
    wanted = [word.strip() for word in visible.split(",") if word.strip()]
    models = [by_number.get(int(w)) if w.isdigit() else found.get(w) for w in wanted]
    return [model for model in models if model]
