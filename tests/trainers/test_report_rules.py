"""Do the rules read what a report states, denies and leaves open?"""

from __future__ import annotations

import numpy as np
import pytest

from trainers import report_rules
from trainers.data import layouts, reports
from trainers.observations import OBSERVATIONS

MEANS = {
    "Atelectasis": "Atelectasis",
    "Cardiomegaly": "Cardiomegaly",
    "Consolidation": "Consolidation",
    "Edema": "Edema",
    "Effusion": "Pleural Effusion",
    "Infiltration": "Lung Opacity",
    "Mass": "Lung Lesion",
    "Nodule": "Lung Lesion",
    "Pleural_Thickening": "Pleural Other",
    "Pneumonia": "Pneumonia",
    "Pneumothorax": "Pneumothorax",
}
"""Which observation states a finding of the generator."""

THERE, DENIED, OPEN = report_rules.THERE, report_rules.DENIED, report_rules.UNCERTAIN


def read(text: str) -> dict[str, float]:
    """Return what is stated, `No Finding` aside."""
    labels = dict(zip(OBSERVATIONS, report_rules.label(text).tolist(), strict=True))
    return {k: v for k, v in labels.items() if k != "No Finding" and not np.isnan(v)}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Large left pleural effusion.", {"Pleural Effusion": THERE}),
        (
            "No focal consolidation, pleural effusion, or pneumothorax.",
            {"Consolidation": DENIED, "Pleural Effusion": DENIED, "Pneumothorax": DENIED},
        ),
        # as R2Gen cleans it: no comma is left
        (
            "no pneumothorax pleural effusion or edema . there is a fracture .",
            {"Pneumothorax": DENIED, "Pleural Effusion": DENIED, "Edema": DENIED,
             "Fracture": THERE},
        ),
        ("No pneumothorax but a small effusion.", {"Pneumothorax": DENIED,
                                                   "Pleural Effusion": THERE}),
        ("No pneumothorax with stable cardiomegaly.", {"Pneumothorax": DENIED,
                                                       "Cardiomegaly": THERE}),
        ("No edema, small effusion.", {"Edema": DENIED, "Pleural Effusion": THERE}),
        ("No edema, small effusion or fracture.", {"Edema": DENIED, "Pleural Effusion": DENIED,
                                                   "Fracture": DENIED}),
        ("Pneumothorax is no longer seen.", {"Pneumothorax": DENIED}),
        ("The left effusion has resolved.", {"Pleural Effusion": DENIED}),
        ("No significant change in the right effusion.", {"Pleural Effusion": THERE}),
        ("Pneumonia cannot be excluded.", {"Pneumonia": OPEN}),
        ("Cannot exclude pneumonia.", {"Pneumonia": OPEN}),
        ("Opacity may represent pneumonia.", {"Lung Opacity": THERE, "Pneumonia": OPEN}),
        ("Atelectasis versus infiltrate.", {"Atelectasis": OPEN, "Lung Opacity": OPEN}),
        ("Bibasilar opacities, likely atelectasis.", {"Lung Opacity": THERE,
                                                      "Atelectasis": THERE}),
        ("No opacity to suggest pneumonia.", {"Lung Opacity": DENIED, "Pneumonia": DENIED}),
        ("The heart is mildly enlarged.", {"Cardiomegaly": THERE}),
        ("Heart size is not significantly enlarged.", {"Cardiomegaly": DENIED}),
        ("Heart size is at the upper limits of normal.", {"Cardiomegaly": OPEN}),
        ("Widened mediastinum.", {"Enlarged Cardiomediastinum": THERE}),
        ("History of pneumonia.", {}),
        ("Small pericardial effusion.", {}),
        ("Interval removal of the endotracheal tube.", {"Support Devices": DENIED}),
        ("Right PICC line ends in the SVC.", {"Support Devices": THERE}),
        ("A pleural line is seen.", {}),
        ("No effusion. Small effusion on the left.", {"Pleural Effusion": THERE}),
        ("Possible effusion. No effusion.", {"Pleural Effusion": OPEN}),
        ("A 1.5 cm nodule, no mass.", {"Lung Lesion": THERE}),
        ("No\npneumothorax\n", {"Pneumothorax": DENIED}),
        ("", {}),
    ],
)  # fmt: skip
def test_a_sentence_is_read_as_a_radiologist_would(text: str, expected: dict) -> None:
    found = read(text)
    assert {k: v for k, v in found.items() if k in expected or v != DENIED} == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The lungs are clear. Right pacemaker.", 1.0),
        ("Emphysema.", 1.0),  # not one of the fourteen
        ("Possible nodule.", np.nan),
        ("Mild edema.", np.nan),
        (" . ", np.nan),
    ],
)
def test_no_finding_is_a_report_with_words_in_which_nothing_is_there_or_open(
    text: str, expected: float
) -> None:
    np.testing.assert_equal(report_rules.label(text)[-1], expected)


@pytest.fixture(scope="module")
def studies() -> list:
    return layouts.plan_mimic(5, 500, 64)


@pytest.mark.parametrize("cleaned", [False, True])
def test_generated_reports_are_read_as_they_were_drawn(studies: list, cleaned: bool) -> None:
    hits = claims = facts = 0
    for job in studies:
        body = job.facts["report"].flat.split("FINDINGS:")[1]
        unwrapped = body.replace("- ", "-")
        if cleaned:
            body = body.lower().replace(",", "").replace(". ", " . ")
        found = read(body)
        said = {name for name, value in found.items() if value == THERE}
        true = {MEANS[f.name] for f in job.findings if f.name in MEANS}
        if any(reports.DEVICES[worn] in unwrapped for worn in job.worn):
            true.add("Support Devices")
        # other findings are told as opacities, too
        said -= {"Lung Opacity"} - true
        hits, claims, facts = hits + len(said & true), claims + len(said), facts + len(true)
        for name in job.facts["report"].denied:
            assert found[MEANS[name]] == DENIED, body
    assert facts > 400
    assert hits / claims > 0.98
    assert hits / facts > 0.98
