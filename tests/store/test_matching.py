from __future__ import annotations

from pathlib import Path

import pytest

from cxrlab import filters
from cxrlab.errors import Usage
from store import matching, runs, settings, tags
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
        ("state=running", ["abd234"]),
        ("state:running,queued -mrm", []),
        ("-state:running -task=siim", ["abc234"]),
        ("state!=running task:siim", ["xyz234"]),
        ("method=mrm", ["abd234", "abc234"]),
        ("seed>=1 seed<2", ["abd234"]),
        ("ratio>50", ["xyz234"]),
        ("ratio!=100", ["abd234", "abc234"]),
        ("age<1h", ["xyz234", "abd234", "abc234"]),
        ("age>1h", []),
        ("%", []),
        ("'; drop table runs; --", []),
    ],
)
def test_words_find_the_runs_that_fit_all_of_them(filled, typed: str, found: list[str]) -> None:
    terms = filters.read(typed).terms
    assert matching.ids(filled, terms, now=200.0) == found
    assert matching.count(filled, terms, now=200.0) == len(found)


def test_a_window_is_cut_out_of_what_fits(filled) -> None:
    assert matching.ids(filled, filters.read("234 ").terms, limit=1) == []
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
    assert matching.ids(filled, filters.read("mrm").terms, order="state")[0] == "abd234"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("blr>1e-4", ["xyz234"]),
        ("blr<=1e-4", ["abd234", "abc234"]),
        ("blr=0.0001", ["abd234", "abc234"]),
        ("blr:0.0001 target:hog", ["abc234"]),
        ("target!=hog", ["xyz234", "abd234"]),
        ("target:pix", ["abd234"]),
        ("target>big", None),
        ("norm_pix_loss=true", ["abc234"]),
        ("AUROC>0.7", ["abd234"]),
        ("auroc>70%", ["abd234"]),
        ("val/loss<1", ["abc234"]),
        ("tag:base", ["xyz234"]),
        ("-tag=baseline", ["abd234", "abc234"]),
        ("base", ["xyz234"]),
    ],
)
def test_settings_results_and_tags_find_runs(filled, typed: str, found: list[str] | None) -> None:
    recipes = [f"{n}f" * 32 for n in range(3)]
    given = [
        {"blr": 1e-4, "target": "hog", "norm_pix_loss": True},
        {"blr": 1e-4, "target": "pixel"},
        {"blr": 3e-4, "target": None},
    ]
    settings.keep(filled, zip(recipes, given, strict=True))
    filled.conn.execute("insert into results values (2, 'test/AUROC', 0.81, null, null)")
    filled.conn.execute("insert into results values (1, 'val/loss', 0.4, null, null)")
    tags.change(filled, ["xyz234"], add=["Baseline"])
    if found is None:
        with pytest.raises(Usage):
            filters.read(typed, settings.names(filled))
        return
    terms = filters.read(typed, settings.names(filled)).terms
    assert matching.ids(filled, terms) == found


def test_groups_are_counted_in_the_order_of_names_or_states(filled) -> None:
    assert matching.groups(filled, [], "method") == [("deep_mrm", 1), ("mrm", 2)]
    assert matching.groups(filled, [], "state") == [("running", 1), ("queued", 2)]
    siim = filters.read("task:siim").terms
    assert matching.groups(filled, siim, "method") == [("deep_mrm", 1), ("mrm", 1)]
