"""Which of the fourteen observations does a report state, by rules? The fall-back for CheXbert.

A phrase of `MENTIONS` is a mention. It is denied or uncertain by a cue in its own clause: one that
comes before it (or stands inside it), with a scope to the clause's end, or one that follows it with
no comma between. What is neither is there. Of several mentions there goes before uncertain, before
denied. `No Finding` is there if nothing but devices is there or uncertain; a text without a word
states nothing. A mention of the past (`history of`) is none.

`likely`, `consistent with` and `suggestive of` count as there, `may`, `probable` and `suspicious
for` as uncertain, as in the CheXpert labeller. The phrases and cues are our own; how well they
read is measured in docs/report_metrics.md. Scores end in `_rules` and are no CheXbert scores.

Source of the form: Chapman et al., "A simple algorithm for identifying negated findings and
diseases in discharge summaries" (NegEx), 2001; of the conventions: Irvin et al., "CheXpert", 2019.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from trainers.observations import OBSERVATIONS, Labels

THERE, DENIED, UNCERTAIN = 1.0, 0.0, -1.0

_BIG = r"(?:enlarg\w+|large|larger|prominen\w+|increased|widen\w*|generous|bulky)"
_EDGE = r"(?:borderline|upper(?: limits?)? (?:of )?normal|top(?:[- ]| limits? of )normal)"
_HEART = r"(?:heart|cardiac(?:[- ](?:silhouette|shadow|size|contours?))?|ventric\w+|cardiothymic)"
_MIDDLE = r"(?:cardio[- ]?mediastin\w+|mediastin\w+)"
_GAP = r"(?:\W+(?!normal|aort|thorac|lung|and\b|with\b|no\b)[\w/-]+){0,5}?\W+"
_LOBE = r"(?:lung|lobes?|lobar|lingula|segment\w*|right|left|bibasilar|basilar)"

MENTIONS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        rf"{_MIDDLE}{_GAP}{_BIG}", rf"{_BIG}{_GAP}{_MIDDLE}", rf"{_BIG} {_MIDDLE}",
    ),
    "Cardiomegaly": (
        r"cardiomegaly", rf"{_HEART}{_GAP}(?:{_BIG}|{_EDGE})",
        rf"(?:{_BIG}|{_EDGE})(?:{_GAP}| )(?:{_HEART})",
    ),
    "Lung Opacity": (
        r"opaci(?:ty|ties|fication|fications)", r"infiltrat(?:es?|ions?|ive)",
        r"air[- ]?spaces? (?:disease|process|changes?)", r"haz(?:iness|y)",
        r"(?:interstitial|reticular)(?: lung)? (?:markings?|patterns?|prominence|changes|disease)",
        rf"densit(?:y|ies){_GAP}{_LOBE}", rf"{_LOBE}(?:\W+\w+){{0,2}}?\W+densit(?:y|ies)",
    ),
    "Lung Lesion": (
        r"nodul(?:es?|ar|arity)", r"mass(?:es)?(?! effect)",
        r"(?<!thoracic )(?<!pleural )(?<!chest )cavit(?:y|ies|ary|ation)",
        r"(?:lung|pulmonary|parenchymal) lesions?", r"neoplas\w+", r"tumou?rs?", r"metasta\w+",
    ),
    "Edema": (
        r"(?<!tissue )o?edema", r"(?:congestive )?(?:heart|cardiac) failure", r"chf",
        r"congestion", r"(?:vascular|venous)(?: \w+)? engorgement",
        r"cephalization", r"(?:fluid|volume) overload",
    ),
    "Consolidation": (r"consolidat(?:ions?|ive|ed)",),
    "Pneumonia": (
        r"(?:broncho)?pneumonias?", r"pneumonic",
        r"(?<!granulomatous )infect(?:ions?|ious)(?! prevention)",
    ),
    "Atelectasis": (
        r"atelecta\w+",
        rf"{_LOBE} collapse", rf"collapse of the (?:\w+ ){{0,2}}{_LOBE}", r"plate-?like opacit\w+",
    ),
    "Pneumothorax": (r"(?:hydro)?pneumothora(?:x|ces)", r"ptx"),
    "Pleural Effusion": (
        r"(?<!pericardial )(?<!joint )effusions?", r"pleural fluid", r"hydropneumothora(?:x|ces)",
    ),
    "Pleural Other": (
        r"pleural(?:[- /]?(?:parenchymal|based))?(?: \w+)?"
        r" (?:thickening|plaques?|scar\w*|calcif\w+)",
        r"thickening of the (?:\w+ )?pleura", r"fibrothorax", r"pleuro[- ]?parenchymal scar\w*",
        r"pleural disease", r"apical (?:pleural )?cap(?:s|ping)?",
    ),
    "Fracture": (r"fractur(?:es?|ed)",),
    "Support Devices": (
        r"catheters?", r"picc", r"port-?a-?cath\w*|portacath|mediport|(?:infusion|chest) ports?",
        r"(?:central|venous|picc|subclavian|jugular|ij|arterial|picc|midline)(?: \w+)? lines?",
        r"lines? and tubes?", r"(?:endotracheal|tracheostomy|nasogastric|orogastric|enteric"
        r"|feeding|chest|drainage|thoracostomy|ng|et|og|dobhoff|tracheal|pleural)(?: \w+)? tubes?",
        r"tubes? (?:tip|terminat\w+)", r"tracheostomy", r"pace-?makers?|pacers?|pacing",
        r"(?:cardiac )?(?:icd|aicd|defibrillators?)", r"leads?(?= |$)(?! to)",
        r"(?:sternotomy|sternal|cerclage) (?:\w+ )?wires?", r"wires?", r"stents?",
        r"(?:prosthetic|mechanical|artificial|mitral|aortic)(?: \w+)? valves?(?! calcif)",
        r"valve (?:replacement|prosthesis)", r"hardware", r"devices?",
        r"arthroplast\w+", r"prosthes[ie]s", r"implants?", r"stimulators?", r"drains?",
        r"(?:screws?|plates?|rods?)(?!(?: |- ?)?like)",
    ),
}  # fmt: skip
"""What counts as a mention of each observation; whole words, lower case."""

NORMAL = {
    "Cardiomegaly": rf"(?:{_HEART}|cardio[- ]?mediastin\w+)[^,]{{0,60}}?\b(?:normal|unremarkable)",
    "Enlarged Cardiomediastinum": rf"{_MIDDLE}[^,]{{0,60}}?\b(?:normal|unremarkable)",
    "Lung Opacity": r"lungs? (?:fields? )?(?:(?:are|is|appears?|remain) )?(?:\w+ )?clear",
}
"""What denies an observation without naming it."""

_VERY = (
    r"(?:(?:significant(?:ly)?|interval|appreciabl[ey]|substantial(?:ly)?|much|acute|major"
    r"|definite|other|any|obvious|in the) )*"
)
STEADY = re.compile(
    rf"\b(?:no|not|without|nor) {_VERY}(?:changes?|changed|increased?|decreased?|improvements?"
    r"|improved|worsening|worsened|progression|larger|smaller)\b|\bnot only\b"
    r"|\bno (?:prior|previous|comparison)\b"
)
"""What looks like a denial and is none."""

_FULLY = r"(?:(?:entirely|completely|definitively|definitely|fully|reliably|confidently) )?"
OPEN = re.compile(
    rf"\b(?:cannot|can not|can't|could not|not|difficult to|hard to) (?:be )?{_FULLY}"
    r"(?:exclude|excluded|rule out|ruled out)\b|\b(?:rule out|r/o|evaluate for|assess for"
    r"|evaluation for|exclude)\b"
)
"""What leaves a finding open; read before denials, whose words it has."""

BEFORE = re.compile(
    r"\b(?:no|not|without|never|neither|nor|den(?:y|ies|ied)|negative for|free of|clear of"
    r"|absent|absence of|lack of|resolution of|resolved|removal of|rather than|instead of"
    r"|replaced?|excluded)\b"
)
AFTER = re.compile(
    r"\b(?:(?:not|no longer) (?:\w+ly )?(?:seen|identified|appreciated|demonstrated|visuali[sz]ed"
    r"|present|evident|noted|detected|apparent|observed|found|visible)|(?:has|have|had)"
    r"(?: \w+ly)? (?:resolved|cleared)|(?:is|are|was|were|been) (?:absent|resolved|removed|excluded"
    r"|ruled out)|unlikely|interval removal|resolution)\b"
    r"|^ (?:(?!and\b)\w+ ){0,2}(?:within (?:the )?(?:normal limits|limits of normal)"
    r"|unremarkable)\b"
)
MAYBE_BEFORE = re.compile(
    r"\b(?:open|may|might|could|possib\w+|probabl[ey]|presum\w+|question\w*|consider(?:ed|ation)?"
    r"|correlat\w+|equivocal|perhaps"
    r"|suspicio\w+|suspect\w*|concern\w*|worrisome|suggestion of|favou?r\w*|potential\w*|versus|vs"
    r"|borderline|upper(?: limits?)? (?:of )?normal|top(?:[- ]| limits? of )normal|and/or"
    r"|differential)\b"
)
MAYBE_AFTER = re.compile(
    r"\b(?:open|(?:is|are|remains?) (?:possible|suspected|questioned|questionable|a consideration"
    r"|a possibility)|suspected|in the differential|versus|vs|and/or|not well"
    r" (?:seen|evaluated|visuali[sz]ed))\b"
)
PAST = re.compile(r"\b(?:history of|hx of|history significant for|clinical concern for)\b")

CLAUSE = re.compile(
    r"\b(?:but|however|although|though|whereas|while|except|aside from|apart from|other than"
    r"|nevertheless|yet|there (?:is|are|has|have)|otherwise)\b"
)
"""Where a new clause begins, for cues of either kind."""
AFFIRMED = re.compile(
    r"\bwith\b|\b(?:due|secondary) to\b|\bbecause of\b"
    r"|, (?:and )?(?=(?:stable|unchanged|persistent|the|heart|cardiac)\b)"
    r"|, (?:and )?(?=(?:mild|minimal|moderate|small|severe)\b(?!.*\bn?or\b))"
)
"""Where a denial ends, too."""
SENTENCE = re.compile(r"(?<!\d)\.|\.(?!\d)|[;!?]")

_COMPILED = {
    name: re.compile(r"\b(?:" + "|".join(phrases) + r")\b") for name, phrases in MENTIONS.items()
}
_NORMAL = {name: re.compile(rf"\b{phrase}\b") for name, phrase in NORMAL.items()}


class Mention(NamedTuple):
    """One observation in one clause."""

    observation: str
    label: float
    """`THERE`, `DENIED` or `UNCERTAIN`."""


class Rules:
    """The rule-based labeller."""

    suffix = "_rules"

    def __call__(self, texts: Sequence[str]) -> Labels:
        """Return (N, 14) of 1, 0, -1 or nan."""
        return np.array([label(text) for text in texts]).reshape(len(texts), len(OBSERVATIONS))


def label(text: str) -> Labels:
    """Return (14,) what one report states; nan where it is silent."""
    known = dict.fromkeys(OBSERVATIONS, float("nan"))
    if not re.search(r"\w", text):
        return np.array(list(known.values()))
    rank = {THERE: 3, UNCERTAIN: 2, DENIED: 1}
    for mention in mentions(text):
        if rank[mention.label] > rank.get(known[mention.observation], 0):
            known[mention.observation] = mention.label
    found = [known[name] for name in OBSERVATIONS if name != "Support Devices"]
    if THERE not in found and UNCERTAIN not in found:
        known["No Finding"] = THERE
    return np.array([known[name] for name in OBSERVATIONS])


def mentions(text: str) -> Iterator[Mention]:
    """Yield what is mentioned, sentence by sentence."""
    for sentence in SENTENCE.split(" ".join(text.lower().split())):
        for clause in _parts(sentence, CLAUSE):
            clause = STEADY.sub(" steady ", OPEN.sub(" open ", clause))
            for name, pattern in _COMPILED.items():
                for found in pattern.finditer(clause):
                    if not PAST.search(clause[: found.start()]):
                        yield Mention(name, _judge(clause, found.start(), found.end()))
            for name, pattern in _NORMAL.items():
                if pattern.search(clause):
                    yield Mention(name, DENIED)


def _parts(text: str, border: re.Pattern[str]) -> Iterator[str]:
    """Yield the text cut before each border."""
    cuts = [0, *(found.start() for found in border.finditer(text)), len(text)]
    yield from (text[a:b] for a, b in pairwise(cuts))


def _judge(clause: str, start: int, end: int) -> float:
    """Return what the cues of a clause make of the mention at [start, end)."""
    until = clause[:end]
    borders = [found.end() for found in AFFIRMED.finditer(clause) if found.end() <= start]
    near = until[max(borders, default=0) :]
    after = re.split(r",|\bwith\b", clause[end:])[0]
    if MAYBE_BEFORE.search(until) or MAYBE_AFTER.search(after):
        return DENIED if BEFORE.search(near) and not _opened(until, after) else UNCERTAIN
    return DENIED if BEFORE.search(near) or AFTER.search(after) else THERE


def _opened(before: str, after: str) -> bool:
    return " open " in f"{before} " or " open " in f" {after} "
