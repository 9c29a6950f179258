"""How does a large file get here whole over a line that breaks? It goes on where it broke.

HTTP lets one ask for the rest of a file (`Range`), on the condition that it is still the same one
(`If-Range`); a server that does neither starts again from the beginning.
"""

from __future__ import annotations

import http.client
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import replace
from email.message import Message
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cxrlab.assets.digests import Digests
from cxrlab.assets.partial import Note, Part
from cxrlab.errors import CxrlabError, NotFound, Usage

WAITS_S: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0)
"""How long to wait before another try; all over again as soon as anything new has come."""

LONGEST_WAIT_S = 60.0
"""A busy server that asks for more patience than this does not get it."""

SILENCE_S = 30.0
"""A line on which nothing comes for so long is taken for cut."""

CHUNK = 1 << 18
PASSING = (408, 425, 429, 500, 502, 503, 504)
"""Refusals that may be over in a moment. Source: RFC 9110, section 15; RFC 6585 and 8470."""

Show = Callable[[int, int | None], None]
"""Called with how many bytes are here, and of how many, where the server tells."""
Say = Callable[[str], None]


class Cut(Exception):
    """The line broke, or the server is busy: worth another try."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


def fetch(
    url: str,
    target: Path,
    *,
    expected: Digests,
    show: Show,
    say: Say,
    waits_s: Sequence[float] | None = None,
) -> Digests:
    """Bring the file at `url` to `target`, whose folder must be there, and return its digests.

    An interrupted fetch leaves what has come, and the next one goes on from there. A file that was
    there under the name of `target` is replaced at the very end.

    Args:
        url: http or https.
        target: the file.
        expected: what it must hash to.
        show: is told how far it is.
        say: is told why it waits, or starts again.
        waits_s: see `WAITS_S`, which holds where none are given.

    Raises:
        Usage: no such address can be fetched from.
        NotFound: the server has no such file.
        BadInput: what came is another file; it is thrown away.
        CxrlabError: no way to the server, no room, or somebody else is fetching it.
    """
    if not re.match(r"https?://[^/]", url):
        raise Usage(f"`{url}` is no address to fetch from", "it begins with https:// or http://")
    with Part(target, url) as part:
        all_waits = WAITS_S if waits_s is None else waits_s
        waits, most = list(all_waits), part.size
        while not part.whole:
            try:
                _receive(part, show, say)
                break
            except Cut as cut:
                # what has only come again, from a server that always begins anew, is nothing new
                waits = list(all_waits) if part.size > most else waits
                most = max(most, part.size)
                if not waits:
                    hint = "the same line goes on from there" if part.size else ""
                    raise CxrlabError(f"{url}: {cut}; {part.here}", hint) from None
                wait_s = max(waits.pop(0), cut.wait_s)
                say(f"{cut}; {part.here}; trying again in {wait_s:g} s")
                time.sleep(wait_s)
        return part.finish(expected)


def _receive(part: Part, show: Show, say: Say) -> None:
    """Take in what the server sends from where `part` ends, until all of it is here.

    Raises:
        Cut: it is not all here, and another try may help.
        CxrlabError: none will.
    """
    request = urllib.request.Request(part.note.url, headers=_headers(part))
    try:
        with urllib.request.urlopen(request, timeout=SILENCE_S) as reply:
            _begin(part, reply, say)
            show(part.size, part.note.total)
            while chunk := reply.read1(CHUNK):
                part.add(chunk)
                show(part.size, part.note.total)
    except urllib.error.HTTPError as error:
        raise _refusal(part, error) from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise CxrlabError(f"{part.note.url}: {error.reason.verify_message}") from None
        raise Cut(f"the server cannot be reached ({_reason(error.reason)})") from None
    except (OSError, http.client.HTTPException) as error:
        raise Cut(f"the line is cut ({_reason(error)})") from None
    if part.note.total is not None and part.size < part.note.total:
        raise Cut("the line is cut")


def _headers(part: Part) -> dict[str, str]:
    headers = {"User-Agent": "cxrlab", "Accept-Encoding": "identity"}
    if part.size:
        headers["Range"] = f"bytes={part.size}-"
        if part.note.validator:
            headers["If-Range"] = part.note.validator
    return headers


def _begin(part: Part, reply: Any, say: Say) -> None:
    """Make `part` end where the reply begins."""
    headers = reply.headers
    length = headers.get("Content-Length", "")
    there = Note(
        part.note.url,
        etag=headers.get("ETag", ""),
        modified=headers.get("Last-Modified", ""),
        total=int(length) if length.isdecimal() else None,
    )
    if reply.status == HTTPStatus.PARTIAL_CONTENT:
        _go_on(part, there.etag, headers)
        return
    if part.size:
        changed = (there.etag, there.total) != (part.note.etag, part.note.total)
        why = "the file there has changed" if changed else "the server cannot go on in the middle"
        say(f"{why}; starting again from the beginning")
    part.begin(there)


def _go_on(part: Part, etag: str, headers: Message) -> None:
    """Check that a partial reply is of the same file and begins where `part` ends.

    Raises:
        Cut: it is not, and the next try begins from nothing.
    """
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)$", headers.get("Content-Range", ""))
    first = int(found[1]) if found else -1
    total = int(found[2]) if found and found[2] != "*" else part.note.total
    part.note = replace(part.note, total=part.note.total or total)
    other = etag and part.note.etag and etag != part.note.etag
    if first != part.size or total != part.note.total or other:
        part.empty()
        raise Cut("the server goes on with another file")


def _refusal(part: Part, error: urllib.error.HTTPError) -> Exception:
    """Return what to raise for an answer that is not the file."""
    url, code = part.note.url, error.code
    if code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and part.size:
        part.empty()
        return Cut("the server has a shorter file than was begun with")
    if code in PASSING:
        asked = error.headers.get("Retry-After", "")
        wait_s = min(float(asked), LONGEST_WAIT_S) if asked.isdecimal() else 0.0
        return Cut(f"the server is busy ({code})", wait_s)
    if code in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE):
        return NotFound(f"{url}: the server has no such file ({code})")
    return CxrlabError(f"{url}: the server refuses ({code} {error.reason})")


def _reason(problem: object) -> str:
    said = getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return said[:1].lower() + said[1:]
