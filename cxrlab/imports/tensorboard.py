"""What do TensorBoard's event files hold?

A folder that holds some is a run; several files in it are one after the other.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from cxrlab.errors import NotFound
from cxrlab.imports.curves import Found
from trainers import framing, scalars

OWN_TAG = "cxrlab/run"
"""The text in which an export of this program says what the run is."""


def read(folder: Path) -> Iterator[Found]:
    """Give the run of each folder at or below `folder` that holds event files.

    Raises:
        NotFound: there is no such folder or file.
    """
    if not folder.exists():
        raise NotFound(f"{folder} does not exist")
    files = sorted(folder.rglob(scalars.PATTERN)) if folder.is_dir() else [folder]
    top = folder.resolve() if folder.is_dir() else folder.resolve().parent
    for place in dict.fromkeys(file.parent for file in files if file.is_file()):
        below = place.resolve().relative_to(top)
        found = Found("tensorboard", str(Path(top.name) / below), str(place.resolve()))
        for file in files:  # their names begin with when they were begun
            if file.parent == place and file.is_file():
                _read_file(file, found)
        if found.curves:
            yield found


def _read_file(path: Path, found: Found) -> None:
    reader = scalars.Reader()
    with path.open("rb") as file:

        def tell(what: str) -> None:
            found.notes.append(f"{path.name} is {what}")

        for record in framing.tf_records(file, tell):
            try:
                _take(reader.read(record), found)
            except ValueError as error:
                found.notes.append(f"{path.name}: a record is no event: {error}")


def _take(event: scalars.Event, found: Found) -> None:
    if event.starts_again:
        _drop_from(found, event.step)
    for tag, value in event.values.items():
        found.add(tag, event.step, value, event.t)
    for tag, text in event.texts.items():
        if tag.removesuffix("/text_summary") == OWN_TAG:
            with contextlib.suppress(ValueError, TypeError):
                found.settings |= json.loads(text)


def _drop_from(found: Found, step: int) -> None:
    """Drop what a restart from `step` has superseded, as TensorBoard does."""
    for name, curve in list(found.curves.items()):
        kept = {at: point for at, point in curve.items() if at < step}
        if kept:
            found.curves[name] = kept
        else:
            del found.curves[name]
