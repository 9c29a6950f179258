from __future__ import annotations

import pytest

from cxrlab import errors


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.CxrlabError, 1),
        (errors.Usage, 2),
        (errors.NotFound, 3),
        (errors.BadInput, 4),
    ],
)
def test_each_kind_of_error_has_the_exit_code_of_the_contract(kind: type, code: int) -> None:
    error = kind("what is wrong", "what to do")
    assert (error.code, str(error), error.hint) == (code, "what is wrong", "what to do")


def test_an_error_may_be_given_another_exit_code() -> None:
    assert errors.CxrlabError("x", code=130).code == 130


def test_an_unknown_name_is_answered_with_the_nearest_known_one() -> None:
    error = errors.unknown_name("method", "deepmrm", ["random", "mrm", "deep_mrm"])
    assert error.code == 3
    assert error.hint == "did you mean `deep_mrm`?"


def test_a_name_like_no_other_is_answered_with_all_of_them() -> None:
    assert errors.unknown_name("task", "xyzzy", ["siim", "nih"]).hint == "known: siim, nih"
