from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrlab import filters, indexing
from cxrlab.errors import CxrlabError, NotFound
from store import settings
from store.matching import Term


def test_words_and_terms_are_told_apart() -> None:
    found = filters.read("state:running method:mrm blr>1e-4 AUROC>=70% -draft two", ["blr"])
    assert found.terms == (
        Term("text", "state", ":", ("running",)),
        Term("text", "method", ":", ("mrm",)),
        Term("setting", "blr", ">", (1e-4,)),
        Term("metric", "test/AUROC", ">=", (0.7,)),
        Term("word", "", ":", ("draft",), True),
        Term("word", "", ":", ("two",)),
    )


def test_several_values_times_and_quotes() -> None:
    found = filters.read('state=failed,lost took>1h30m reason:"out of, memory"')
    assert [term.values for term in found.terms] == [
        ("failed", "lost"),
        (5400.0,),
        ("out of, memory",),
    ]


@pytest.mark.parametrize("typed", ["state:", "blr>", "-", "seed=", 'reason:"', "", "   "])
def test_what_is_being_typed_asks_for_nothing_yet(typed: str) -> None:
    terms = filters.read(typed, ["blr"]).terms
    assert all(term.kind == "word" for term in terms)


@pytest.mark.parametrize(
    ("typed", "what", "hint"),
    [
        ("blrr>1", "`blrr`", "did you mean `blr`"),
        ("state:runing", "no state", "running"),
        ("seed>x", "`x` is no number", "seed=1"),
        ("took>soon", "no span of time", "took>2h"),
        ("method>3", "`method` is no number", "method:3"),
        ("AUROC>much", "`much` is no number", "AUROC>0.7"),
        ("blr>1e-", "`1e-` is no number", "blr>1e-4"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(typed: str, what: str, hint: str) -> None:
    with pytest.raises(CxrlabError) as error:
        filters.read(typed, ["blr"])
    assert what in error.value.message
    assert hint in error.value.hint


@given(st.text())
def test_whatever_is_typed_is_a_filter_or_is_refused_in_words(typed: str) -> None:
    with contextlib.suppress(CxrlabError):
        filters.read(typed, ["blr"])


def test_settings_are_read_from_one_run_of_a_recipe_and_once(
    db: Any, new_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [new_run(method="mrm", seed=seed) for seed in range(3)]
    for run in runs:
        Path(run.folder).mkdir(parents=True, exist_ok=True)
        config = {"blr": 1e-4, "betas": [0.9, 0.95], "output_dir": run.folder, "seed": run.seed}
        (Path(run.folder) / "config.json").write_text(json.dumps(config))
    assert len(settings.unread(db)) == len({run.recipe for run in runs})
    assert indexing.bring_up(db) == 0
    assert settings.names(db) == {"betas": 1, "blr": 1}  # neither places nor seeds
    assert settings.of_recipes(db, [runs[0].recipe], ["betas"]) == {
        runs[0].recipe: {"betas": "[0.9, 0.95]"}
    }
    assert settings.unread(db) == []


def test_a_name_that_may_be_a_setting_not_read_yet_is_no_mistake(
    db: Any, new_run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_run(method="mrm")
    monkeypatch.setattr(indexing, "bring_up", lambda db, limit_s: 7)
    assert indexing.understood(db, "blr>1e-4", limit_s=0) == (None, 7)
    monkeypatch.setattr(indexing, "bring_up", lambda db, limit_s: 0)
    with pytest.raises(NotFound):
        indexing.understood(db, "blr>1e-4", limit_s=0)
