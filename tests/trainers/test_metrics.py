"""No number without its meaning, and none beside one of another meaning."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import numpy as np
import pytest

from trainers import average_precision, catalog, metrics, predictions, report_judging, scores
from trainers.observations import OBSERVATIONS

NAMES = np.array(["a", "b"])
LABELS = np.eye(2, len(OBSERVATIONS))


def classified() -> dict[str, float]:
    both = [predictions.Scored(n, n, [0.2, 0.9 - i], [i, 1 - i]) for i, n in enumerate("ab")]
    return scores.label_scores(predictions.join_scores([both], classes=["Hernia", "Mass"]))


def segmented() -> dict[str, float]:
    mask = predictions.pack_mask(np.eye(4))
    both = [predictions.Masked(n, n, (4, 4), mask, mask, seen=n == "a") for n in "ab"]
    return scores.mask_scores(predictions.join_masks([both]))


def detected() -> dict[str, float]:
    box = np.array([[1.0, 1.0, 4.0, 4.0]])
    both = [predictions.Boxed(n, n, (8, 8), box, np.array([0.9]), box) for n in "ab"]
    return average_precision.box_scores(predictions.join_boxes([both]))


def written() -> dict[str, float]:
    both = [predictions.Written(n, n, "no edema is seen", "edema is seen", "clear") for n in "ab"]
    arrays = predictions.join_reports([both])
    for suffix in ("", "_rules"):
        arrays |= {f"{side}_labels{suffix}": LABELS for side in ("generated", "reference")}
        arrays[f"constant_labels{suffix}"] = LABELS[:1]
    return report_judging.score(arrays) | {"METEOR": 0.0}  # left out where there is no Java


@pytest.mark.parametrize(
    ("emitted", "fewest"), [(classified, 3), (segmented, 8), (detected, 5), (written, 60)]
)
def test_every_number_that_a_task_emits_is_defined(emitted, fewest: int) -> None:
    names = list(emitted())
    assert len(names) >= fewest
    assert [name for name in names if metrics.find(f"test/{name}") is None] == []
    for name, told in metrics.described(f"test/{name}" for name in names).items():
        assert None not in told.values(), name


def test_every_number_that_a_method_emits_is_defined() -> None:
    folder = Path(catalog.__file__).parent
    text = "".join(path.read_text() for path in (folder / "methods").glob("*.py"))
    names = {*re.findall(r'"monitor/(\w+)', text), *re.findall(r'"(loss_\w+)', text)}
    names |= {f"recall_at_{k}_{way}" for k in (1, 5) for way in ("image_to_text", "text_to_image")}
    assert len(names) > 10
    assert [name for name in sorted(names) if metrics.find(f"val/{name}") is None] == []


@pytest.mark.parametrize("task", catalog.TASKS)
def test_a_tasks_metric_is_defined_and_has_the_catalogs_direction_and_unit(task: str) -> None:
    entry = catalog.TASKS[task]
    module = importlib.import_module(f"trainers.tasks.{entry.base or task}")
    assert entry.metric == module.METRIC
    known = metrics.find(entry.metric)
    assert known is not None
    assert (known.better, known.unit) == (entry.better, entry.unit)


def test_the_metric_of_pre_training_is_defined_as_the_catalog_has_it() -> None:
    known, entry = metrics.find("val/loss"), catalog.PRETRAIN_ENTRY
    assert known is not None
    assert (known.better, known.unit) == (entry.better, entry.unit)


def test_what_is_not_in_the_table_has_no_meaning_instead_of_a_guessed_one() -> None:
    assert metrics.find("test/AUROCC") is None
    assert set(metrics.facts("sharpness").values()) == {None}


def test_one_class_is_not_said_to_be_a_mean_over_classes() -> None:
    whole, one = metrics.facts("test/AUROC"), metrics.facts("test/AUROC/Hernia")
    assert str(whole["averaging"]).startswith("macro")
    assert one["averaging"] == "none: `Hernia` alone"
    assert one["definition"] == whole["definition"]


@pytest.mark.parametrize(
    ("selected_by", "said"),
    [
        ("val/AUROC", "test at best validation AUROC"),
        ("last epoch", "held-out at last epoch"),
        ("", "not told"),
        (None, "not told"),
    ],
)
def test_the_rule_of_choice_is_said_in_words(selected_by: str | None, said: str) -> None:
    assert metrics.selection(selected_by) == said


def test_two_metrics_differ_with_both_definitions_and_one_does_not() -> None:
    assert metrics.difference("Dice", "Dice") == ""
    said = metrics.difference("Dice", "Dice_positive")
    assert "test images that have a true mask" in said
    assert "without a true mask 1 where nothing" in said
    assert "no definition that is known" in metrics.difference("Dice", "sharpness")
