"""How do the curves of a run look as an event file of TensorBoard?

Scalars as every version of TensorBoard reads them, a text that says which run it is, and the
numbers of its result at its last step; what it used of its machine has seconds for steps. Values
are single floats, as in all such files.

Source: tensorflow/core/util/event.proto, framework/summary.proto.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator

from cxrlab.exports.curves import Curves
from trainers.framing import tf_record
from trainers.protobuf import bytes_field, double_field, whole_field

TEXT_TAG = "cxrlab/run"
_STRING = 7
_LARGEST = 3.4028234663852886e38


def file_name(curves: Curves) -> str:
    """Return the name of a run's event file, which tells TensorBoard when it began."""
    began = int(curves.run.started or curves.run.created)
    return f"events.out.tfevents.{began:010d}.cxrlab.{curves.run.id}"


def event_file(curves: Curves) -> bytes:
    """Return the event file of a run; the same curves give the same bytes."""
    began = curves.run.started or curves.run.created
    out = [_event(began, 0, bytes_field(3, "brain.Event:2"))]
    out.append(_event(began, 0, bytes_field(5, bytes_field(1, _text(curves)))))
    out += [
        _event(t, second, bytes_field(5, bytes_field(1, _scalar(name, value))))
        for name, used in sorted(curves.use.items())
        for second, value, t in used
    ]
    out += [
        _event(curves.time_of(step), step, bytes_field(5, bytes_field(1, _scalar(name, value))))
        for step, name, value in _in_order(curves)
    ]
    return b"".join(out)


def _in_order(curves: Curves) -> Iterator[tuple[int, str, float]]:
    points = [(s, name, v) for name, curve in curves.metrics.items() for s, v in curve]
    yield from sorted(points, key=lambda point: point[:2])
    last = max((step for step, _, _ in points), default=0)
    for name, value in sorted(curves.results.items()):
        if name not in curves.metrics:
            yield last, name, value


def _event(t: float, step: int, what: bytes) -> bytes:
    return tf_record(double_field(1, t) + whole_field(2, step) + what)


def _scalar(name: str, value: float) -> bytes:
    if math.isfinite(value) and abs(value) > _LARGEST:
        value = math.copysign(math.inf, value)
    return bytes_field(1, name) + b"\x15" + struct.pack("<f", value)  # field 2, of four bytes


def _text(curves: Curves) -> bytes:
    """Return the run's identity as TensorBoard's own text summaries are written."""
    said = json.dumps(curves.identity(), ensure_ascii=False)
    tensor = whole_field(1, _STRING) + bytes_field(2, b"") + bytes_field(8, said)
    plugin = bytes_field(1, bytes_field(1, "text"))
    return bytes_field(1, TEXT_TAG) + bytes_field(8, tensor) + bytes_field(9, plugin)
