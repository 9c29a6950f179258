"""Two sides' predictions are paired by image, refused where they do not match, and tested."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trainers import average_precision, compare, pairing, predictions, scores, weighing
from trainers.config import ConfigError, InputError
from trainers.predictions import Boxed, Masked, Scored, Written

QUICK = compare.Drawing(seed=0, resamples=200)
FINDINGS = ("Edema", "Hernia")


def scored(seed: int, *, gain: float = 1.0, images: int = 60) -> dict[str, Any]:
    """Predictions of two findings in two images a patient; the truth is the same for all seeds."""
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    label = (truth.random((images, 2)) < 0.5).astype(np.uint8)
    said = rng.normal(size=(images, 2)) + gain * label
    items = [Scored(f"i{i}.png", f"p{i // 2}", said[i], label[i]) for i in range(images)]
    return predictions.join_scores([items], classes=FINDINGS)


def masked(seed: int, *, images: int = 24) -> dict[str, Any]:
    truth, rng = np.random.default_rng(0), np.random.default_rng(seed)
    items = []
    for i in range(images):
        shape = (8 + i % 3, 9)
        true = truth.random(shape) < (0.4 if i % 3 else 0.0)
        drawn = true & (rng.random(shape) < 0.8) | (rng.random(shape) < 0.01)
        packed = (predictions.pack_mask(mask) for mask in (drawn, true))
        items.append(Masked(f"i{i}", f"p{i}", shape, *packed))
    return predictions.join_masks([items])


def boxed(seed: int, *, images: int = 20) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    items = []
    for i in range(images):
        true = np.array([[10.0 * k, 10.0, 8.0, 8.0] for k in range(i % 3)]).reshape(-1, 4)
        near = true + rng.normal(0, 1.0, true.shape)
        wrong = np.array([[40.0, 40.0, 5.0, 5.0]] * (i % 2)).reshape(-1, 4)
        found = np.concatenate([near, wrong])
        items.append(Boxed(f"i{i}", f"p{i}", (64, 64), found, rng.random(len(found)), true))
    return predictions.join_boxes([items])


def written(seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    said = ["the heart is normal in size", "no edema is seen", "there is a small effusion"]
    items = [
        Written(f"i{i}", f"p{i}", said[rng.integers(3)], said[i % 3], said[0]) for i in range(12)
    ]
    arrays = predictions.join_reports([items])
    read = np.random.default_rng(1).integers(0, 2, (12, 14)).astype(float)
    return arrays | {"generated_labels_rules": read, "reference_labels_rules": read[::-1]}


EVERY_KIND = {
    "classification": scored,
    "segmentation": masked,
    "detection": boxed,
    "reports": written,
}


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    def save(name: str, arrays: dict[str, Any]) -> str:
        np.savez_compressed(tmp_path / name, **arrays)
        return str(tmp_path / name)

    return save


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert compare.main([*words, "--resamples", "200", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_with_weights_of_one_every_kind_scores_as_its_task_does():
    ones = {name: np.ones((len(make(1)["names"]), 1), int) for name, make in EVERY_KIND.items()}
    values = {name: weighing.of(EVERY_KIND[name](1))(ones[name]) for name in EVERY_KIND}
    expected = {
        "classification": {"AUROC": scores.label_scores(scored(1))["AUROC"]},
        "segmentation": scores.mask_scores(masked(1)),
        "detection": average_precision.box_scores(boxed(1)),
    }
    for kind, wanted in expected.items():
        assert {name: value[0] for name, value in values[kind].items()} == pytest.approx(wanted)
    assert {"BLEU-1", "BLEU-4", "ROUGE-L", "P_rules", "F1_rules"} <= set(values["reports"])


def test_scores_of_reports_under_weights_are_those_of_repeated_reports():
    from trainers import report_scores

    arrays, weight = written(1), np.array([[2, 0, 1] * 4]).T
    times = np.repeat(np.arange(12), weight[:, 0])
    texts = (arrays[name][times].tolist() for name in ("generated", "reference"))
    expected = report_scores.score_reports(*texts, meteor=False)
    found = weighing.of(arrays)(weight)
    assert {name: found[name][0] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_side_against_itself_in_another_order_is_no_different(kind):
    arrays = EVERY_KIND[kind](1)
    turned = predictions.chosen(arrays, np.arange(len(arrays["names"]))[::-1])
    found = compare.compare([arrays], [turned], [], QUICK)
    assert found["rows"]
    assert found["notes"] == []
    for row in found["rows"]:
        assert row["difference"] == 0
        assert {test["p"] for test in row["tests"]} == {1.0}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_what_is_chosen_of_predictions_scores_as_those_images_alone(kind):
    arrays = EVERY_KIND[kind](1)
    number = len(arrays["names"])
    which = np.array([i for i in range(number) if i % 4 != 1])
    once = np.zeros((number, 1), int)
    once[which] = 1
    part = weighing.of(predictions.chosen(arrays, which))(np.ones((len(which), 1), int))
    whole = weighing.of(arrays)(once)
    for name, value in part.items():
        if name != "mgca_share":
            assert value[0] == pytest.approx(whole[name][0]), name


def test_both_tests_over_patients_see_a_large_gain_and_agree():
    found = compare.compare([scored(1, gain=3.0, images=200)], [scored(2, images=200)], [], QUICK)
    (row,) = found["rows"]
    delong, bootstrap = row["tests"]
    assert (delong["test"], bootstrap["test"]) == ("DeLong", "bootstrap")
    assert row["difference"] > 0.15
    assert max(delong["p"], bootstrap["p"]) < 0.02
    assert bootstrap["low"] == pytest.approx(delong["low"], abs=0.02)
    assert bootstrap["high"] == pytest.approx(delong["high"], abs=0.02)
    assert [one["class"] for one in row["classes"]] == list(FINDINGS)


@pytest.mark.parametrize(
    ("kind", "metric", "test"),
    [
        ("segmentation", "Dice", "studentised bootstrap"),
        ("segmentation", "Dice_pooled", "studentised bootstrap"),
        ("detection", "mAP", "bootstrap"),
        ("reports", "BLEU-4", "bootstrap"),
        ("reports", "ROUGE-L", "studentised bootstrap"),
    ],
)
def test_a_ratio_of_sums_is_studentised_and_all_else_is_not(kind, metric, test):
    make = EVERY_KIND[kind]
    (row,) = compare.compare([make(1)], [make(1)], [metric], QUICK)["rows"]
    assert [one["test"] for one in row["tests"]] == [test]


def test_several_runs_a_side_are_tested_over_seeds_too():
    a, b = [scored(s, gain=2.0) for s in (1, 2, 3)], [scored(s) for s in (4, 5)]
    (row,) = compare.compare(a, b, [], QUICK)["rows"]
    assert [test["test"] for test in row["tests"]] == ["DeLong", "bootstrap", "Welch"]
    assert (row["a"]["n"], row["b"]["n"]) == (3, 2)
    each = [scores.label_scores(run)["AUROC"] for run in a]
    assert row["a"]["value"] == pytest.approx(np.mean(each))
    assert row["a"]["sd"] == pytest.approx(np.std(each, ddof=1))


def test_images_that_one_side_lacks_are_left_out_and_told(saved, capsys):
    files = saved("a.npz", scored(1)), saved("b.npz", scored(2, images=60))
    fewer = saved("c.npz", predictions.chosen(scored(2), np.arange(50)))
    whole = told(capsys, "--task", "nih", "--a", files[0], "--b", files[1])
    part = told(capsys, "--task", "nih", "--a", files[0], "--b", fewer)
    assert (whole["images"], whole["patients"], whole["notes"]) == (60, 30, [])
    assert (part["images"], part["patients"]) == (50, 25)
    assert "on the 50 test images that all have, of 50 and 60" in part["notes"][0]


def test_sides_without_a_common_image_are_refused(saved, capsys):
    other = scored(2)
    other["names"] = np.char.add("other", other["names"])
    words = ["--task", "nih", "--a", saved("a.npz", scored(1)), "--b", saved("b.npz", other)]
    assert compare.main(words) == 4
    assert "no test image is in all of the predictions" in capsys.readouterr().err


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_sides_that_disagree_in_what_is_true_are_refused(kind):
    arrays = EVERY_KIND[kind](1)
    name = weighing.TRUTH[weighing.kind_of(arrays)][-1 if kind == "segmentation" else 0]
    other = arrays | {name: np.roll(arrays[name], 1, axis=0)}
    with pytest.raises(InputError, match=f"differ in `{name}`"):
        pairing.pair([arrays, other])


def test_predictions_of_two_kinds_are_refused():
    with pytest.raises(InputError, match="classification and of segmentation"):
        pairing.pair([scored(1), masked(1)])


def test_patients_named_by_one_side_alone_still_count():
    nameless = scored(2)
    nameless["patient"] = nameless["names"]
    paired = pairing.pair([nameless, scored(1)])
    assert len(np.unique(paired.patient)) == 30
    assert "name patients differently" in paired.notes[0]


def test_an_image_named_twice_cannot_be_paired(saved, capsys):
    twice = scored(1)
    twice["names"][1] = twice["names"][0]
    file = saved("a.npz", twice)
    assert compare.main(["--task", "nih", "--a", file, "--b", file]) == 4
    assert "twice" in capsys.readouterr().err


def test_a_metric_that_predictions_do_not_give_is_refused_by_what_they_do():
    with pytest.raises(ConfigError, match=r"not compared by `METEOR`; by BLEU-1, BLEU-2"):
        compare.compare([written(1)], [written(2)], ["METEOR"], QUICK)
    (row,) = compare.compare([masked(1)], [masked(2)], ["Dice_positive"], QUICK)["rows"]
    assert row["metric"] == "Dice_positive"


def test_against_a_number_there_is_a_test_over_seeds_and_none_over_patients(saved, capsys):
    files = [saved(f"{s}.npz", scored(s)) for s in (1, 2, 3)]
    found = told(capsys, "--task", "nih", "--a", *files, "--number", "0.84")
    (row,) = found["rows"]
    over_patients, over_seeds = row["tests"]
    assert (over_patients["p"], over_seeds["test"]) == (None, "one-sample t")
    assert over_patients["low"] < row["difference"] < over_patients["high"]
    one = told(capsys, "--task", "nih", "--a", files[0], "--number", "0.84")
    assert one["rows"][0]["tests"][1]["p"] is None


def test_the_same_seed_draws_the_same_patients(saved, capsys):
    files = saved("a.npz", scored(1)), saved("b.npz", scored(2))
    line = ["--task", "nih", "--a", files[0], "--b", files[1]]
    assert told(capsys, *line) == told(capsys, *line)
    assert told(capsys, *line)["rows"] != told(capsys, *line, "--seed", "1")["rows"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--task", "nothing"], 3),
        (["--task", "nih", "--resamples", "10"], 2),
        (["--task", "nih", "--a", "absent.npz"], 3),
    ],
)
def test_what_cannot_be_compared_ends_with_the_contracts_code(words, code, saved, capsys):
    file = saved("a.npz", scored(1))
    assert compare.main(["--a", file, "--b", file, *words]) == code
    assert capsys.readouterr().err.startswith("error: ")


def test_a_file_that_holds_no_predictions_is_refused(saved, tmp_path, capsys):
    good = saved("a.npz", scored(1))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for bad in (str(tmp_path / "torn.npz"), saved("b.npz", {"names": np.array(["a"])})):
        assert compare.main(["--task", "nih", "--a", good, "--b", bad]) == 4
        assert bad in capsys.readouterr().err


def test_people_are_told_on_lines(saved, capsys):
    file = saved("a.npz", scored(1))
    assert compare.main(["--task", "nih", "--a", file, "--b", file, "--resamples", "200"]) == 0
    said = capsys.readouterr().out
    assert "60 images of 30 patients" in said
    assert "DeLong" in said
