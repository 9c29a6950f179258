"""Are reports cleaned, numbered and cut as R2Gen's released code does it?"""

from __future__ import annotations

import pytest

from trainers.data import wording
from trainers.data.wording import Vocabulary, clean

# worked by hand from the released code's replacements, one after the other
CRAFTED = (
    "1. Left-sided pacemaker\nseen in ___  place..  2. Mild (stable) edema; 12:30 h. "
    'No "acute" dis/ease, at 3.5 cm. .'
)
MIMIC = (
    "left-sided pacemaker seen in place . mild stable edema 1230 h . no acute disease at 35 cm .  ."
)
IU = (
    "left-sided pacemaker\nseen in   place .  . mild stable edema 1230 h . "
    "no acute disease at 35 cm .  ."
)


def test_mimics_rules_keep_the_hyphen_and_lose_the_numbers_of_a_list():
    assert clean(CRAFTED, "mimic").split() == MIMIC.split()


def test_ius_rules_leave_line_ends_underscores_and_blanks_to_the_split_into_words():
    assert clean(CRAFTED, "iu").split() == IU.split()
    assert "___" not in clean(CRAFTED, "iu")  # deleted as a sign, not collapsed
    assert "\n" in clean(CRAFTED, "iu")
    assert "\n" not in clean(CRAFTED, "mimic")


@pytest.mark.parametrize("sign", list(".,?;*!%^&_+()[]{}:<=>@\"'/\\"))
def test_these_signs_are_deleted(sign):
    assert clean(f"a{sign}b", "mimic") == "ab ."


@pytest.mark.parametrize("sign", list("-#$~|`"))
def test_these_signs_stay(sign):
    assert clean(f"a{sign}b", "mimic") == f"a{sign}b ."


def test_one_goes_wherever_it_stands_and_six_stays():
    assert clean("level 11. 7. clear 6. end", "mimic") == "level 17 . clear 6 . end ."


def test_an_empty_sentence_stays_as_a_full_stop():
    assert clean("a. . b.", "mimic").split() == ["a", ".", ".", "b", "."]


def test_words_are_counted_in_the_training_reports_and_numbered_by_their_spelling():
    reports = ["b a a.", "a b - c.", "a"]
    known = wording.learn(reports, "iu", threshold=2, length=60)
    assert known.words == (".", "<unk>", "a", "b")
    assert known.size == 5
    assert known.ids("c b. A").tolist() == [0, 2, 4, 1, 3, 1, 0]
    assert known.text([2, 4, 1, 0, 3]) == "<unk> b ."


def test_a_long_report_is_cut_with_its_end_and_the_reference_with_it():
    known = Vocabulary("mimic", 5, (".", "<unk>", "a", "b"))
    assert known.ids("a b a b a b").tolist() == [0, 3, 4, 3, 4]
    assert known.cut("a b a b a b") == "a b a b"
    assert known.cut("a z") == "a <unk> ."


def test_a_vocabulary_comes_back_from_its_text():
    known = wording.learn(["größe a. a"], "mimic", threshold=1, length=100)
    assert wording.from_json(known.to_json()) == known


def test_the_published_thresholds_and_lengths():
    assert wording.THRESHOLD == {"iu": 3, "mimic": 10}
    assert wording.LENGTH == {"iu": 60, "mimic": 100}


def test_the_most_typical_report_is_the_commonest_where_one_is_by_far():
    normal = "the lungs are clear . no effusion ."
    others = ["large effusion .", "a mass is seen .", "pneumothorax is present ."]
    assert wording.typical([*others, normal, normal, normal]) == normal


def test_the_most_typical_of_different_reports_shares_most_with_the_others():
    reports = ["lungs clear . heart normal .", "lungs clear . heart large .",
               "lungs clear . bones intact .", "a mass ."]  # fmt: skip
    assert wording.typical(reports).startswith("lungs clear . heart")
