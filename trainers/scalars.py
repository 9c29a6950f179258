"""Which numbers does an event of a TensorBoard file hold?

Scalars are read as `simple_value` and as the tensors that newer writers use; pictures, graphs and
histograms are left out. Read with neither TensorBoard nor TensorFlow. Standard library only.

Source: tensorflow/core/util/event.proto, framework/summary.proto, framework/tensor.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

from trainers import protobuf

PATTERN = "*tfevents*"
"""What the files are called."""

_FLOAT, _DOUBLE = 1, 2
_START = 1


class Event(NamedTuple):
    """What one record of an event file says."""

    step: int
    t: float
    values: Mapping[str, float]
    texts: Mapping[str, bytes]
    """What tensors that are no numbers hold first, by tag."""
    starts_again: bool = False
    """Whether a writer begins anew: later steps that stood before no longer hold."""


class Reader:
    """Reads the records of one file in order: a tag's plugin is named the first time alone."""

    def __init__(self) -> None:
        self._plugins: dict[str, str] = {}

    def read(self, record: bytes) -> Event:
        """Return what one record says.

        Raises:
            ValueError: it is no event.
        """
        t, step, again = 0.0, 0, False
        values: dict[str, float] = {}
        texts: dict[str, bytes] = {}
        for number, value in protobuf.fields(record):
            if number == 1:
                t = protobuf.floating(value)
            elif number == 2:
                step = protobuf.signed(value)
            elif number == 5 and isinstance(value, bytes):
                for field, part in protobuf.fields(value):
                    if field == 1 and isinstance(part, bytes):
                        self._take(part, values, texts)
            elif number == 7 and isinstance(value, bytes):
                again = dict(protobuf.fields(value)).get(1) == _START
        return Event(step, t, values, texts, again)

    def _take(self, summary: bytes, values: dict[str, float], texts: dict[str, bytes]) -> None:
        parts: dict[int, Any] = dict(protobuf.fields(summary))
        tag = _bytes(parts.get(1)).decode(errors="replace")
        if 9 in parts:
            self._plugins[tag] = _plugin(_bytes(parts[9]))
        if 2 in parts:
            values[tag] = protobuf.floating(parts[2])
        elif 8 in parts and self._plugins.get(tag) == "scalars":
            number = _scalar(_bytes(parts[8]))
            if number is not None:
                values[tag] = number
        elif 8 in parts:
            texts[tag] = _bytes(dict(protobuf.fields(_bytes(parts[8]))).get(8))


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""


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
        if number == 1:
            return _bytes(dict(protobuf.fields(_bytes(value))).get(1)).decode(errors="replace")
    return ""
