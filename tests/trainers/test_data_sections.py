"""Sections: what a report says, wherever and however often it says it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from trainers.data import generate, sections

OPENI = Path("../shared/data/openi/reports.csv")

REPORT = """\
                                 FINAL REPORT
 EXAMINATION:  CHEST (PA AND LAT)

 INDICATION:  ___ year old man with cough at 5:44.

 TECHNIQUE:  Chest PA and lateral

 COMPARISON:  ___

 FINDINGS:

 No focal consolidation.  Heart size is
 normal.

 IMPRESSION:

 No acute process.
"""


def words(text: str) -> str:
    return " ".join(text.split())


def test_headers_at_the_start_of_a_line_divide_a_report() -> None:
    found = {name: words(text) for name, text in sections.by_name(REPORT).items()}
    assert found == {
        "preamble": "FINAL REPORT",
        "examination": "CHEST (PA AND LAT)",
        "indication": "___ year old man with cough at 5:44.",
        "technique": "Chest PA and lateral",
        "comparison": "___",
        "findings": "No focal consolidation. Heart size is normal.",
        "impression": "No acute process.",
    }


def test_a_report_on_one_line_is_divided_alike() -> None:
    flat = {k: words(v) for k, v in sections.by_name(words(REPORT)).items()}
    assert flat == {k: words(v) for k, v in sections.by_name(REPORT).items()}


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("REASON FOR EXAM", "indication"),
        ("HISTORY", "indication"),
        ("COMPARISONS", "comparison"),
        ("CONCLUSION", "impression"),
        ("IMPRESSION (PRELIMINARY)", "impression"),
        ("FINDINGS ON CHEST", "findings"),
        ("PA AND LATERAL VIEWS OF THE CHEST", "findings"),
        ("AP CHEST, 5:44 A.M., ___", "findings"),
        ("WET READ", "preliminary"),
        ("Impression", "impression"),
        ("DOSE", "other"),
    ],
)
def test_headers_that_mean_one_thing_have_one_name(header: str, name: str) -> None:
    (first, second) = sections.split(f"TECHNIQUE: portable\n {header}: What is said.\n")
    assert first == ("technique", "portable")
    assert second == (name, "What is said.")


@pytest.mark.parametrize(
    "text",
    ["The heart is large:\n it was so before.", "5:44 was the time\nof the film", "L: left\nclear"],
)
def test_what_only_looks_like_a_header_divides_nothing(text: str) -> None:
    assert [section.name for section in sections.split(text)] == ["preamble"]


def test_of_two_sections_of_one_name_the_last_with_text_counts() -> None:
    report = "IMPRESSION: Pneumonia.\n\nADDENDUM: Seen again.\n\nIMPRESSION: Edema.\nIMPRESSION:\n"
    assert sections.by_name(report)["impression"] == "Edema."


def test_a_common_header_gives_both_and_is_taken_once() -> None:
    report = "INDICATION: Cough.\nFINDINGS AND IMPRESSION: Clear lungs.\n"
    assert sections.pick(report, "findings") == ("Clear lungs.", "findings")
    assert sections.pick(report, "impression") == ("Clear lungs.", "impression")
    both = sections.pick(report, "findings_impression")
    assert both == ("Clear lungs.", "findings+impression")


NARRATIVE = "FINAL REPORT\n HISTORY: Cough.\n\n COMPARISON: None.\n \n The lungs\n are clear.\n"
ONLY_FINDINGS = "INDICATION: Cough.\nFINDINGS: Clear.\n"
ONLY_IMPRESSION = "FINAL REPORT INDICATION: Cough. IMPRESSION: Clear."


@pytest.mark.parametrize(
    ("report", "field", "text", "source"),
    [
        (REPORT, "findings_impression", "normal.\nNo acute process.", "findings+impression"),
        (ONLY_FINDINGS, "impression", "Clear.", "findings"),
        (ONLY_FINDINGS, "findings_impression", "Clear.", "findings"),
        (ONLY_IMPRESSION, "findings", "Clear.", "impression"),
        (NARRATIVE, "impression", "The lungs\n are clear.", "last_paragraph"),
        (NARRATIVE, "findings", "The lungs\n are clear.", "last_paragraph"),
        ("Clear lungs.", "findings_impression", "Clear lungs.", "last_paragraph"),
        ("COMPARISON: None.\n INDICATION: Cough.", "impression", "None.", "comparison"),
        ("FINAL REPORT\n INDICATION: Cough.\n", "impression", "", ""),
        ("FINAL REPORT\n \n", "findings", "", ""),
        ("  \n", "findings", "", ""),
        (ONLY_FINDINGS, "raw", ONLY_FINDINGS, "raw"),
    ],
)
def test_what_is_not_there_is_replaced_in_the_stated_order(
    report: str, field: sections.TextField, text: str, source: str
) -> None:
    picked = sections.pick(report, field)
    assert picked.text.endswith(text) if text else picked.text == ""
    assert picked.source == source


def test_generated_reports_are_divided_alike_with_their_lines_and_without(tmp_path: Path) -> None:
    others = [word for name in ("nih", "siim", "rsna", "shenzhen") for word in (f"--{name}", "0")]
    given = ["--out", str(tmp_path / "new"), "--count", "12", "--image_px", "64"]
    assert generate.main([*given, *others, "--workers", "1"]) == 0
    reports = [path.read_text() for path in tmp_path.rglob("s*.txt")]
    assert len(reports) >= 10
    for report in reports:
        found = {name: words(text) for name, text in sections.by_name(report).items()}
        assert {"indication", "findings", "impression"} <= found.keys()
        assert found == {k: words(v) for k, v in sections.by_name(words(report)).items()}


@pytest.mark.data
@pytest.mark.skipif(not OPENI.is_file(), reason="real reports are not beside this checkout")
def test_real_reports_put_together_are_taken_apart_again() -> None:
    names = ("comparison", "indication", "findings", "impression")
    with OPENI.open(encoding="utf-8-sig", newline="") as file:
        rows = [{name: row[name].strip() for name in names} for row in csv.DictReader(file)]
    differ = 0
    for row in rows:
        report = "\n \n ".join(f"{name.upper()}: {text}" for name, text in row.items())
        found = sections.by_name(f"FINAL REPORT\n {report}")
        expected = {name: text for name, text in row.items() if text}
        differ += {name: found[name] for name in names if name in found} != expected
    assert len(rows) > 3000
    assert differ == 0
