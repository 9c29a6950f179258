from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from store import notebook, rebuild
from store.notebook import Number, Row

ROW = Row(
    method="refers_mrm",
    number="(4)",
    name="refers(mrm)",
    description="",
    time_s=14100.0,
    time_said="3(h)55(m)",
    log="/workspace/log/temp",
    status="预训练完成 分类训练完成 分割100%待验证",
    source="notebook.md",
    line=150,
    flaws=("all rows name one log",),
)
OWN = Number(
    method="refers_mrm",
    task="siim_legacy",
    ratio=10,
    metric="Dice",
    origin="own",
    value=0.7009,
    said="70.09 (72.1%)",
    source="notebook.md",
    line=158,
    flaws=("`70.09` has no unit; read as percent",),
)
PAPER = OWN._replace(origin="paper", value=0.721, flaws=())
SPREAD = OWN._replace(ratio=100, sd=0.004, n=3, low=0.69, high=0.71)
CITED = PAPER._replace(ratio=100, cited="Zhou et al., ICLR 2023")
TIME = OWN._replace(task="pretrain", ratio=None, metric="time", value=14100.0, flaws=())


def test_what_was_brought_in_is_read_back_as_it_was(db: Any) -> None:
    assert notebook.bring_in(db, "notebook.md", [ROW], [OWN, PAPER, TIME]) == (4, 0)
    assert notebook.rows(db) == [ROW]
    assert notebook.numbers(db) == [OWN, PAPER, TIME]


def test_the_spread_of_a_number_and_where_a_papers_stands_are_kept(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [], [SPREAD, CITED])
    assert notebook.numbers(db) == [SPREAD, CITED]


def test_the_source_given_is_the_one_that_is_kept(db: Any) -> None:
    notebook.bring_in(db, "march.md", [ROW], [OWN])
    assert {each.source for each in (*notebook.rows(db), *notebook.numbers(db))} == {"march.md"}


def test_bringing_the_same_in_again_writes_nothing(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN, PAPER])
    changes = db.conn.total_changes
    assert notebook.bring_in(db, "notebook.md", [ROW], [OWN, PAPER]) == (0, 0)
    assert db.conn.total_changes == changes


def test_a_number_that_is_gone_from_its_source_is_gone_here_too(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN, PAPER])
    assert notebook.bring_in(db, "notebook.md", [ROW], [PAPER]) == (0, 1)
    assert notebook.numbers(db) == [PAPER]


def test_a_number_that_only_moved_to_another_line_is_not_counted_as_changed(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN])
    moved = OWN._replace(line=3)
    assert notebook.bring_in(db, "notebook.md", [ROW], [moved]) == (0, 0)
    assert notebook.numbers(db) == [moved]


def test_a_corrected_number_counts_as_changed(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN])
    right = OWN._replace(value=0.7109, said="71.09%", flaws=())
    assert notebook.bring_in(db, "notebook.md", [ROW], [right]) == (0, 1)
    assert notebook.numbers(db) == [right]


def test_sources_do_not_touch_one_another_and_the_latest_comes_last(db: Any) -> None:
    notebook.bring_in(db, "a.md", [ROW], [OWN])
    notebook.bring_in(db, "b.md", [ROW], [PAPER])
    notebook.bring_in(db, "a.md", [ROW], [OWN._replace(value=0.5)])
    assert [row.source for row in notebook.rows(db)] == ["b.md", "a.md"]
    assert [(n.source, n.value) for n in notebook.numbers(db)] == [("b.md", 0.721), ("a.md", 0.5)]


def test_two_rows_of_one_method_stay_two(db: Any) -> None:
    second = ROW._replace(status="again")
    assert notebook.bring_in(db, "notebook.md", [ROW, second], []) == (2, 0)
    assert notebook.bring_in(db, "notebook.md", [ROW, second], []) == (0, 0)
    assert [row.status for row in notebook.rows(db)] == [ROW.status, "again"]


def test_a_number_of_no_known_origin_is_refused_and_nothing_is_lost(db: Any) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN])
    with pytest.raises(Exception, match="origin"):
        notebook.bring_in(db, "notebook.md", [], [OWN._replace(origin="hearsay")])
    assert notebook.numbers(db) == [OWN]


def test_numbers_and_rows_outlive_a_rebuild(db: Any, tmp_path: Path) -> None:
    notebook.bring_in(db, "notebook.md", [ROW], [OWN, PAPER])
    (tmp_path / "runs").mkdir()
    rebuild.rebuild(db, tmp_path / "runs")
    assert (notebook.rows(db), notebook.numbers(db)) == ([ROW], [OWN, PAPER])
