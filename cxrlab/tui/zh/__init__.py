"""The dashboard's words in Chinese, by the English ones.

Names of methods, tasks, metrics and settings are names in either language, and so is what one types
at a shell. Two columns of the terminal are one character here, so that a word takes about as much
room as the English one.
"""

from __future__ import annotations

from cxrlab.tui.zh import everywhere, forms, keys, screens, sentences

WORDS: dict[str, str] = {**everywhere.WORDS, **keys.WORDS, **screens.WORDS, **forms.WORDS}
SENTENCES: tuple[tuple[str, str], ...] = sentences.SENTENCES
"""Patterns of what the registry says in English, each with the same in Chinese."""
