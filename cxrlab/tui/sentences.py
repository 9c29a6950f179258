"""How do the registry's sentences read in the language of the dashboard?

The registry, the agent and the doctor keep their reasons in English. What has no translation stays
as it is, whole or in part.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache, lru_cache

from cxrlab import text
from cxrlab.exports import words as exported
from cxrlab.tui import words, zh

_JOINED = ((re.compile(r"; (?![^()]*\))"), "；"), (re.compile(r", (?![^()]*\))"), "，"))
"""How clauses are joined, in English (outside brackets) and in Chinese."""


@cache
def _patterns() -> Sequence[tuple[re.Pattern[str], str]]:
    return [(re.compile(pattern, re.DOTALL), chinese) for pattern, chinese in zh.SENTENCES]


def said(sentence: str) -> str:
    """Return a sentence of the registry in the language that is spoken."""
    return _in_chinese(sentence) if words.spoken() == "zh" else sentence


def state(name: str, reason: str = "") -> str:
    """Write a state with its sign and its word, and its reason where there is one."""
    sign = text.STATES[name].symbol if name in text.STATES else "?"
    told = f"{sign} {words.tr(name)}"
    return words.tr(", ").join([told, said(reason)]) if reason else told


@lru_cache(maxsize=4096)
def _in_chinese(sentence: str) -> str:
    whole = _whole(sentence)
    if whole is not None:
        return whole
    for between, joint in _JOINED:
        parts = between.split(sentence)
        told = [_whole(part) for part in parts]
        if len(parts) > 1 and any(part is not None for part in told):
            return joint.join(
                _in_chinese(part) if each is None else each
                for part, each in zip(parts, told, strict=True)
            )
    return sentence


def _whole(sentence: str) -> str | None:
    """Return a sentence that is known as a whole; None where none is.

    Groups called `said` are sentences themselves, those called `word` have a word of their own.
    """
    if (fixed := zh.WORDS.get(sentence)) is not None:
        return fixed
    for pattern, chinese in _patterns():
        if found := pattern.fullmatch(sentence):
            parts = {
                name: _in_chinese(part) if name.startswith("said") else zh.WORDS.get(part, part)
                for name, part in found.groupdict(default="").items()
            }
            return chinese.format(**parts).strip()
    told = exported.told(sentence, "zh")
    return None if told == sentence else told
