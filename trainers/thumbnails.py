"""Program: makes small copies of pictures, for a page that holds them itself.

    python -m trainers.thumbnails --wanted WANTED.json

WANTED.json is `{"pictures": [PATH, ...], "side_px": 320, "most_bytes": 4000000}`. The answer is one
JSON document: for each picture, in that order, its copy as WebP in base64, or `why` there is none.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

QUALITY = 80
NO_ROOM = "no room"


def main(argv: Sequence[str]) -> int:
    """Answer for the file that `argv` names, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m trainers.thumbnails", allow_abbrev=False)
    parser.add_argument("--wanted", required=True, help="a JSON file; see above")
    given = parser.parse_args(list(argv))
    try:
        wanted = json.loads(Path(given.wanted).read_text(encoding="utf-8"))
        side_px, left = int(wanted["side_px"]), int(wanted["most_bytes"])
        paths = [Path(path) for path in wanted["pictures"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        sys.stderr.write(f"error: {given.wanted}: {error}\n")
        return 4
    json.dump({"pictures": thumbnails(paths, side_px, most_bytes=left)}, sys.stdout)
    return 0


def thumbnails(paths: Sequence[Path], side_px: int, *, most_bytes: int) -> list[dict[str, Any]]:
    """Return a copy of each picture in turn; from the first that has no room on, of none."""
    pictures: list[dict[str, Any]] = []
    left = most_bytes
    for path in paths:
        made = thumbnail(path, side_px) if left > 0 else {"why": NO_ROOM}
        size = len(made.get("base64", ""))
        if size > left:
            made, size = {"why": NO_ROOM}, left
        left -= size
        pictures.append(made)
    return pictures


def thumbnail(path: Path, side_px: int) -> dict[str, Any]:
    """Return a picture of at most `side_px` on its longer side, or `why` there is none."""
    try:
        with Image.open(path) as image:
            image.draft(None, (side_px, side_px))  # a large JPEG is decoded small at once
            small = image.convert("RGB" if image.mode not in ("L", "RGBA", "LA") else image.mode)
            small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
            out = io.BytesIO()
            small.save(out, "WEBP", quality=QUALITY, method=4)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return {"why": type(error).__name__}
    encoded = base64.b64encode(out.getvalue()).decode()
    return {"width": small.width, "height": small.height, "base64": encoded}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
