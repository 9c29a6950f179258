from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cxrlab import columns, grid
from cxrlab.errors import BadInput, NotFound, Usage
from cxrlab.exports import facts
from cxrlab.grid.cells import grid_settings, read_grid
from cxrlab.grid.published import Paper, read_published
from cxrlab.grid.remarks import notes
from cxrlab.settings import GridSettings
from store import runs
from store.cells import Group, OpenRun
from trainers import catalog
from trainers.catalog import MethodEntry, TaskEntry
from trainers.events import EventLog

METHODS = {
    "random": MethodEntry("Random", source="baseline", pretrains=False),
    "mrm": MethodEntry("MRM", source="paper"),
}
SIIM = {"siim": TaskEntry("SIIM", "Dice", "higher", ratios=(10, 100), dataset="siim")}
TASKS = columns.of_tasks(SIIM)


def group(**facts: Any) -> Group:
    values: dict[str, Any] = {
        "method": "mrm",
        "task": "siim",
        "ratio": 10,
        "metric": "Dice",
        "recipe": "a",
        "preset": "paper",
        "mean": 0.7294,
        "sd": 0.0041,
        "n": 3,
        "low": 0.71,
        "high": 0.75,
        "run_ids": ("c", "b", "a"),
        "selected_value": 0.7,
        **facts,
    }
    return Group(**values)


def waiting(state: str, **facts: Any) -> OpenRun:
    values: dict[str, Any] = {
        "method": "mrm",
        "task": "siim",
        "ratio": 10,
        "run_id": "x",
        "state": state,
        "recipe": "a",
        "done": None,
        "total": None,
        **facts,
    }
    return OpenRun(**values)


def cell(
    *groups: Group,
    open_runs: tuple[OpenRun, ...] = (),
    published: Any = None,
    method: str = "mrm",
    at: int = 2,
) -> grid.Cell:
    """Return one cell of a grid; 0 and 1 are pre-training, 2 is siim 10 %."""
    made = grid.build(METHODS, TASKS, groups, open_runs, published=published or {})
    return next(row for row in made.rows if row.method == method).cells[at]


def test_a_cell_reads_mean_spread_and_count() -> None:
    assert cell(group()).text() == "72.9 ±0.4 (3)"


def test_a_single_seed_shows_no_spread() -> None:
    assert cell(group(n=1, sd=None)).text() == "72.9 (1)"


def test_the_papers_number_stands_in_brackets_in_exactly_its_cell() -> None:
    published = {("mrm", "siim", 10, "Dice"): Paper(0.732, "a paper")}
    assert cell(group(), published=published).text() == "72.9 ±0.4 (3) [73.2]"
    assert cell(group(), published=published, at=3).paper is None
    assert cell(group(), published=published, method="random").paper is None


def test_the_recipe_is_chosen_by_validation_and_never_by_the_test_score() -> None:
    better_on_test = group(recipe="b", mean=0.9, selected_value=0.6)
    shown = cell(better_on_test, group())
    assert (shown.recipe, shown.others, shown.text()) == ("a", 1, "72.9 ±0.4 (3) +1")


def test_of_a_loss_the_lower_is_chosen() -> None:
    low = group(
        task="pretrain", ratio=None, metric="loss", recipe="b", mean=1.0, selected_value=1.0
    )
    high = low._replace(recipe="a", mean=2.0, selected_value=2.0)
    assert cell(high, low, at=1).value == 1.0


def test_a_recipe_without_a_validation_value_comes_last() -> None:
    unknown = group(recipe="0", selected_value=None)
    assert cell(unknown, group(selected_value=0.01)).recipe == "a"


def test_the_choice_does_not_depend_on_the_order() -> None:
    same = [group(recipe=recipe) for recipe in "bca"]
    assert {cell(*order).recipe for order in (same, same[::-1])} == {"a"}


@pytest.mark.parametrize(
    ("state", "said"),
    [("queued", "queued"), ("blocked", "blocked"), ("failed", "failed"), ("lost", "lost")],
)
def test_a_cell_without_a_number_says_the_state_of_its_run(state: str, said: str) -> None:
    assert cell(open_runs=(waiting(state),)).text() == said


def test_a_running_cell_says_how_far_it_is() -> None:
    assert cell(open_runs=(waiting("running", done=43, total=100),)).text() == "running 43 %"
    assert cell(open_runs=(waiting("running"),)).text() == "running"


def test_of_several_runs_the_one_furthest_along_gives_the_state() -> None:
    several = (waiting("failed"), waiting("queued"), waiting("running", done=1, total=2))
    assert cell(open_runs=several).state == "running"


def test_a_number_stands_against_a_failed_run_but_says_that_another_runs() -> None:
    assert cell(group(), open_runs=(waiting("failed"),)).text() == "72.9 ±0.4 (3)"
    assert cell(group(), open_runs=(waiting("queued"),)).text() == "72.9 ±0.4 (3) queued"


def test_a_method_without_runs_is_an_empty_cell_and_not_a_missing_row() -> None:
    made = grid.build(METHODS, TASKS, [], [], published={})
    assert [row.method for row in made.rows] == ["random", "mrm"]
    assert {c.state for c in made.rows[1].cells} == {"empty"}


def test_a_baseline_has_no_pre_training_to_fill() -> None:
    assert [cell(method="random", at=i).text() for i in (0, 1)] == ["–", "–"]


def test_pre_training_time_is_a_duration() -> None:
    time = group(task="pretrain", ratio=None, metric="time", mean=222_600.0, sd=None, n=1)
    assert cell(time, at=0).text() == "2d 13h"


def test_numbers_of_the_quick_preset_are_called_toys() -> None:
    made = grid.build(METHODS, TASKS, [group(preset="quick")], [], published={})
    assert any("all numbers" in note and "quick" in note for note in notes(made))
    mixed = grid.build(METHODS, TASKS, [group(preset="quick"), group(ratio=100)], [], published={})
    assert any(note.endswith("mrm siim 10 %") for note in notes(mixed))


def test_a_single_seed_is_called_one_in_the_notes() -> None:
    one = grid.build(METHODS, TASKS, [group(n=1, sd=None)], [], published={})
    three = grid.build(METHODS, TASKS, [group()], [], published={})
    assert any("single seed" in note for note in notes(one))
    assert not any("single seed" in note for note in notes(three))


def test_every_published_number_names_a_cell_of_the_catalog_and_its_source() -> None:
    published = read_published()
    assert published
    for (method, task, ratio, metric), paper in published.items():
        assert method in catalog.METHODS
        assert metric == catalog.TASKS[task].metric
        assert ratio in catalog.TASKS[task].ratios
        assert 0 < paper.value <= 1
        assert len(paper.source) > 40


@pytest.mark.parametrize(
    ("task", "metric", "both"),
    [
        ("nih", "accuracy", ("class is told rightly", "area under the ROC curve")),
        ("siim", "Dice_positive", ("that have a true mask", "without a true mask 1")),
        ("rsna", "mAP_mgca", ("MGCA's rules", "healthy images")),
        ("pretrain", "image_error", ("squared error", "own weighted losses")),
    ],
)
def test_a_published_number_of_another_metric_is_refused_with_both_definitions(
    task: str, metric: str, both: tuple[str, str], tmp_path: Path
) -> None:
    row = f'[[number]]\nmethod = "mrm"\ntask = "{task}"\nratio = 100\nmetric = "{metric}"\n'
    (tmp_path / "numbers.toml").write_text(row + 'value = 0.9\nsource = "a paper"\n')
    with pytest.raises(BadInput) as refused:
        read_published(tmp_path / "numbers.toml")
    assert f"numbers.toml: mrm {task}" in refused.value.message
    assert all(part in refused.value.message for part in both)


def test_a_cell_as_json_tells_what_its_number_means_and_by_which_rule_it_was_chosen() -> None:
    told = facts.of_cell(cell(group()))
    assert (told["better"], told["unit"]) == ("higher", "share")
    assert told["averaging"] == "mean over test images"
    assert "without a true mask" in told["definition"]
    assert told["selection"] == "test at best validation Dice"
    assert facts.of_cell(cell(group(selected_value=None)))["selection"] == "not told"
    empty = facts.of_cell(cell())
    assert (empty["selection"], empty["better"]) == (None, "higher")


def test_published_numbers_on_the_leaking_split_say_so() -> None:
    for (_, task, _, _), paper in read_published().items():
        assert task != "siim"
        assert task != "siim_legacy" or "leaks" in paper.source


def column(*groups: Group) -> grid.Grid:
    """Return a grid of two methods and one task from some of its groups."""
    return grid.build(METHODS, TASKS, groups, [], published={})


def test_the_floor_of_dice_is_that_of_the_same_recipe_and_test_set() -> None:
    nothing = {"metric": "Dice_nothing", "sd": 0.0}
    made = column(
        group(test_split="x"),
        group(**nothing, mean=0.1, recipe="b", test_split="x"),
        group(**nothing, mean=0.2, test_split="y"),
        group(**nothing, mean=0.647, test_split="x"),
    )
    cell = made.rows[1].cells[2]
    assert (cell.value, cell.floor) == (0.7294, 0.647)
    assert "predicting nothing anywhere scores: siim Dice 10 % 64.7" in notes(made)


def test_a_number_on_another_test_set_is_marked_and_said_not_to_be_comparable() -> None:
    made = column(
        group(method="random", test_split="x", train_split="t"),
        group(test_split="y", train_split="t"),
    )
    assert made.rows[0].cells[2].text() == "72.9 ±0.4 (3)"
    assert made.rows[1].cells[2].text() == "72.9 ±0.4 (3)‡"
    said = "`‡`: not comparable with its column, other test split: mrm siim 10 %"
    assert said in notes(made)


def test_a_number_from_another_training_list_is_marked_and_said_not_to_be_comparable() -> None:
    alike = {"test_split": "x", "train_split": "t"}
    made = column(group(method="random", **alike), group(**{**alike, "train_split": "u"}))
    assert made.rows[1].cells[2].text() == "72.9 ±0.4 (3)§"
    said = "`§`: not comparable with its column, other training list: mrm siim 10 %"
    assert said in notes(made)
    other_share = group(ratio=100, **{**alike, "train_split": "all"})
    made = column(group(method="random", **alike), group(**alike), other_share)
    assert not any("not comparable" in note for note in notes(made))


def test_a_number_that_tells_no_split_is_not_said_to_have_another() -> None:
    made = column(group(method="random", test_split="x", train_split="t"), group())
    assert made.rows[1].cells[2].text() == "72.9 ±0.4 (3)"


def test_what_most_of_a_column_was_tested_on_is_not_the_one_that_is_marked() -> None:
    methods = {name: METHODS["mrm"] for name in ("a", "b", "c")}
    tested = {"a": "x", "b": "y", "c": "y"}
    groups = [group(method=m, test_split=s, train_split="t") for m, s in tested.items()]
    made = grid.build(methods, TASKS, groups, [], published={})
    assert [row.cells[2].other for row in made.rows] == [grid.TEST_SPLIT, "", ""]


def test_settings_choose_rows_and_columns_in_their_order() -> None:
    words = ["shenzhen", "siim:100", "siim:10"]
    found = [(column.task, column.ratio) for column in columns.chosen(words).columns[2:]]
    assert found == [("shenzhen", 100), ("siim", 100), ("siim", 10)]


def test_an_unknown_column_names_the_nearest_task() -> None:
    with pytest.raises(NotFound) as caught:
        grid_settings(GridSettings(), [], ["sim"])
    assert "siim" in caught.value.hint
    with pytest.raises(Usage):
        grid_settings(GridSettings(), [], ["siim:many"])


def finish(db: Any, run: runs.Run, *, loss: float, seconds: float) -> None:
    from store import intake

    events = EventLog(Path(run.folder))
    events.result(values={"val/loss": loss}, train_seconds=seconds, selected_by="last epoch")
    events.end("succeeded")
    intake.take_in(db, run.id, Path(run.folder))
    runs.change_state(db, run.id, "succeeded")


def test_the_grid_of_a_lab_shows_what_pre_training_took_and_reached(db: Any, new_run: Any) -> None:
    finish(db, new_run(), loss=1.0, seconds=60)
    finish(db, new_run(), loss=2.0, seconds=120)
    time, loss = read_grid(db, GridSettings(methods=("mrm",))).rows[0].cells[:2]
    assert (time.value, time.text()) == (90.0, "1m 30s")
    assert (loss.value, loss.n, loss.text()) == (1.5, 2, "1.500 ±0.707 (2)")


def test_a_repeated_seed_counts_once_and_the_newest_does(db: Any, new_run: Any) -> None:
    finish(db, new_run(seed=5), loss=1.0, seconds=60)
    finish(db, new_run(seed=5), loss=3.0, seconds=60)
    loss = read_grid(db, GridSettings(methods=("mrm",))).rows[0].cells[1]
    assert (loss.value, loss.n) == (3.0, 1)


def test_published_encoders_have_a_row_once_they_have_a_run(db: Any, new_run: Any) -> None:
    new_run(method="mae", task="siim", ratio=10)
    rows = [row.method for row in read_grid(db, GridSettings()).rows]
    assert "mae" in rows
    assert "imagenet" not in rows


def test_a_variant_has_a_row_only_where_it_has_runs_or_is_asked_for(db: Any, new_run: Any) -> None:
    plain = [row.method for row in read_grid(db, GridSettings()).rows]
    assert plain == [name for name in catalog.main_methods() if not catalog.METHODS[name].weights]
    new_run(method="mrm+hog")
    rows = [row.method for row in read_grid(db, GridSettings()).rows]
    assert rows[rows.index("mrm") + 1] == "mrm+hog"
    assert len(rows) == len(plain) + 1
    asked = read_grid(db, GridSettings(methods=("mrm+infonce",))).rows
    assert [row.method for row in asked] == ["mrm+infonce"]
