from __future__ import annotations

import json
from pathlib import Path

import pytest

from cxrlab import pace


def written(folder: Path, *events: tuple[str, float]) -> Path:
    path = folder / "events.jsonl"
    path.write_text("".join(json.dumps({"kind": k, "t": t}) + "\n" for k, t in events))
    return path


def steps(*times: float) -> list[tuple[str, float]]:
    return [("metrics", t) for t in times]


def test_the_usual_gap_is_the_median_between_lines_of_metrics(tmp_path: Path) -> None:
    path = written(tmp_path, ("start", 0), *steps(1, 2, 3, 4, 5), ("progress", 5), *steps(30))
    assert pace.of_run(path) == pace.Pace(1.0, 25.0)


def test_an_earlier_attempt_was_another_pace(tmp_path: Path) -> None:
    path = written(tmp_path, *steps(1, 2, 3, 4, 5, 6), ("start", 100), *steps(110, 120))
    assert pace.of_run(path) is None


def test_a_clock_set_back_is_no_gap(tmp_path: Path) -> None:
    path = written(tmp_path, ("start", 1000), *steps(1001, 1002, 3, 4, 5, 6, 7))
    assert pace.of_run(path) == pace.Pace(1.0, 1.0)


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, ("start", 0), *steps(1, 2, 3, 4, 5, 6))
    with path.open("a") as file:
        file.write('[]\n{"kind": "metrics"}\n{"t": 3, "ki')
    assert pace.of_run(path) == pace.Pace(1.0, 1.0)


def test_no_events_have_no_pace(tmp_path: Path) -> None:
    assert pace.of_run(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("known", "factor", "limit"),
    [
        (pace.Pace(3.0, 3.0), 20, 60.0),
        (pace.Pace(60.0, 90.0), 20, 1200.0),
        (pace.Pace(1.0, 600.0), 20, 1200.0),
        (pace.Pace(0.01, 0.02), 20, 60.0),
        (pace.Pace(3.0, 3.0), 0, None),
        (None, 20, None),
    ],
)
def test_a_stall_is_many_times_what_is_usual(
    known: pace.Pace | None, factor: float, limit: float | None
) -> None:
    assert pace.stall_after_s(known, factor=factor, least_s=60.0) == limit
