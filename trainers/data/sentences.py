"""Of which sentences does a report consist, and which one is read beside its radiograph?

A sentence ends with a full stop, a question or exclamation mark before a space. A stop ends none
after an abbreviation or an initial, in the number of a list, or within a number that was torn apart
(`2. 5 cm`); within `2.5 cm` no space follows. Letters' case is not gone by: many a table of reports
is in lower case throughout.
"""

from __future__ import annotations

import re

import numpy as np

from trainers.data import sections

ABBREVIATIONS = frozenset(
    "dr drs mr mrs ms prof st vs cf approx ca incl e.g i.e eg ie etc pt pts fig figs resp".split()
)
"""What a stop follows within a sentence, in lower case."""
CLOCK = frozenset(("a.m", "p.m"))
"""Likewise, unless a capital follows."""

_END = re.compile(r"[.!?]+[\"')\]]*(?=\s|$)")
_TORN = re.compile(r"\s*\d+\s*(?:cm|mm|ml|x)\b", re.IGNORECASE)
_NUMBER_OF_LIST = re.compile(r"\A\(?\d{1,2}[.)](?:\s+|$)")
_WORD = re.compile(r"[^\W\d_]{2,}")


def split(text: str) -> list[str]:
    """Return the sentences of `text` in their order, without the numbers of a list.

    What holds no word of two letters is left out, so that there may be none.
    """
    found, start = [], 0
    for end in _END.finditer(text):
        sentence = text[start : end.end()].strip()
        if not _goes_on(sentence, text[end.end() :]):
            found.append(sentence)
            start = end.end()
    found.append(text[start:].strip())
    bare = (_NUMBER_OF_LIST.sub("", sentence, count=1) for sentence in found)
    return [sentence for sentence in bare if _WORD.search(sentence)]


def _goes_on(before: str, after: str) -> bool:
    """Return whether a sentence that seems to end as `before` does goes on with `after`."""
    if not after.strip() or before[-1] in "!?":
        return False
    if _NUMBER_OF_LIST.fullmatch(before):
        return True
    word = before.rstrip(".\"')]").rpartition(" ")[2].lower().lstrip("(\"'")
    if word in CLOCK:
        return not after.lstrip()[0].isupper()
    initial = len(word) == 1 and word.isalpha()
    torn = word.isdigit() and _TORN.match(after) is not None
    return word in ABBREVIATIONS or initial or torn


def seen(report: str) -> str:
    """Return what a report says was seen: findings and impression, or the whole without these."""
    return sections.pick(report, "findings_impression").text or report.strip()


def of_report(report: str) -> list[str]:
    """Return the sentences of what was seen, and at least one text.

    Those of the whole report, where there are none; the report as it is, where nothing in it looks
    like a sentence.
    """
    return split(seen(report)) or split(report) or [report.strip()]


def draw(report: str, rng: np.random.Generator) -> str:
    """Return one sentence of `report`, each as likely; one number is drawn from `rng`."""
    found = of_report(report)
    return found[int(rng.integers(len(found)))]
