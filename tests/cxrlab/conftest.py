"""A web server that fails as real ones do, and a checkout of the trainers that can be edited."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from trainers import source


class Mirror:
    """Serves `content`; each attribute is a way in which servers are different."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.etag: str | None = '"one"'
        self.modified: str | None = None
        self.ranges = True
        self.cuts: list[int] = []
        """After how many bytes each reply breaks off, the next one first."""
        self.statuses: list[int] = []
        """What the next requests are refused with."""
        self.retry_after: str | None = None
        self.length: int | None = None
        """What it says the length is, where it does not tell the truth."""
        self.tells_length = True
        self.hold_s = 0.0
        """How long it keeps the line open after all is sent."""
        self.asked: list[dict[str, str]] = []
        """The headers of each request."""
        mirror = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                mirror.serve(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/folder/some.pth?x=1"

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, to: BaseHTTPRequestHandler) -> None:
        self.asked.append(dict(to.headers))
        if self.statuses:
            to.send_response(self.statuses.pop(0))
            if self.retry_after:
                to.send_header("Retry-After", self.retry_after)
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        first = self.first_asked_for(to)
        if first >= len(self.content) and first:
            to.send_response(416)
            to.send_header("Content-Range", f"bytes */{len(self.content)}")
            to.send_header("Content-Length", "0")
            to.end_headers()
            return
        body = self.content[first:]
        to.send_response(206 if first else 200)
        for name, value in (("ETag", self.etag), ("Last-Modified", self.modified)):
            if value:
                to.send_header(name, value)
        if self.tells_length:
            to.send_header("Content-Length", str(self.length or len(body)))
        if first:
            whole = len(self.content)
            to.send_header("Content-Range", f"bytes {first}-{whole - 1}/{whole}")
        to.end_headers()
        to.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)
        to.wfile.flush()
        self._closing.wait(self.hold_s)

    def first_asked_for(self, to: BaseHTTPRequestHandler) -> int:
        found = re.match(r"bytes=(\d+)-$", to.headers.get("Range", ""))
        condition = to.headers.get("If-Range")
        if not found or not self.ranges or condition not in (None, self.etag, self.modified):
            return 0
        return int(found[1])


@pytest.fixture
def mirror(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mirror]:
    """A server of its own for a test; `mirror.content` is what it serves."""
    monkeypatch.setenv("no_proxy", "*")
    made = Mirror(b"some content")
    yield made
    made.close()


class Checkout:
    """The trainers' source in a checkout of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.package = root / "trainers"
        without = shutil.ignore_patterns("__pycache__")
        shutil.copytree(source.PACKAGE, self.package, ignore=without)
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-qm", "first")

    def git(self, *words: str) -> str:
        """Return what git says there."""
        who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
        line = ["git", "-C", str(self.root), *who, *words]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout

    def edit(self, word: str) -> None:
        """Have whatever imports the events of the trainers say a word."""
        with (self.package / "events.py").open("a") as file:
            file.write(f"\nimport sys\nsys.stderr.write('the code says {word}\\n')\n")


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """A checkout whose code is what is frozen."""
    made = Checkout(tmp_path / "checkout")
    monkeypatch.setattr(source, "PACKAGE", made.package)
    return made
