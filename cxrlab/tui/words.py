"""In which language does the dashboard speak? English words are the keys of every table.

Fixed words that a person reads go through `tr`; names, numbers and what users wrote do not.
"""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES: dict[str, Mapping[str, str]] = {"en": {}}
"""Each language's table; what a table lacks is said in English."""

_spoken: dict[str, str] = {"language": "en"}


def speak(language: str) -> None:
    """Let everything that is drawn from now on be in `language`."""
    _spoken["language"] = language


def tr(english: str) -> str:
    """Return the words in the language that is spoken; placeholders in braces stay as they are."""
    return LANGUAGES.get(_spoken["language"], {}).get(english, english)
