"""What would a radiologist write? Puts drawn findings into a report, in varied words.

Side, place and size come from the findings themselves; what is not there is denied now and then,
and nothing is denied that is there. The form is that of MIMIC-CXR: FINAL REPORT, a header,
FINDINGS, IMPRESSION, `___` where a name or date was.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from trainers.data.findings import OPACITIES, Finding
from trainers.data.phantom import Anatomy, Rng

INDICATIONS = (
    "cough", "shortness of breath", "chest pain", "fever and cough", "palpitations",
    "dyspnea", "weakness", "fatigue", "weight loss", "altered mental status", "wheezing",
)  # fmt: skip
PLACES = {
    ("right", "upper"): ("right upper lobe", "right upper lung"),
    ("right", "mid"): ("right middle lobe", "right mid lung"),
    ("right", "lower"): ("right lower lobe", "right lung base"),
    ("left", "upper"): ("left upper lobe", "left upper lung"),
    ("left", "mid"): ("lingula of the left lung", "left mid lung"),
    ("left", "lower"): ("left lower lobe", "left lung base"),
    ("bilateral", "upper"): ("upper lobes bilaterally", "upper zones of both lungs"),
    ("bilateral", "mid"): ("mid lungs bilaterally", "mid zones of both lungs"),
    ("bilateral", "lower"): ("lower lobes bilaterally", "bases of both lungs"),
}
DEGREE = {"small": "mild", "moderate": "moderate", "large": "severe"}
# {place}, {side}, {size}, {degree}, {cm}, {mm}, {detail} stand for what was drawn
SENTENCES = {
    "Atelectasis": (
        "There is {size} plate-like atelectasis at the {base}.",
        "Linear opacities at the {base} are consistent with {size} areas of atelectasis.",
        "{size} {sided} basilar atelectasis with elevation of the hemidiaphragm.",
        "Streaky {sided} basilar opacities, likely {size} atelectasis.",
    ),
    "Cardiomegaly": (
        "There is {degree} cardiomegaly.",
        "The cardiac silhouette is {degreely} enlarged.",
        "{degree} enlargement of the cardiac silhouette.",
        "The heart is {degreely} enlarged.",
    ),
    "Effusion": (
        "There is a {size} {sided} pleural effusion.",
        "{size} {sided} pleural effusion is present.",
        "Blunting of the {sided} costophrenic angle indicates a {size} pleural effusion.",
        "A {size} {sided} pleural effusion is noted.",
    ),
    "Effusion, bilateral": (
        "There are {size} bilateral pleural effusions.",
        "{size} bilateral pleural effusions are present.",
        "Blunting of both costophrenic angles indicates {size} bilateral pleural effusions.",
    ),
    "Infiltration": (
        "Ill-defined hazy infiltrate in the {place}.",
        "There is a {size} area of infiltration in the {place}.",
        "Patchy interstitial infiltrate is seen in the {place}.",
    ),
    "Mass": (
        "There is a {cm} cm {detail} mass in the {place}.",
        "A {detail} mass measuring {cm} cm projects over the {place}.",
        "{cm} cm {detail} mass is seen in the {place}.",
    ),
    "Nodule": (
        "There is a {mm} mm nodule in the {place}.",
        "A {mm} mm nodular opacity projects over the {place}.",
        "{mm} mm pulmonary nodule in the {place}.",
    ),
    "Pneumonia": (
        "Patchy opacities in the {place} are concerning for pneumonia.",
        "{size} airspace opacity in the {place}, compatible with pneumonia.",
        "Confluent patchy opacities in the {place}, in keeping with pneumonia.",
    ),
    "Pneumothorax": (
        "There is a {size} {sided} pneumothorax.",
        "{size} {sided} {zone} pneumothorax is present.",
        "A visceral pleural line is seen on the {sided}, consistent with a {size} pneumothorax.",
        "A {size} {sided} pneumothorax is identified.",
    ),
    "Consolidation": (
        "There is {extensive} consolidation in the {place}.",
        "Dense consolidation with air bronchograms in the {place}, {size} in extent.",
        "{extensive} airspace consolidation is seen in the {place}.",
    ),
    "Edema": (
        "There is {degree} pulmonary edema.",
        "Bilateral perihilar haziness and indistinct vessels indicate {degree} pulmonary edema.",
        "{degree} interstitial pulmonary edema with vascular congestion.",
    ),
    "Emphysema": (
        "Hyperinflated lungs with flattened diaphragms, consistent with {degree} emphysema.",
        "Hyperlucent upper zones and flattening of the diaphragms reflect {degree} emphysema.",
        "{degree} emphysema with bullae in the upper lobes.",
    ),
    "Fibrosis": (
        "Coarse reticular opacities, {zoned}, consistent with {degree} fibrosis.",
        "There is {degree} fibrosis, {zoned}.",
        "{degree} fibrotic changes are seen, {zoned}.",
    ),
    "Pleural_Thickening": (
        "There is {size} {sided} {zone} pleural thickening.",
        "{size} {zone} pleural thickening on the {sided}.",
        "{sided} {zone} pleural thickening is noted, {size} in extent.",
    ),
    "Pleural_Thickening, bilateral": (
        "There is {size} bilateral {zone} pleural thickening.",
        "{size} bilateral {zone} pleural thickening is noted.",
    ),
    "Hernia": (
        "There is a {size} hiatal hernia.",
        "A {size} retrocardiac structure with an air-fluid level represents a hiatal hernia.",
        "{size} hiatal hernia is noted.",
    ),
}
SHORT = {
    "Atelectasis": "{sided} basilar atelectasis",
    "Cardiomegaly": "{degree} cardiomegaly",
    "Effusion": "{size} {sided} pleural effusion{s}",
    "Infiltration": "infiltrate in the {place}",
    "Mass": "{cm} cm mass in the {place}, further evaluation with CT is recommended",
    "Nodule": "{mm} mm nodule in the {place}, CT is suggested",
    "Pneumonia": "pneumonia in the {place}",
    "Pneumothorax": "{size} {sided} pneumothorax",
    "Consolidation": "consolidation in the {place}",
    "Edema": "{degree} pulmonary edema",
    "Emphysema": "{degree} emphysema",
    "Fibrosis": "{degree} pulmonary fibrosis",
    "Pleural_Thickening": "{sided} pleural thickening",
    "Hernia": "{size} hiatal hernia",
}
DENIED = {
    "Pneumothorax": "pneumothorax",
    "Effusion": "pleural effusion",
    "Consolidation": "focal consolidation",
    "Edema": "pulmonary edema",
}
DENIALS = ("No {x}.", "There is no {x}.", "No evidence of {x}.", "{X} is not seen.")
HEART = (
    "The cardiomediastinal silhouette is within normal limits.",
    "Heart size is normal.",
    "Cardiac and mediastinal contours are normal.",
    "The cardiac silhouette is normal in size.",
)
LUNGS = ("The lungs are clear.", "Lungs are clear and well expanded.", "Both lungs are clear.")
BONES = (
    "No acute osseous abnormality.", "The osseous structures are unremarkable.",
    "Bony structures are intact.", "Visualized upper abdomen is unremarkable.",
)  # fmt: skip
NORMAL = (
    "No acute cardiopulmonary process.", "No acute cardiopulmonary abnormality.",
    "Normal chest radiograph.", "No evidence of acute disease.",
)  # fmt: skip
DEVICES = {
    "pacemaker": "Left-sided pacemaker with leads in unchanged position.",
    "central line": "Right internal jugular central venous catheter terminates in the SVC.",
    "endotracheal tube": "The endotracheal tube terminates above the carina.",
    "sternal wires": "Median sternotomy wires are intact.",
    "monitor leads": "Monitoring leads overlie the chest.",
}
TB_WORDS = {"patchy": "PTB", "cavity": "PTB with cavity", "fibrotic": "old PTB, fibrosis",
            "nodular": "secondary PTB"}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """One study's report, and what it denies."""

    text: str
    denied: tuple[str, ...]

    @property
    def flat(self) -> str:
        """Return the text in one line, as MRM's table holds it."""
        return " ".join(self.text.split())


def _pick(rng: Rng, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _words(finding: Finding, rng: Rng) -> dict[str, str]:
    degree = DEGREE[finding.size]
    base = {"right": "right lung base", "left": "left lung base"}.get(finding.side)
    zones = {"basal": "predominantly at both lung bases", "apical": "predominantly in both apices"}
    return {
        "place": _pick(rng, PLACES.get((finding.side, finding.zone), ("lungs",))),
        "sided": finding.side, "size": finding.size, "degree": degree, "degreely": degree + "ly",
        "extensive": {"small": "focal", "moderate": "moderate", "large": "extensive"}[finding.size],
        "detail": finding.detail, "zone": finding.zone, "base": base or "both lung bases",
        "cm": f"{finding.diameter_mm / 10:.1f}", "mm": str(finding.diameter_mm),
        "zoned": zones.get(finding.zone, ""), "s": "s" if finding.side == "bilateral" else "",
    }  # fmt: skip


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def describe(finding: Finding, rng: Rng) -> str:
    """Return one sentence, or two, that say what was drawn."""
    key = f"{finding.name}, bilateral" if finding.side == "bilateral" else finding.name
    template = _pick(rng, SENTENCES.get(key, SENTENCES[finding.name]))
    sentence = _capital(template.format(**_words(finding, rng)))
    if finding.detail == "tension":
        away = "left" if finding.side == "right" else "right"
        sentence += f" The mediastinum is shifted to the {away}."
    return sentence


def _deny(rng: Rng, present: set[str]) -> tuple[list[str], tuple[str, ...]]:
    absent = [n for n in DENIED if n not in present]
    if present & {*OPACITIES, "Tuberculosis", "Atelectasis"} and "Consolidation" in absent:
        absent.remove("Consolidation")
    chosen = [n for n in absent if rng.random() < 0.6]
    rng.shuffle(chosen)
    sentences, rest = [], list(chosen)
    while rest:
        count = int(rng.integers(1, 4))
        things = " or ".join(DENIED[n] for n in rest[:count])
        rest = rest[count:]
        template = _pick(rng, DENIALS if " or " not in things else DENIALS[:3])
        sentences.append(template.format(x=things, X=_capital(things)))
    return sentences, tuple(chosen)


def write(
    findings: Sequence[Finding],
    *,
    worn: Sequence[str],
    anatomy: Anatomy,
    projection: str,
    follow_up: bool,
    rng: Rng,
) -> Report:
    """Return the report of one study."""
    present = {f.name for f in findings}
    sick = [describe(f, rng) for f in findings]
    healthy, denied = _deny(rng, present)
    if "Cardiomegaly" not in present and "Hernia" not in present and rng.random() < 0.75:
        healthy.append(_pick(rng, HEART))
    if not present - {"Cardiomegaly", "Hernia"}:
        healthy.insert(0, _pick(rng, LUNGS))
    if rng.random() < 0.4:
        healthy.append(_pick(rng, BONES))
    tools = [DEVICES[d] for d in worn if rng.random() < 0.85]
    body = sick + healthy
    if rng.random() < 0.4:
        rng.shuffle(body)
    short = [_capital(SHORT[f.name].format(**_words(f, rng))) + "." for f in findings]
    if len(short) > 1 and rng.random() < 0.5:
        short = [f"{i}. {line}" for i, line in enumerate(short, 1)]
    who = "woman" if anatomy.sex == "F" else "man"
    exam = _pick(rng, ("CHEST (PA AND LAT)", "CHEST RADIOGRAPH"))
    exam = "CHEST (PORTABLE AP)" if projection == "AP" else exam
    parts = [
        ("EXAMINATION", exam),
        ("INDICATION", f"___-year-old {who} with {_pick(rng, INDICATIONS)}."),
        ("COMPARISON", "Chest radiograph from ___." if follow_up else "None."),
        ("FINDINGS", " ".join(tools + body if rng.random() < 0.3 else body + tools)),
        ("IMPRESSION", " ".join(short) if short else _pick(rng, NORMAL)),
    ]
    if rng.random() < 0.3:
        parts.pop(0)
    lines = [" " * 33 + "FINAL REPORT"]
    for head, text in parts:
        if head in ("FINDINGS", "IMPRESSION"):
            wrapped = textwrap.wrap(text, 78)
            lines += [f" {head}: ", " ", *(f" {line}" for line in wrapped), " "]
        else:
            lines += [f" {head}:  {text}", " "]
    return Report("\n".join(lines[:-1]) + "\n", denied)


def shenzhen_reading(findings: Sequence[Finding]) -> str:
    """Return the few words that the Shenzhen table has for a picture."""
    words = []
    for f in findings:
        if f.name == "Tuberculosis":
            where = f"{f.side} {'upper' if f.zone == 'upper' else 'middle'} field"
            words.append(f"{TB_WORDS[f.detail]} in the {where}")
        elif f.name == "Effusion":
            words.append(f"{f.side} pleural effusion")
    return _capital(", ".join(words)) if words else "normal"
