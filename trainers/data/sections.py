"""Which part of a radiology report is findings, which impression, and which is training text?

A header is a line that begins with words in capitals and a colon. Where a report has been put on
one line, as in MRM's table, only the headers known here are looked for, anywhere in it.
Source: what MIT-LCP's section parser for MIMIC-CXR does, by its description; where a section is
there twice the last one counts, and what a report concludes is taken in the order of `CONCLUSION`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

TextField = Literal["raw", "findings", "impression", "findings_impression"]

PREAMBLE, OTHER, LAST_PARAGRAPH = "preamble", "other", "last_paragraph"
CONCLUSION = ("impression", "findings", LAST_PARAGRAPH, "comparison")
"""Where a report says what was seen, best first. Source: MIT-LCP, `mimic_cxr_sectioned.csv`."""
FALL_BACK: dict[str, tuple[str, ...]] = {
    "impression": CONCLUSION,
    "findings": ("findings", "impression", LAST_PARAGRAPH, "comparison"),
    "findings_impression": (LAST_PARAGRAPH, "comparison"),
}
"""What stands in for a section that is not there. Both findings and impression are taken where one
wants both; one of them is enough, and what follows here is for reports with neither."""

BOTH = "findings_impression"
"""A section under one header for the two; it counts as either."""

NAMES: dict[str, tuple[str, ...]] = {
    "examination": (
        "EXAMINATION", "EXAM", "EXAM TYPE", "TYPE OF EXAM", "TYPE OF EXAMINATION", "STUDY",
        "PROCEDURE",
    ),
    "indication": (
        "INDICATION", "INDICATIONS", "INDICATION FOR STUDY", "CLINICAL INDICATION",
        "CLINICAL INDICATIONS", "CLINICAL HISTORY", "CLINICAL INFORMATION", "HISTORY",
        "PATIENT HISTORY", "MEDICAL HISTORY", "REASON", "REASON FOR EXAM",
        "REASON FOR EXAMINATION", "REASON FOR THIS EXAM", "REASON FOR THIS EXAMINATION",
        "REASON FOR STUDY", "UNDERLYING MEDICAL CONDITION",
    ),
    "technique": ("TECHNIQUE", "TECHNIQUES", "VIEWS", "PROTOCOL"),
    "comparison": (
        "COMPARISON", "COMPARISONS", "COMPARISON EXAM", "COMPARISON EXAMS", "COMPARISON FILM",
        "COMPARISON FILMS", "COMPARISON STUDY", "COMPARISON STUDIES", "COMPARISON RADIOGRAPH",
        "COMPARISON RADIOGRAPHS", "COMPARED TO", "PRIOR STUDY", "PRIOR STUDIES", "PRIOR FILMS",
    ),
    "findings": ("FINDINGS", "FINDING", "OBSERVATIONS", "TECHNIQUE AND FINDINGS",
                 "COMPARISON AND FINDINGS"),
    "impression": (
        "IMPRESSION", "IMPRESSIONS", "CONCLUSION", "CONCLUSIONS", "SUMMARY", "OPINION",
        "IMPRESSION AND RECOMMENDATION", "IMPRESSION AND RECOMMENDATIONS", "FINAL IMPRESSION",
    ),
    BOTH: (
        "FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "FINDINGS / IMPRESSION",
        "FINDINGS & IMPRESSION", "IMPRESSION AND FINDINGS", "IMPRESSION/FINDINGS",
    ),
    "recommendation": ("RECOMMENDATION", "RECOMMENDATIONS"),
    "notification": ("NOTIFICATION", "NOTIFICATIONS", "COMMUNICATION", "NOTE"),
    "addendum": ("ADDENDUM",),
    "preliminary": ("WET READ", "PRELIMINARY REPORT"),
}  # fmt: skip
"""The sections that are told apart, and the headers of each."""

_KNOWN = {header: name for name, headers in NAMES.items() for header in headers}
_PICTURES = re.compile(
    r"\b(CHEST|AP|PA|LATERAL|PORTABLE|FRONTAL|UPRIGHT|SUPINE|VIEWS?|RADIOGRAPHS?|CXR|X-?RAY)\b"
)
# a clock or a colon of its own inside the capitals belongs to them: `AP CHEST, 5:44 A.M., ___:`
_HEADER_LINE = re.compile(
    r"^[ \t]*([A-Z](?:[A-Z0-9 \t,./&()#'_-]|:(?=\d))*):(?![/\d])[ \t]*", re.MULTILINE
)
_HEADER_WORDS = sorted(_KNOWN, key=len, reverse=True)
_TITLED = "|".join(re.escape(header.capitalize()) for header in _HEADER_WORDS)
_TITLED_LINE = re.compile(rf"^[ \t]*({_TITLED}):[ \t]*", re.MULTILINE)
_INLINE = re.compile(rf"(?<![\w/&-])({'|'.join(map(re.escape, _HEADER_WORDS))}):\s*")
_BLANK_LINE = re.compile(r"\n[ \t]*\n")
_TITLE_LINE = re.compile(r"[A-Z][A-Z ]*REPORT")


class Section(NamedTuple):
    """One part of a report: which it is, and its text as written."""

    name: str
    """One of `NAMES`, `preamble` for what stands before any header, or `other`."""
    text: str


class Picked(NamedTuple):
    """The text that was asked for, on as many lines as it has."""

    text: str
    source: str
    """The section it is from, such as `impression` or `findings+impression`; empty for none."""


def split(report: str) -> list[Section]:
    """Return the sections of `report` in their order, those without text included."""
    headers = _headers(report)
    starts = [found.start() for found in headers] + [len(report)]
    sections = [Section(PREAMBLE, report[: starts[0]].strip())]
    for found, end in zip(headers, starts[1:], strict=True):
        sections.append(Section(_name(found[1]), report[found.end() : end].strip()))
    return sections if sections[0].text else sections[1:]


def by_name(report: str) -> dict[str, str]:
    """Return the text of each section that has some; of two that are called alike, the last.

    A report with neither findings nor impression has a `last_paragraph` instead: what stands after
    the last blank line. Many a report says what was seen there, under no header of its own.
    """
    found = [section for section in split(report) if section.text]
    named = {section.name: section.text for section in found}
    for name in ("findings", "impression"):
        if BOTH in named:
            named.setdefault(name, named[BOTH])
    if not named.keys() & {"findings", "impression"}:
        last = _last_paragraph(found)
        named |= {LAST_PARAGRAPH: last} if last else {}
    return named


def pick(report: str, field: TextField) -> Picked:
    """Return the part of `report` that `field` names, or what stands in for it (`FALL_BACK`)."""
    if field == "raw":
        return Picked(report, "raw")
    named = by_name(report)
    if field == "findings_impression":
        there = [name for name in ("findings", "impression") if name in named]
        texts = list(dict.fromkeys(named[name] for name in there))  # once, where one is both
        if there:
            return Picked("\n".join(texts), "+".join(there))
    for name in FALL_BACK[field]:
        if name in named:
            return Picked(named[name], name)
    return Picked("", "")


def count_sources(picked: Iterable[Picked]) -> dict[str, int]:
    """Return how many texts came from which section, the most frequent first."""
    counts = Counter(one.source or "nothing" for one in picked)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _headers(report: str) -> list[re.Match[str]]:
    text = report.strip()
    if "\n" not in text:
        return list(_INLINE.finditer(report))
    lines = [found for found in _HEADER_LINE.finditer(report) if len(found[1].strip()) > 1]
    lines += _TITLED_LINE.finditer(report)
    return sorted(lines, key=lambda found: found.start()) or list(_INLINE.finditer(report))


def _name(header: str) -> str:
    words = " ".join(header.upper().split())
    known = _KNOWN.get(words) or _KNOWN.get(re.sub(r"\s*\(.*?\)", "", words).strip())
    if known:
        return known
    if words.startswith("WET READ"):
        return "preliminary"
    for name in ("FINDINGS", "IMPRESSION"):
        if words.startswith(f"{name} ") or words.endswith(f" {name}"):
            return name.lower()
    return "findings" if _PICTURES.search(words) else OTHER


def _last_paragraph(sections: Sequence[Section]) -> str:
    told = [one for one in sections if one.name not in ("recommendation", "notification")]
    if not told:
        return ""
    paragraphs = _BLANK_LINE.split(told[-1].text)
    # the only paragraph under `INDICATION:` is the indication
    if len(paragraphs) == 1 and told[-1].name in ("examination", "indication", "comparison"):
        return ""
    last = paragraphs[-1].strip()
    return "" if _TITLE_LINE.fullmatch(last) else last
