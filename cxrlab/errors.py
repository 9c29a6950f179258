"""Which failures can a person act on, and which exit code does each end with?"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class CxrlabError(Exception):
    """What is wrong, in one line without a full stop, and a hint at what to do about it."""

    code = 1

    def __init__(self, message: str, hint: str = "", code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        if code is not None:
            self.code = code


class Usage(CxrlabError):
    """The command line or a setting is wrong."""

    code = 2


class NotFound(CxrlabError):
    """No such lab, run, method, task or file."""

    code = 3


class BadInput(CxrlabError):
    """Data or a checkpoint that is not what it should be."""

    code = 4


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the known name most like `name`, or "" where none is like it."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return close[0] if close else ""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> NotFound:
    """Return the error for a `kind` that is not called so, with the nearest that is."""
    names = list(known)
    close = nearest(name, names)
    hint = f"did you mean `{close}`?" if close else f"known: {', '.join(names)}"
    return NotFound(f"no {kind} is called `{name}`", hint)
