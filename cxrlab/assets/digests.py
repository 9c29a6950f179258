"""Is this the file that was expected? It is, if it hashes to what is known of that one."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

from cxrlab.errors import BadInput

BLOCK = 1 << 20
WEB_PAGE = (b"<!doctype html", b"<html")
"""How a page begins that a server sends in place of a file: to log in, to confirm, to excuse."""


class Digests(NamedTuple):
    """What a file hashes to, as many of the first hex digits as are known; empty: anything."""

    sha256: str = ""
    md5: str = ""


def of(path: Path) -> Digests:
    """Return both digests of a file, in full."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            sha256.update(block)
            md5.update(block)
    return Digests(sha256.hexdigest(), md5.hexdigest())


def check(path: Path, expected: Digests, *, name: str = "") -> Digests:
    """Return the digests of a file.

    Args:
        path: where it lies.
        expected: what it must hash to.
        name: what an error calls it; its path where empty.

    Raises:
        BadInput: it is empty, a web page, or not the file that was expected.
    """
    called = name or str(path)
    with path.open("rb") as file:
        head = file.read(512).lstrip().lower()
    if not head:
        raise BadInput(f"{called} is empty")
    if head.startswith(WEB_PAGE):
        raise BadInput(
            f"{called} is a web page and no file of weights",
            "open its address in a browser and save the file that is offered there",
        )
    found = of(path)
    for kind, wanted in expected._asdict().items():
        has = getattr(found, kind)
        if not has.startswith(wanted.lower()):
            begins = "" if len(wanted) == len(has) else "one that begins with "
            raise BadInput(
                f"{called} is another file: its {kind} is {has}, expected {begins}{wanted}"
            )
    return found
