"""How does a screen read without waiting? One thread at a time, and once more if asked meanwhile.

However often a screen asks, at most one read runs and one is due; no answer overtakes a later one,
and none is thrown away while the registry changes faster than it can be read.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from textual.dom import DOMNode
from textual.message import Message

from cxrlab.errors import CxrlabError
from cxrlab.tui.messages import Trouble
from store.db import StoreError


class Asking:
    """Calls `read` on a thread with what was asked last, and posts the message it returns."""

    def __init__(self, node: DOMNode, read: Callable[..., Message | None]) -> None:
        self._node = node
        self._read = read
        self._lock = threading.Lock()
        self._due: tuple[Any, ...] | None = None
        self._busy = False

    def ask(self, *values: Any) -> None:
        """Read with `values`; called on the user interface's thread."""
        with self._lock:
            self._due = values
            if self._busy:
                return
            self._busy = True
        self._node.run_worker(self._work, thread=True, group="asking")

    def _work(self) -> None:
        while True:
            with self._lock:
                values, self._due = self._due, None
                if values is None:
                    self._busy = False
                    return
            try:
                answer = self._read(*values)
            except (StoreError, CxrlabError, OSError) as error:
                answer = None
                self._node.app.post_message(Trouble(str(error), getattr(error, "hint", "")))
            except BaseException:
                with self._lock:
                    self._busy = False
                raise
            if answer is not None and self._node.is_attached:
                self._node.post_message(answer)
