"""Sentences of a report: none is torn, and there always is one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainers.data import sentences

REPORT = (
    "FINAL REPORT EXAMINATION: CHEST (PORTABLE AP) INDICATION: Cough. Fever. "
    "FINDINGS: There is a 2.5 cm mass. No pleural effusion. IMPRESSION: Mass, see above."
)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("A 2.5 cm mass. No effusion.", ["A 2.5 cm mass.", "No effusion."]),
        ("Nodule of 2. 5 cm. No effusion.", ["Nodule of 2. 5 cm.", "No effusion."]),
        ("Unchanged since 2012. 2 nodules.", ["Unchanged since 2012.", "2 nodules."]),
        ("Seen by Dr. ___. Is it new?", ["Seen by Dr. ___.", "Is it new?"]),
        ("Edema vs. pneumonia, e.g. viral.", ["Edema vs. pneumonia, e.g. viral."]),
        ("Told to J. Smith at 5:30 p.m. on ___.", ["Told to J. Smith at 5:30 p.m. on ___."]),
        ("Called at 5 p.m. Clear lungs.", ["Called at 5 p.m.", "Clear lungs."]),
        ("1. Small effusion. 2. No edema.", ["Small effusion.", "No edema."]),
        ("heart is normal . no effusion .", ["heart is normal .", "no effusion ."]),
        ("no stop anywhere", ["no stop anywhere"]),
        ("Clear. ... 3. ___.", ["Clear."]),
        ("", []),
    ],
)
def test_a_text_is_divided_where_a_reader_would(text: str, found: list[str]) -> None:
    assert sentences.split(text) == found


def test_sentences_are_those_of_findings_and_impression() -> None:
    assert sentences.of_report(REPORT) == [
        "There is a 2.5 cm mass.",
        "No pleural effusion.",
        "Mass, see above.",
    ]


def test_without_these_sections_the_whole_report_is_divided() -> None:
    assert sentences.of_report("Clear lungs. Heart normal.") == ["Clear lungs.", "Heart normal."]


@pytest.mark.parametrize("report", ["1.", "___ ...", "5 / 7"])
def test_what_cannot_be_divided_is_read_whole(report: str) -> None:
    assert sentences.of_report(report) == [report]


@given(st.text(min_size=1).map(lambda text: " ".join(text.split())).filter(bool))
def test_there_always_is_a_sentence_and_it_is_part_of_the_report(report: str) -> None:
    found = sentences.of_report(report)
    assert found
    assert all(sentence and sentence in report for sentence in found)


def test_each_sentence_is_drawn_as_often_and_follows_from_its_generator() -> None:
    rng = np.random.default_rng(0)
    drawn = [sentences.draw(REPORT, rng) for _ in range(3000)]
    counts = [drawn.count(sentence) for sentence in sentences.of_report(REPORT)]
    assert sum(counts) == 3000
    assert all(900 < count < 1100 for count in counts)
    again = np.random.default_rng(0)
    assert [sentences.draw(REPORT, again) for _ in range(50)] == drawn[:50]
