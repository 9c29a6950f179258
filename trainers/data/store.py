"""How do thousands of small images lie in few files, and how does training get at one of them?

A shard is images one after another, as 8-bit grey values or as JPEG files. The path of an image in
a shard says all that is needed to read it, so that it goes wherever a path goes:

    FOLDER/images-00003-9f2c41d07a5e.grey/81264640-317440-620x512/files/p10/.../NAME.jpg
           (shard)                        (offset)-(bytes)-(width)x(height) / (its own name)

There is no such file; `locate` takes the path apart, `read` gives the image. Every process maps
the shards it meets, read-only, and takes no lock.
"""

from __future__ import annotations

import io
import mmap
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from PIL import Image

from trainers.data.items import BadItem

SUFFIXES = {"raw": ".grey", "jpeg": ".jpegs"}
"""How a shard's name ends, by what it is made of."""
OPEN_AT_MOST = 256
"""Shards a process keeps mapped; each holds a file open, and systems allow 1,024."""

_STORED = re.compile(
    r"(?P<shard>.+[/\\]images-\d{5}-[0-9a-f]{12}(?P<suffix>\.grey|\.jpegs))[/\\]"
    r"(?P<offset>\d+)-(?P<length>\d+)-(?P<width>\d+)x(?P<height>\d+)[/\\](?P<name>.+)"
)


class Stored(NamedTuple):
    """Where in a shard an image lies, and its size in pixels."""

    shard: Path
    offset: int
    length: int
    width: int
    height: int
    name: str
    """Its file's name below the original folder."""


def shard_name(number: int, key: str, store: str) -> str:
    """Return the file name of a shard; `key` is the digest of what is in it."""
    return f"images-{number:05d}-{key[:12]}{SUFFIXES[store]}"


def entry_path(shard: str, offset: int, length: int, size: tuple[int, int], name: str) -> str:
    """Return the path of an image in `shard`, relative to the shard's folder."""
    # an absolute name, or one that climbs, must not lead out of the shard
    parts = [part for part in PurePosixPath(name).parts if part not in ("/", "..", ".")]
    return "/".join([shard, f"{offset}-{length}-{size[0]}x{size[1]}", *parts])


def locate(path: Path) -> Stored | None:
    """Return where the image at `path` is stored; None for a file of its own."""
    found = _STORED.fullmatch(str(path))
    if found is None:
        return None
    numbers = [int(found[name]) for name in ("offset", "length", "width", "height")]
    return Stored(Path(found["shard"]), *numbers, found["name"])


def is_there(path: Path) -> bool:
    """Return whether the image at `path` exists, in a shard or as a file."""
    stored = locate(path)
    return (stored.shard if stored else path).is_file()


def read(stored: Stored) -> Image.Image:
    """Return a stored image, 8-bit grey ("L").

    Grey values are not copied: the image is a read-only view of the shard, and what is cut from it
    alone is read from disk.

    Raises:
        BadItem: the shard is gone, shorter than it should be, or damaged.
    """
    where = f"{stored.shard} at {stored.offset}"
    try:
        mapped = _mapped(str(stored.shard))
    except (OSError, ValueError) as error:  # an empty file cannot be mapped
        reason = getattr(error, "strerror", None) or str(error)
        raise BadItem(where, f"the prepared copy cannot be read: {reason}".lower()) from None
    if stored.offset + stored.length > len(mapped):
        raise BadItem(where, "the prepared copy ends before this image; prepare it again")
    data = memoryview(mapped)[stored.offset : stored.offset + stored.length]
    size = (stored.width, stored.height)
    if stored.shard.suffix == SUFFIXES["raw"]:
        if stored.width * stored.height != stored.length:
            raise BadItem(where, f"{stored.length} bytes are no image of {size[0]} x {size[1]}")
        return Image.frombuffer("L", size, data, "raw", "L", 0, 1)
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
            image.load()
            return image.copy()
    except (OSError, SyntaxError, ValueError) as error:
        raise BadItem(where, f"cannot be decoded: {error}") from None


@lru_cache(maxsize=OPEN_AT_MOST)
def _mapped(shard: str) -> mmap.mmap:
    with Path(shard).open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
