"""How is a report cleaned, cut and numbered for a decoder that writes it, and read back from it?

Two sets of rules, as R2Gen has them for Indiana University's reports (`iu`) and for MIMIC-CXR's
(`mimic`). Words are what stands between blanks, a full stop among them. Those that the training
reports have often enough are numbered from 1 in the order of their spelling; 0 begins and ends a
report, and fills up behind it.

Source: Chen et al., "Generating Radiology Reports via Memory-driven Transformer", EMNLP 2020, and
its released code.
Shapes: T tokens of a report, the beginning included.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Rules = Literal["iu", "mimic"]

BEGIN = END = 0
"""One id for both, and for what stands behind the end."""
UNKNOWN = "<unk>"
"""What a word stands as that the vocabulary lacks; it has an id like any other."""
IGNORED = -100
"""The label of a position that is not scored, as torch has it."""

THRESHOLD: dict[str, int] = {"iu": 3, "mimic": 10}
"""How often the training reports must have a word. Source: R2Gen's training scripts."""
LENGTH: dict[str, int] = {"iu": 60, "mimic": 100}
"""Tokens of a report, the beginning included, after which it is cut. Source: likewise."""
IMAGES: dict[str, int] = {"iu": 2, "mimic": 1}
"""Radiographs that a report is written from. Source: R2Gen's data sets."""

_LAST_NUMBER = 5
"""Numbers of a list up to this one end a sentence."""
_DELETED_FIRST = str.maketrans("", "", "\"'/\\")
# from `:` to `[`, as the released code's class of characters has by accident in place of
# `:`, `-` and `[`; so a hyphen stays
_DELETED = re.compile(r"[.,?;*!%^&_+():-\[\]{}]")


def clean(report: str, rules: Rules) -> str:
    """Return `report` as R2Gen reads it: lower case, hardly a sign, sentences ended by ` .`.

    What is collapsed is halved a fixed number of times, so that very long runs leave a rest. A
    sentence of which nothing is left stays as a full stop of its own, as in the released code,
    whose test for it never fires.
    """
    if rules == "mimic":
        report = report.replace("\n", " ")
        report = _halved(_halved(report, "_", times=7), " ", times=6)
    report = _halved(report, ".", times=8 if rules == "mimic" else 3)
    report = report.replace("1. ", "")
    for before in (". ", " "):
        for number in range(2, _LAST_NUMBER + 1):
            report = report.replace(f"{before}{number}. ", ". ")
    sentences = report.strip().lower().split(". ")
    return " . ".join(map(_clean_sentence, sentences)) + " ."


def _halved(text: str, sign: str, *, times: int) -> str:
    for _ in range(times):
        text = text.replace(sign * 2, sign)
    return text


def _clean_sentence(sentence: str) -> str:
    return _DELETED.sub("", sentence.translate(_DELETED_FIRST).strip())


class Vocabulary(NamedTuple):
    """The words that a decoder can write, and how reports are brought to them."""

    rules: Rules
    length: int
    """T, after which a report is cut, whether its end is lost or not."""
    words: tuple[str, ...]
    """Sorted; the id of each is its place, counted from 1. `UNKNOWN` is among them."""

    @property
    def size(self) -> int:
        """Return how many ids there are, with 0."""
        return len(self.words) + 1

    def ids(self, report: str) -> NDArray[np.int64]:
        """Return `report`, cleaned and cut, as ids: 0, its words, and 0 unless it was cut."""
        known = self.numbers()
        unknown = known[UNKNOWN]
        found = [known.get(word, unknown) for word in clean(report, self.rules).split()]
        return np.array([BEGIN, *found, END][: self.length], dtype=np.int64)

    def numbers(self) -> dict[str, int]:
        """Return the id of each word."""
        return {word: number for number, word in enumerate(self.words, 1)}

    def text(self, ids: Iterable[int]) -> str:
        """Return the words of `ids`, which come after the beginning, up to the first 0."""
        found = []
        for number in ids:
            if number == END:
                break
            found.append(self.words[number - 1])
        return " ".join(found)

    def cut(self, report: str) -> str:
        """Return what is left of `report` when it has been to ids and back.

        Source: R2Gen scores against this, not against the report as it was written.
        """
        return self.text(self.ids(report)[1:].tolist())

    def to_json(self) -> str:
        """Return all of it as one line of JSON."""
        return json.dumps(self._asdict())


def from_json(text: str) -> Vocabulary:
    """Return the vocabulary that `to_json` wrote."""
    read = json.loads(text)
    return Vocabulary(read["rules"], read["length"], tuple(read["words"]))


def learn(reports: Sequence[str], rules: Rules, *, threshold: int, length: int) -> Vocabulary:
    """Return the vocabulary of the training reports.

    Args:
        reports: as they are written, of the training set alone.
        rules: how they are cleaned.
        threshold: how often a word must be there to be kept.
        length: T.
    """
    counts = Counter(word for report in reports for word in clean(report, rules).split())
    kept = {word for word, count in counts.items() if count >= threshold} | {UNKNOWN}
    return Vocabulary(rules, length, tuple(sorted(kept)))


def typical(reports: Sequence[str], *, longest: int = 4) -> str:
    """Return the one of `reports` that shares most with all of them; the first of equals.

    Two share the word sequences of one to `longest` words that both have, as a share of those that
    either has. Where one report is by far the most common, it is this one.

    Args:
        reports: cleaned, not none.
        longest: words of the longest sequence that is compared.
    """
    distinct = Counter(reports)
    grams = {report: _sequences(report, longest) for report in distinct}
    often: Counter[tuple[str, ...]] = Counter()
    for report, count in distinct.items():
        for gram in grams[report]:
            often[gram] += count
    total = sum(len(grams[report]) * count for report, count in distinct.items())

    def shared(report: str) -> float:
        own = grams[report]
        return sum(often[gram] for gram in own) / (len(reports) * len(own) + total or 1)

    return max(distinct, key=shared)


def _sequences(report: str, longest: int) -> set[tuple[str, ...]]:
    words = report.split()
    return {
        tuple(words[start : start + n])
        for n in range(1, longest + 1)
        for start in range(len(words) - n + 1)
    }
