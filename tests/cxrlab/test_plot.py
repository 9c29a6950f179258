from __future__ import annotations

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from cxrlab import chart, cli
from cxrlab.chart import Chart, Panel, Series
from cxrlab.exports import plot as plotting
from cxrlab.exports import terminal
from cxrlab.lab import Lab
from store import intake, points, runs


def invoke(lab: Lab, *words: str, columns: int = 80) -> Any:
    environment = {"COLUMNS": str(columns)}
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env=environment)


@pytest.fixture
def logged(new_run: Any, db: Any) -> Callable[..., runs.Run]:
    """Add a run that has logged `values` of each metric, one a step, two steps an epoch."""

    def make(metrics: dict[str, list[float | None]], **facts: Any) -> runs.Run:
        run = new_run(**facts)
        steps = max(map(len, metrics.values()))
        lines: list[dict[str, Any]] = [
            {"t": 1000.0, "kind": "start", "step": 0, "total_steps": steps}
        ]
        for step in range(1, steps + 1):
            values = {n: each[step - 1] for n, each in metrics.items() if len(each) >= step}
            lines.append(
                {"t": 1000.0 + 36 * step, "kind": "metrics", "step": step, "epoch": step / 2,
                 "values": values}
            )  # fmt: skip
        folder = Path(run.folder)
        (folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        intake.take_in(db, run.id, folder)
        return runs.get(db, run.id)

    return make


FALLING = [1.0 / step for step in range(1, 41)]


def series_of(lab: Lab, *words: str) -> list[dict[str, Any]]:
    result = invoke(lab, "plot", *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def test_a_pipe_gets_a_curve_of_plain_characters_in_its_width(lab: Lab, logged: Any) -> None:
    run = logged({"train/loss": FALLING, "val/loss": [1.2, 0.8]})
    result = invoke(lab, "plot", run.id, columns=60)
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 60
    assert "train/loss, val/loss of mrm pretrain" in result.stdout
    assert "• train/loss" in result.stdout
    assert "x val/loss" in result.stdout


def test_colours_are_on_where_they_are_wanted_and_off_by_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = tuple(Series(name, [[(0.0, 1.0), (1.0, 2.0)]]) for name in "ab")
    made = Chart((Panel("t", "x", "y", two),))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert any("\x1b" in line for line in terminal.lines(made, columns=60, rows=12))
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any("\x1b" in line for line in terminal.lines(made, columns=60, rows=12))


def test_a_method_means_its_newest_run_that_has_logged_anything(
    lab: Lab, logged: Any, new_run: Any
) -> None:
    logged({"val/loss": [3.0]})
    second = logged({"val/loss": [2.0]})
    new_run()
    (drawn,) = series_of(lab, "mrm")
    assert (drawn["id"], drawn["metric"], drawn["pieces"]) == (
        second.id,
        "val/loss",
        [[[1.0, 2.0]]],
    )


def test_several_runs_are_laid_over_one_another_with_a_legend(lab: Lab, logged: Any) -> None:
    first = logged({"val/loss": FALLING, "train/loss": FALLING})
    second = logged({"val/loss": [2 * value for value in FALLING]}, method="refers")
    said = invoke(lab, "plot", first.id, "refers").stdout
    assert f"({first.id})" in said
    assert f"refers pretrain seed 1 ({second.id})" in said
    assert [one["metric"] for one in series_of(lab, first.id, "refers")] == ["val/loss"] * 2


def test_metrics_are_chosen_by_name_or_by_pattern_and_grouped_by_what_they_measure(
    lab: Lab, logged: Any
) -> None:
    run = logged({"val/loss": [1.0], "val/image": [0.5], "train/loss": [1.0]})
    names = [one["metric"] for one in series_of(lab, run.id, "--metric", "val/*,train/loss")]
    assert names == ["val/image", "val/loss", "train/loss"]
    drawn = [plotting.Curve(run, name, [[(1.0, 1.0)]]) for name in names]
    panels = plotting.chart(drawn, axis="step", log=False).panels
    assert [panel.y_label for panel in panels] == ["image", "loss"]
    assert [one.name for one in panels[1].series] == ["val/loss", "train/loss"]


def test_an_unknown_metric_names_the_nearest(lab: Lab, logged: Any) -> None:
    run = logged({"val/loss": [1.0]})
    result = invoke(lab, "plot", run.id, "--metric", "val/los")
    assert result.exit_code == 3
    assert "did you mean `val/loss`?" in result.stderr


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("mrm",), 3, "has logged anything"),
        (("random",), 2, "--task siim"),
        (("mrm", "--task", "sim"), 3, "did you mean `siim`?"),
        (("nosuch",), 3, "no run is called"),
        (("mrm", "--out", "curve.jpeg"), 2, ".png"),
        (("mrm", "--smooth", "2"), 2, "smooth"),
    ],
)
def test_what_cannot_be_drawn_is_told(
    lab: Lab, words: tuple[str, ...], code: int, said: str
) -> None:
    result = invoke(lab, "plot", *words)
    assert result.exit_code == code
    assert said in result.stderr


def test_values_that_are_not_finite_leave_a_gap(lab: Lab, logged: Any) -> None:
    run = logged({"val/loss": [3.0, 2.0, None, None, 1.0]})
    (drawn,) = series_of(lab, run.id)
    assert drawn["pieces"] == [[[1.0, 3.0], [2.0, 2.0]], [[5.0, 1.0]]]


def test_epochs_and_hours_of_training_can_be_the_axis(lab: Lab, logged: Any, db: Any) -> None:
    run = logged({"val/loss": [3.0, 2.0]})
    with (Path(run.folder) / "events.jsonl").open("a") as file:
        for line in (
            {"t": 90_000.0, "kind": "start", "step": 2, "total_steps": 3},
            {"t": 90_036.0, "kind": "metrics", "step": 3, "epoch": 1.5, "values": {"val/loss": 1}},
        ):
            file.write(json.dumps(line) + "\n")
        file.write('{"t": 1, "ki')  # torn
    intake.take_in(db, run.id, Path(run.folder))
    (over_epochs,) = series_of(lab, run.id, "--x", "epoch")
    assert [x for x, _ in over_epochs["pieces"][0]] == [0.5, 1.0, 1.5]
    (over_time,) = series_of(lab, run.id, "--x", "time")
    assert [x for x, _ in over_time["pieces"][0]] == pytest.approx([0.01, 0.02, 0.03])


@given(st.lists(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=9), max_size=5))
def test_smoothing_by_nothing_changes_nothing_and_never_leaves_the_range(
    values: list[list[float]],
) -> None:
    pieces = [[(float(x), y) for x, y in enumerate(piece)] for piece in values]
    assert chart.smooth(pieces, 0.0) == pieces
    every = [y for piece in values for y in piece]
    for piece in chart.smooth(pieces, 0.9):
        for _, y in piece:
            assert min(every) - 1e-6 <= y <= max(every) + 1e-6


def test_a_running_mean_is_that_of_tensorboard() -> None:
    ((*_, last),) = chart.smooth([[(0.0, 1.0), (1.0, 2.0), (2.0, 4.0)]], 0.5)
    # (0.25 * 1 + 0.5 * 2 + 1 * 4) / (0.25 + 0.5 + 1), by hand
    assert last == (2.0, pytest.approx(3.0))


def test_what_has_no_logarithm_is_cut_out() -> None:
    assert chart.positive([[(0.0, 1.0), (1.0, 0.0), (2.0, 2.0), (3.0, -1.0)]]) == [
        [(0.0, 1.0)],
        [(2.0, 2.0)],
    ]


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9), st.integers(2, 12))
def test_ticks_are_few_round_and_within(low: float, span: float, most: int) -> None:
    ticks = chart.round_ticks(low, low + span, most=most)
    assert 1 <= len(ticks) <= most
    slack = span * 1e-6 + abs(low) * 1e-9
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)


def test_a_long_curve_is_thinned_and_keeps_its_spike(db: Any, new_run: Any) -> None:
    run = new_run()
    values = [(step, 0.5) for step in range(30_000)]
    values[17_123] = (17_123, 99.0)
    values[20_000] = (20_000, math.nan)
    with db.conn:
        db.conn.execute("insert into metrics (name) values ('val/loss')")
        db.conn.executemany(
            "insert into points select (select seq from runs where id = ?), 1, ?, ?",
            [(run.id, step, None if math.isnan(value) else value) for step, value in values],
        )
    found = points.pieces(db, run.id, "val/loss", most=1000)
    assert len(found) == 2
    assert sum(map(len, found)) <= 1000
    assert (17_123, 99.0) in found[0]
    assert found[0][0] == (0, 0.5)
    assert found[1][-1] == (29_999, 0.5)


@pytest.mark.parametrize("name", ["curves.png", "curves.svg"])
def test_a_picture_is_drawn_by_a_child(lab: Lab, logged: Any, tmp_path: Path, name: str) -> None:
    run = logged({"val/loss": [3.0, None, 2.0, 1.0], "perf/images_per_s": [90.0, 91.0]})
    out = tmp_path / "new" / name
    words = ("--metric", "val/loss,perf/*", "--log", "--out", str(out))
    result = invoke(lab, "plot", run.id, *words)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(out)
    if name.endswith(".png"):
        with Image.open(out) as picture:
            assert picture.size == (1280, 1200)  # two panels
    else:
        assert ET.parse(out).getroot().tag.endswith("svg")


def test_a_picture_that_cannot_be_written_is_told(lab: Lab, logged: Any, tmp_path: Path) -> None:
    run = logged({"val/loss": [3.0]})
    (tmp_path / "file").write_text("")
    result = invoke(lab, "plot", run.id, "--out", str(tmp_path / "file" / "a.png"))
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
