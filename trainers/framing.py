"""How are the records of a binary log told apart, up to where a crash has torn it?

Two framings: TFRecord, which TensorBoard's event files have, and LevelDB's log, which W&B's have.
Both carry checksums; reading ends at the first record whose checksum is wrong.

Source: tensorflow/core/lib/io/record_writer.h; leveldb/doc/log_format.md, where W&B begins the file
with seven bytes of its own and takes plain CRC-32 for LevelDB's masked CRC-32C.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

Tell = Callable[[str], None]
"""Is told, in a few words, why reading has ended before the end of the file."""

WANDB_HEAD = b":W&B\xe1\xbe\x00"

_BLOCK = 32768
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_CHECKED_BYTES = 65536
"""Larger records hold pictures and not curves: their checksum, in Python, would take a minute."""

_KEPT_BYTES = 2**20
"""Larger records are not kept in memory while a file is followed: no scalar takes that much."""


def tf_records(file: BinaryIO, tell: Tell) -> Iterator[bytes]:
    """Give the records of an event file, each whole."""
    while head := file.read(12):
        at = file.tell() - len(head)
        if len(head) < 12:
            return tell(f"torn at byte {at}, as a crash leaves it")
        length, sum_of_length = struct.unpack("<QI", head)
        if masked_crc32c(head[:8]) != sum_of_length:
            return tell(f"damaged at byte {at}; what follows is left out")
        content, tail = file.read(length), file.read(4)
        if len(content) < length or len(tail) < 4:
            return tell(f"torn at byte {at}, as a crash leaves it")
        if length <= _CHECKED_BYTES and masked_crc32c(content) != struct.unpack("<I", tail)[0]:
            return tell(f"damaged at byte {at}; what follows is left out")
        yield content
    return None


class Following:
    """Tells the records of an event file apart while it is being written, in any chunks.

    What is damaged is left out and counted, and reading goes on at the next head whose checksum
    is right: a run of days does not lose its curves to one bad block.
    """

    def __init__(self) -> None:
        self.damaged = 0
        """How many stretches of the file were no records."""
        self._left = bytearray()
        self._skip = 0
        self._lost = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Give each record that is complete now; what is not waits for the next chunk."""
        left = self._left
        left += chunk
        while True:
            passed = min(self._skip, len(left))
            del left[:passed]
            self._skip -= passed
            at = self._head()
            del left[:at]
            if len(left) < 12:
                return
            length = int.from_bytes(left[:8], "little")
            if length > _KEPT_BYTES:
                self._skip = 12 + length + 4
                continue
            if len(left) < 12 + length + 4:
                return
            content = bytes(left[12 : 12 + length])
            checksum = int.from_bytes(left[12 + length : 16 + length], "little")
            del left[: 16 + length]
            if length <= _CHECKED_BYTES and masked_crc32c(content) != checksum:
                self.damaged += 1
                continue
            yield content

    def _head(self) -> int:
        """Return where the next head begins; the end, less what may be a part of one."""
        left = self._left
        for at in range(len(left) - 11):
            # no record has 4 GiB, and most of what is no head is told by that alone
            if left[at + 4 : at + 8] == b"\0\0\0\0" and masked_crc32c(
                left[at : at + 8]
            ) == int.from_bytes(left[at + 8 : at + 12], "little"):
                self._lost = False
                return at
            self.damaged += not self._lost
            self._lost = True
        return max(0, len(left) - 11)


def tf_record(content: bytes) -> bytes:
    """Return a record as it stands in an event file."""
    head = struct.pack("<Q", len(content))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (head, content)]
    return head + sums[0] + content + sums[1]


def wandb_records(file: BinaryIO, tell: Tell) -> Iterator[bytes]:
    """Give the records of a `.wandb` file, each put together of its pieces."""
    if file.read(len(WANDB_HEAD)) != WANDB_HEAD:
        return tell("does not begin as a log of W&B does")
    pieces = b""
    while True:
        left = _BLOCK - file.tell() % _BLOCK
        if left < 7:  # what does not hold a head is filled up
            file.read(left)
        at = file.tell()
        head = file.read(7)
        if not head:
            return None
        if len(head) < 7:
            return tell(f"torn at byte {at}, as a crash leaves it")
        checksum, length, kind = struct.unpack("<IHB", head)
        content = file.read(length)
        if len(content) < length:
            return tell(f"torn at byte {at}, as a crash leaves it")
        if zlib.crc32(head[6:] + content) != checksum or kind not in (1, 2, 3, 4):
            return tell(f"damaged at byte {at}; what follows is left out")
        pieces = content if kind in (_FULL, _FIRST) else pieces + content
        if kind in (_FULL, _LAST):
            yield pieces


def wandb_log(contents: Iterable[bytes]) -> bytes:
    """Return a `.wandb` file of these records, cut where one does not fit into its block."""
    out = bytearray(WANDB_HEAD)
    for content in contents:
        at, first = 0, True
        while first or at < len(content):
            left = _BLOCK - len(out) % _BLOCK
            if left < 7:
                out += bytes(left)
                left = _BLOCK
            piece = content[at : at + left - 7]
            at += len(piece)
            last = at == len(content)
            kind = (_FULL if last else _FIRST) if first else (_LAST if last else _MIDDLE)
            checksum = zlib.crc32(bytes([kind]) + piece)
            out += struct.pack("<IHB", checksum, len(piece), kind) + piece
            first = False
    return bytes(out)


def masked_crc32c(content: bytes | bytearray) -> int:
    """Return the checksum of a TFRecord: CRC-32C, turned and shifted."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    found = []
    for entry in range(256):
        for _ in range(8):
            entry = entry >> 1 ^ (0x82F63B78 if entry & 1 else 0)  # Castagnoli's, reflected
        found.append(entry)
    return tuple(found)


_TABLE = _table()
