"""What do the event files of TensorBoard below a folder hold, a run for each folder of them?

Scalars are read, as `simple_value` and as the tensors that newer writers use; pictures, graphs
and histograms are left out. Read with neither TensorBoard nor TensorFlow.

Source: tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cxrlab import protobuf, records
from cxrlab.errors import NotFound
from cxrlab.imports.curves import Found

PATTERN = "*tfevents*"
OWN_TAG = "cxrlab/run"
"""The text in which an export of this program says what the run is."""

_FLOAT, _DOUBLE = 1, 2
_START = 1


def read(folder: Path) -> Iterator[Found]:
    """Give the run of each folder at or below `folder` that holds event files.

    Raises:
        NotFound: there is no such folder or file.
    """
    if not folder.exists():
        raise NotFound(f"{folder} does not exist")
    files = sorted(folder.rglob(PATTERN)) if folder.is_dir() else [folder]
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
    kinds: dict[str, str] = {}
    with path.open("rb") as file:

        def tell(what: str) -> None:
            found.notes.append(f"{path.name} is {what}")

        for record in records.tf_records(file, tell):
            try:
                _take(record, found, kinds)
            except ValueError as error:
                found.notes.append(f"{path.name}: a record is no event: {error}")


def _take(record: bytes, found: Found, kinds: dict[str, str]) -> None:
    """Take in one event; `kinds` holds which plugin the writer named for each tag, once."""
    t, step, summaries = 0.0, 0, []
    for number, value in protobuf.fields(record):
        if number == 1:
            t = protobuf.floating(value)
        elif number == 2:
            step = protobuf.signed(value)
        elif number == 5 and isinstance(value, bytes):
            summaries.append(value)
        elif number == 7 and isinstance(value, bytes) and _starts_again(value):
            _drop_from(found, step)
    for summary in summaries:
        for number, value in protobuf.fields(summary):
            if number == 1 and isinstance(value, bytes):
                _take_value(value, found, kinds, step=step, t=t)


def _take_value(value: bytes, found: Found, kinds: dict[str, str], *, step: int, t: float) -> None:
    parts: dict[int, Any] = dict(protobuf.fields(value))
    tag = parts.get(1, b"").decode(errors="replace")
    if 9 in parts:
        kinds[tag] = _plugin(parts[9])
    if 2 in parts:
        found.add(tag, step, protobuf.floating(parts[2]), t)
    elif 8 in parts and kinds.get(tag) == "scalars":
        number = _scalar(parts[8])
        if number is not None:
            found.add(tag, step, number, t)
    elif 8 in parts and tag.removesuffix("/text_summary") == OWN_TAG:
        with contextlib.suppress(ValueError, TypeError):
            text = dict(protobuf.fields(parts[8]))[8]
            found.settings |= json.loads(text) if isinstance(text, bytes) else {}


def _scalar(tensor: bytes) -> float | None:
    """Return the one number of a tensor; None where it is of another type or shape."""
    parts: dict[int, Any] = dict(protobuf.fields(tensor))
    size, form = {_FLOAT: (4, "<f"), _DOUBLE: (8, "<d")}.get(parts.get(1, 0), (0, ""))
    content = parts.get(4) or parts.get(5 if size == 4 else 6)
    if not size or not isinstance(content, bytes) or len(content) != size:
        return None
    (number,) = struct.unpack(form, content)
    return float(number)


def _plugin(metadata: bytes) -> str:
    for number, value in protobuf.fields(metadata):
        if number == 1 and isinstance(value, bytes):
            name = dict(protobuf.fields(value)).get(1, b"")
            return name.decode(errors="replace") if isinstance(name, bytes) else ""
    return ""


def _starts_again(session: bytes) -> bool:
    return dict(protobuf.fields(session)).get(1) == _START


def _drop_from(found: Found, step: int) -> None:
    """Drop what a restart from `step` has superseded, as TensorBoard does."""
    for name, curve in list(found.curves.items()):
        kept = {at: point for at, point in curve.items() if at < step}
        if kept:
            found.curves[name] = kept
        else:
            del found.curves[name]
