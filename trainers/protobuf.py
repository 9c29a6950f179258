"""What do the fields of a protobuf message hold, and how is one written, without its schema?

Event files of TensorBoard and logs of W&B are made of such messages. Of their schemas a few fields
are needed, and of protobuf four kinds of values: that is less than its library would bring along.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIGN = 1 << 63


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Give the number and value of each field: an int, or the bytes of everything else.

    Raises:
        ValueError: it is no protobuf message.
    """
    at, end = 0, len(message)
    while at < end:
        key, at = _varint(message, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(message, at)
        elif kind in (_FIXED64, _FIXED32):
            size = 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if at + size > end:
            raise ValueError("a field is cut off")
        yield key >> 3, message[at : at + size]
        at += size


def signed(value: int | bytes) -> int:
    """Return an int64, which is written as if it had no sign."""
    number = int(value) if isinstance(value, int) else 0
    return number - 2 * _SIGN if number >= _SIGN else number


def unzigzagged(value: int | bytes) -> int:
    """Return a sint64, whose sign is its last bit."""
    number = int(value) if isinstance(value, int) else 0
    return (number >> 1) ^ -(number & 1)


def floating(value: int | bytes) -> float:
    """Return a float or double by how many bytes it has.

    Raises:
        ValueError: it has neither four nor eight.
    """
    if not isinstance(value, bytes) or len(value) not in (4, 8):
        raise ValueError("not a floating point number")
    (number,) = struct.unpack("<f" if len(value) == 4 else "<d", value)
    return float(number)


def whole_field(number: int, value: int) -> bytes:
    """Write an int64."""
    return _written(number << 3 | _VARINT) + _written(value % (2 * _SIGN))


def double_field(number: int, value: float) -> bytes:
    """Write a double."""
    return _written(number << 3 | _FIXED64) + struct.pack("<d", value)


def bytes_field(number: int, value: bytes | str) -> bytes:
    """Write bytes, a text, or a message within a message."""
    content = value.encode() if isinstance(value, str) else value
    return _written(number << 3 | _BYTES) + _written(len(content)) + content


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise ValueError("a number is cut off")
        byte = message[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
        shift += 7


def _written(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
