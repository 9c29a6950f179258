"""Whether reports say what was drawn, judged by a reader that knows no template."""

from __future__ import annotations

import itertools
import re

import numpy as np
import pytest

from trainers.data import findings, layouts, phantom, reports

WORDS = {
    "Atelectasis": r"atelecta",
    "Cardiomegaly": r"cardiomegaly|enlarge",
    "Effusion": r"effusion",
    "Infiltration": r"infiltrat",
    "Mass": r"\bmass\b",
    "Nodule": r"nodul",
    "Pneumonia": r"pneumonia",
    "Pneumothorax": r"pneumothora",
    "Consolidation": r"consolidation",
    "Edema": r"edema",
    "Emphysema": r"emphysema",
    "Fibrosis": r"fibro",
    "Pleural_Thickening": r"pleural thickening",
    "Hernia": r"hernia",
}
DENIED = re.compile(r"^(no|there is no|no evidence of)\b|is not seen")
SIDED = ("Effusion", "Mass", "Nodule", "Pneumothorax", "Pneumonia", "Consolidation",
         "Infiltration", "Atelectasis", "Pleural_Thickening")  # fmt: skip


def studies(count: int) -> list[tuple[tuple[findings.Finding, ...], reports.Report]]:
    jobs = layouts.plan_mimic(11, count, 64)
    return [(job.findings, job.facts["report"]) for job in jobs]


def sentences(report: reports.Report) -> list[str]:
    body = report.flat.split("FINDINGS:")[1].replace("IMPRESSION:", ".")
    parts = re.split(r"(?<!\d)\.\s|\.$|(?<=\d)\.\s(?=[A-Z])", body.lower())
    return [p.strip() for p in parts if p.strip(" .")]


@pytest.mark.parametrize("name", findings.LABELS)
def test_a_report_affirms_what_is_there_and_nothing_else(name: str) -> None:
    there = 0
    for found, report in studies(600):
        said = [s for s in sentences(report) if re.search(WORDS[name], s)]
        affirmed = [s for s in said if not DENIED.search(s)]
        present = name in {f.name for f in found}
        there += present
        assert bool(affirmed) == present, report.flat
        if present:
            assert len(affirmed) == len(said), report.flat
    assert there > 20


@pytest.mark.parametrize("name", SIDED)
def test_a_report_names_the_side_that_was_drawn(name: str) -> None:
    for found, report in studies(600):
        for f in (f for f in found if f.name == name):
            about = [s for s in sentences(report) if re.search(WORDS[name], s)]
            text = " ".join(s.split(". the mediastinum")[0] for s in about)
            left, right = "left" in text, "right" in text
            if f.side == "bilateral":
                assert re.search(r"bilateral|both", text), report.flat
            else:
                assert (left, right) == (f.side == "left", f.side == "right"), report.flat


@pytest.mark.parametrize(
    ("name", "low", "high"), [("Nodule", 12, 29), ("Mass", 32, 65)]
)  # fmt: skip
def test_a_size_in_the_report_is_the_size_drawn(name: str, low: int, high: int) -> None:
    for found, report in studies(600):
        for f in (f for f in found if f.name == name):
            told = re.search(r"([\d.]+) (mm|cm)[^.]*" + WORDS[name], report.flat)
            other = re.search(WORDS[name] + r"[^.]*?([\d.]+) (mm|cm)", report.flat)
            number, unit = (told or other).groups()
            millimetres = float(number) * (10 if unit == "cm" else 1)
            assert millimetres == pytest.approx(2 * f.extent * 180, abs=0.6)
            assert low <= millimetres <= high


def test_an_effusion_is_called_what_its_height_makes_it() -> None:
    for found, report in studies(600):
        for f in (f for f in found if f.name == "Effusion"):
            word = "small" if f.extent < 0.2 else "moderate" if f.extent < 0.4 else "large"
            assert any(
                word in s and "effusion" in s for s in sentences(report)
            ), report.flat  # fmt: skip


def test_a_healthy_chest_is_called_clear() -> None:
    healthy = [report for found, report in studies(400) if not found]
    assert healthy
    for report in healthy:
        assert re.search(r"lungs are clear", report.flat, re.IGNORECASE)
        assert report.flat.split("IMPRESSION: ")[1] in reports.NORMAL


def test_wording_varies() -> None:
    texts = [report.flat for _, report in studies(400)]
    assert len(set(texts)) > 0.75 * len(texts)
    finding = findings.DRAW["Pneumothorax"](np.random.default_rng(0))
    said = {reports.describe(finding, np.random.default_rng(i)) for i in range(60)}
    assert len(said) >= 4


def test_what_matters_comes_early_enough_for_a_hundred_word_pieces() -> None:
    lengths = [len(re.findall(r"\w+|[^\w\s]+", report.flat)) for _, report in studies(400)]
    assert np.mean([n <= 99 for n in lengths]) > 0.8


def test_labels_of_the_chexpert_table_follow_the_report() -> None:
    for job in layouts.plan_mimic(5, 200, 64):
        row = dict(zip(layouts.CHEXPERT, layouts._chexpert(job), strict=True))
        assert (row["Pneumothorax"] == "1.0") == ("Pneumothorax" in job.names)
        assert (row["No Finding"] == "1.0") == (not job.findings)
        denied = re.search(r"(?i)(no|no evidence of) [^.]*pneumothorax|pneumothorax is not seen",
                           job.facts["report"].flat)  # fmt: skip
        assert (row["Pneumothorax"] == "0.0") == bool(denied)


def test_a_finding_that_does_not_heal_stays_over_a_patients_studies() -> None:
    seen: dict[int, list[tuple[int, set[str]]]] = {}
    for job in layouts.plan_mimic(5, 300, 64):
        studies = seen.setdefault(job.facts["subject"], [])
        chronic = {n for n in job.names if n in findings.CHRONIC}
        studies.append((job.facts["date"], chronic))
    kept = 0
    for visits in seen.values():
        for (_, earlier), (_, later) in itertools.pairwise(visits):
            assert earlier <= later
            kept += len(earlier)
    assert kept > 10


def test_the_anatomy_of_a_patient_is_the_same_in_every_study() -> None:
    bodies: dict[int, set[phantom.Anatomy]] = {}
    for job in layouts.plan_mimic(5, 100, 64):
        bodies.setdefault(job.facts["subject"], set()).add(job.anatomy)
    assert all(len(own) == 1 for own in bodies.values())
    assert len(set.union(*bodies.values())) == len(bodies)
