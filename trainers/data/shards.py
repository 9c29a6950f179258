"""How is a shard of a prepared copy written, so that a kill leaves it whole or absent?

A shard is written under a name of its own, synced and renamed, and its index after it; a shard
counts once its index is there. What it holds follows from the originals and the settings alone.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, NamedTuple

from PIL import Image

from trainers.data import store
from trainers.data.items import BadItem
from trainers.data.transforms import BICUBIC, read_image, resize_keep

SHARD_IMAGES = 1024
"""Images in a shard: some 320 MB of grey values, and what a kill can cost each process."""
JPEG_QUALITY = 95
FORM = 1
"""Raised when the same settings begin to give other bytes."""


@dataclass(frozen=True)
class Form:
    """How images are made smaller and kept."""

    px: int = 512
    store: Literal["raw", "jpeg"] = "raw"
    draft: bool = False
    form: int = FORM

    def method(self) -> str:
        """Return in words what is done to an image."""
        decoded = (
            f"JPEGs of more than twice {self.px} px decoded at a half, a quarter or an eighth"
            if self.draft
            else "decoded at full size"
        )
        kept = "" if self.store == "raw" else f"; kept as JPEG of quality {JPEG_QUALITY}"
        return (
            f"{decoded}; short side to {self.px} px where it is longer, the other cut to whole "
            f"pixels; Pillow's bicubic filter, antialiased{kept}"
        )


class Original(NamedTuple):
    """An image to prepare."""

    path: Path
    name: str
    size: int
    """Of the file, in bytes."""


@dataclass(frozen=True)
class Job:
    """One shard to write."""

    folder: Path
    number: int
    originals: tuple[Original, ...]
    form: Form

    def key(self) -> str:
        """Return the digest of what the shard is made from, in hex."""
        told = [[o.name, o.size] for o in self.originals]
        text = json.dumps([asdict(self.form), told], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def shard(self) -> Path:
        """Return where the shard lies."""
        return self.folder / store.shard_name(self.number, self.key(), self.form.store)

    def index(self) -> Path:
        """Return where its index lies."""
        return self.shard().with_suffix(".jsonl")


class Kept(NamedTuple):
    """One line of a shard's index: where an image lies, or why it does not."""

    name: str
    sha256: str
    """Of the original file; empty where it could not be read."""
    offset: int
    length: int
    width: int
    height: int
    reason: str = ""
    """Empty for an image that is there."""


def is_written(job: Job) -> bool:
    """Return whether the shard is there, whole."""
    return job.index().is_file() and job.shard().is_file()


def read_index(job: Job) -> list[Kept]:
    """Return the index of a shard that is written, a line for each original in order."""
    with job.index().open(encoding="utf-8") as file:
        return [Kept(**json.loads(line)) for line in file]


def write(job: Job, *, tick: Callable[[], None] = lambda: None) -> None:
    """Write a shard and its index; what cannot be read is named there with the reason.

    Nothing is left of a shard that could not be written to its end.

    Args:
        job: which shard.
        tick: called after every image.

    Raises:
        OSError: the disk is full, or cannot be written to.
    """
    shard = job.shard()
    unfinished = shard.with_name(f"{shard.name}.part")
    try:
        with unfinished.open("wb") as out:
            kept = []
            for original in job.originals:
                kept.append(_add(out, original, job.form))
                tick()
            _sync(out)
        unfinished.replace(shard)
        write_whole(job.index(), [json.dumps(k._asdict(), ensure_ascii=False) for k in kept])
    except OSError:
        unfinished.unlink(missing_ok=True)  # on a full disk it is in the way
        raise


def _add(out: BinaryIO, original: Original, form: Form) -> Kept:
    """Append one image to a shard; returns its line of the index."""
    try:
        small = shrink(original.path, form)
        sha256 = _sha256(original.path)
    except BadItem as bad:
        return Kept(original.name, "", 0, 0, 0, 0, bad.reason)
    data = encode(small, form)
    at = out.tell()
    out.write(data)
    return Kept(original.name, sha256, at, len(data), *small.size)


def shrink(path: Path, form: Form) -> Image.Image:
    """Return the image at `path` as it is kept, 8-bit grey ("L").

    Raises:
        BadItem: it cannot be read.
    """
    image = read_image(path, draft_px=form.px if form.draft else 0)
    if min(image.size) <= form.px:
        return image
    return resize_keep(image, form.px, interpolation=BICUBIC)


def encode(image: Image.Image, form: Form) -> bytes:
    """Return the bytes that a shard holds of `image`."""
    if form.store == "raw":
        return image.tobytes()
    out = io.BytesIO()
    image.save(out, "JPEG", quality=JPEG_QUALITY)
    return out.getvalue()


def write_whole(path: Path, lines: Iterable[str]) -> None:
    """Write `lines` to `path` in such a way that a crash leaves the old file or the new one."""
    unfinished = path.with_name(f"{path.name}.part")
    try:
        with unfinished.open("w", encoding="utf-8", newline="") as out:
            out.writelines(f"{line}\n" for line in lines)
            _sync(out)
    except OSError:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.replace(path)


def _sync(file: IO[Any]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadItem(path, (error.strerror or str(error)).lower()) from None
