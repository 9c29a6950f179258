"""In which language does the dashboard speak? English words are the keys of every table.

Fixed words that a person reads go through `tr`; names, numbers and what users wrote do not.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxrlab.tui import zh

LANGUAGES: dict[str, Mapping[str, str]] = {"en": {}, "zh": zh.WORDS}
"""Each language's table; what a table lacks is said in English."""

_spoken: dict[str, str] = {"language": "en"}


def speak(language: str) -> None:
    """Let everything that is drawn from now on be in `language`."""
    _spoken["language"] = language


def other(language: str) -> str:
    """Return the language after this one."""
    names = list(LANGUAGES)
    return names[(names.index(language) + 1) % len(names)] if language in names else names[0]


def tr(english: str) -> str:
    """Return the words in the language that is spoken; placeholders in braces stay as they are."""
    return LANGUAGES.get(_spoken["language"], {}).get(english, english)
