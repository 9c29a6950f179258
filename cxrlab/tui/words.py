"""In which language does the dashboard speak? English words are the keys of every table.

Fixed words that a person reads go through `tr`; names, numbers and what users wrote do not. A table
of words at the top of a module stays English and goes through `tr` where it is drawn, for the
language is known only then.
"""

from __future__ import annotations

from collections.abc import Mapping

from rich.cells import cell_len

from cxrlab import text
from cxrlab.tui import zh

LANGUAGES: dict[str, Mapping[str, str]] = {"en": {}, "zh": zh.WORDS}
"""Each language's table; what a table lacks is said in English."""

_spoken: dict[str, str] = {"language": "en"}


def speak(language: str) -> None:
    """Let everything that is drawn from now on be in `language`."""
    _spoken["language"] = language


def spoken() -> str:
    """Return the language that is spoken."""
    return _spoken["language"]


def other(language: str) -> str:
    """Return the language after this one."""
    names = list(LANGUAGES)
    return names[(names.index(language) + 1) % len(names)] if language in names else names[0]


def tr(english: str, context: str = "") -> str:
    """Return the words in the language that is spoken; placeholders in braces stay as they are.

    A context tells apart what is one word in English; its key is `context|english`.
    """
    table = LANGUAGES.get(_spoken["language"], {})
    if context and (told := table.get(f"{context}|{english}")) is not None:
        return told
    return table.get(english, english)


def counted(count: int, noun: str) -> str:
    """Write a count with its noun: `1 run`, `3 runs`, `3 个运行`."""
    form = f"{{n}} {noun}"
    told = tr(form)
    return text.plural(count, noun) if told == form else told.format(n=f"{count:,}")


def ago(t: float | None, now: float) -> str:
    """Write how long before `now` the time `t` was: `just now`, `5m ago`."""
    said = text.ago(t, now)
    span, before, _ = said.partition(" ago")
    return tr("{span} ago").format(span=span) if before else tr(said)


def joined(words: list[str]) -> str:
    """Join words, with a comma as the language writes it."""
    return tr(", ").join(words)


def padded(words: str, width: int) -> str:
    """Fill up with blanks to `width` cells, of which a Chinese character takes two."""
    return words + " " * max(0, width - cell_len(words))
