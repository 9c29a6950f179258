from __future__ import annotations

from pathlib import Path

import pytest

from store import matching, runs
from store.db import open_store


@pytest.fixture
def filled(tmp_path: Path):
    db = open_store(tmp_path / "registry.db")
    for n, (id, method, task, ratio) in enumerate(
        [
            ("abc234", "mrm", "pretrain", None),
            ("abd234", "mrm", "siim", 10),
            ("xyz234", "deep_mrm", "siim", 100),
        ]
    ):
        new = runs.NewRun(id, method, task, ratio, n, "quick", f"{n}f" * 32, "/r", None, [], 0)
        runs.add(db, [new], at=100.0 + n)
    runs.change_state(db, "abd234", "running", at=200.0)
    yield db
    db.conn.close()


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("", ["xyz234", "abd234", "abc234"]),
        ("ab", ["abd234", "abc234"]),
        ("234", []),
        ("MRM siim", ["xyz234", "abd234"]),
        ("state:run", ["abd234"]),
        ("state:", ["xyz234", "abd234", "abc234"]),
        ("ratio:10", ["abd234"]),
        ("ratio:100%", ["xyz234"]),
        ("seed:2", ["xyz234"]),
        ("recipe:1f", ["abd234"]),
        ("unknown:1", []),
        ("%", []),
        ("'; drop table runs; --", []),
    ],
)
def test_words_find_the_runs_that_fit_all_of_them(filled, typed: str, found: list[str]) -> None:
    terms = matching.words(typed)
    assert matching.ids(filled, terms) == found
    assert matching.count(filled, terms) == len(found)


def test_a_window_is_cut_out_of_what_fits(filled) -> None:
    assert matching.ids(filled, matching.words("234 "), limit=1) == []
    assert matching.ids(filled, [], limit=1, offset=1) == ["abd234"]


def test_without_words_the_window_comes_from_the_index_over_time(filled) -> None:
    plan = filled.conn.execute(
        "explain query plan select id from runs order by created desc, seq desc limit 10"
    ).fetchall()
    assert "runs_created" in str(plan)
    assert "TEMP B-TREE" not in str(plan)


def test_runs_can_be_sorted_by_state_method_and_duration_a_window_at_a_time(filled) -> None:
    assert matching.ids(filled, [], order="state")[0] == "abd234"  # it runs
    assert matching.ids(filled, [], order="method") == ["xyz234", "abc234", "abd234"]
    for id, took in (("xyz234", 5.0), ("abc234", 9.0)):
        runs.change_state(filled, id, "running", at=300.0)
        runs.change_state(filled, id, "succeeded", at=300.0 + took)
    assert matching.ids(filled, [], order="longest") == ["abc234", "xyz234", "abd234"]
    assert matching.ids(filled, [], order="longest", limit=1, offset=1) == ["xyz234"]
    assert matching.ids(filled, [("", "mrm")], order="state")[0] == "abd234"
