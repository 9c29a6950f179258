"""Predictions made elsewhere score as our own would, whatever form they come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from trainers import catalog, evaluate, foreign
from trainers.config import InputError
from trainers.finetune import task_module
from trainers.tasks import shenzhen

SCORES = [0.916, 0.152, 0.836, 0.333, 0.333, 0.007]
LABELS = [1, 0, 1, 0, 1, 0]
PATIENTS = ["p1", "p1", "p2", "p3", "p4", "p5"]


def as_text(path: Path, labels=LABELS, scores=SCORES) -> Path:
    """As REFERS's results have it: `1.0 0.916`."""
    pairs = zip(labels, scores, strict=True)
    path.write_text("".join(f"{label:.1f} {score:.3f}\n" for label, score in pairs))
    return path


def as_table(path: Path) -> Path:
    rows = zip(range(6), PATIENTS, LABELS, SCORES, strict=True)
    text = "".join(f"{n}.png;{patient};{label};{score}\n" for n, patient, label, score in rows)
    path.write_text("\ufeffname;patient;label;score\n" + text, encoding="utf-8")
    return path


def as_npz(path: Path, *, classes=("tb",), **changed) -> Path:
    arrays = {
        "names": np.array([str(n) for n in range(6)]),
        "patient": np.array(PATIENTS),
        "score": np.array(SCORES)[:, None],
        "label": np.array(LABELS, np.uint8)[:, None],
        "classes": np.array(classes),
    }
    np.savez(path, **{**arrays, **changed})
    return path


def said(capsys, *words: str) -> dict:
    assert evaluate.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_every_form_gives_the_auroc_of_scikit_learn_and_is_kept_as_our_own(tmp_path, capsys):
    expected = roc_auc_score(LABELS, SCORES)
    forms = [
        as_text(tmp_path / "Tuberculosis.txt"),
        as_table(tmp_path / "said.csv"),
        as_npz(tmp_path / "said.npz"),
    ]
    for form in forms:
        out = tmp_path / "kept.npz"
        told = said(capsys, "--task", "shenzhen", "--predictions", str(form), "--out", str(out))
        assert told["values"]["test/AUROC"] == pytest.approx(expected, abs=1e-12)
        assert told["n"] == 6
        assert (told["notes"] == [foreign.NAMELESS]) == (form.suffix == ".txt")
        again = said(capsys, "--task", "shenzhen", "--predictions", str(out))
        assert again["bounds"] == told["bounds"]


class Findings:
    """Stands for the file of a task with several classes."""

    CLASSES = ("Edema", "Hernia", "Mass")

    @staticmethod
    def join(parts):
        return foreign.join_scores(parts, classes=Findings.CLASSES)


def test_a_folder_of_one_file_a_class_is_put_together_in_the_tasks_order(tmp_path):
    for number, name in enumerate(("Mass", "edema", "Hernia")):
        as_text(tmp_path / f"{name}.txt", scores=[number / 10 + s / 10 for s in SCORES])
    arrays, _ = foreign.read([tmp_path], "nih", Findings)
    assert arrays["classes"].tolist() == ["Edema", "Hernia", "Mass"]
    assert arrays["score"][0] == pytest.approx([0.1916, 0.2916, 0.0916], abs=1e-3)
    assert arrays["label"].tolist() == [[label] * 3 for label in LABELS]


@pytest.mark.parametrize(
    ("change", "about"),
    [
        (lambda d: (d / "Mass.txt").unlink(), "lacks the classes Mass"),
        (lambda d: (d / "Mass.txt").rename(d / "Mess.txt"), "is called after no class"),
        (lambda d: (d / "Mass.txt").write_text("1.0 0.5\n"), "has 1 lines"),
        (lambda d: (d / "Mass.txt").write_text("1.0 0.5\n2.0 0.1\n"), "Mass.txt:2"),
        (lambda d: (d / "Mass.txt").write_text("1.0 0.5\n\n1.0 nan\n"), "Mass.txt:3"),
        (lambda d: (d / "Mass.txt").write_text("a.png 1.0 0.5\n"), "Mass.txt:1: 3 fields"),
    ],
)
def test_text_files_that_do_not_fit_are_named_with_their_line(change, about, tmp_path):
    for name in Findings.CLASSES:
        as_text(tmp_path / f"{name}.txt")
    change(tmp_path)
    with pytest.raises(InputError, match=about):
        foreign.read([tmp_path], "nih", Findings)


def test_a_table_of_several_classes_names_them_in_its_columns(tmp_path):
    head = "name," + ",".join(f"label_{n},score_{n}" for n in Findings.CLASSES)
    (tmp_path / "a.csv").write_text(f"{head}\nx.png,0,0.1,1,0.2,0,-3e-1\ny.png,1,1,0,2,1,3\n")
    arrays, notes = foreign.read([tmp_path / "a.csv"], "nih", Findings)
    assert arrays["score"].tolist() == [[0.1, 0.2, -0.3], [1, 2, 3]]
    assert arrays["label"].tolist() == [[0, 1, 0], [1, 0, 1]]
    assert notes == [foreign.NAMELESS]


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("name,label\nx,1\n", "a.csv:1: no column `score`"),
        ("name,label,score\nx,1,0.5\ny,2,0.5\n", "a.csv:3: `label` is `2`"),
        ("name,label,score\nx,1,0.5\ny,0,high\n", "a.csv:3: `score` is `high`"),
        ("name,label,score\nx,1,0.5\nx,0,0.5\n", "a.csv:3: `x` is there twice"),
        ("name,label_tb,score_tb\n", "holds no predictions"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_with_its_line(text, about, tmp_path):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError, match=about):
        foreign.read([tmp_path / "a.csv"], "shenzhen", shenzhen)


@pytest.mark.parametrize(
    ("task", "changed", "about"),
    [
        ("shenzhen", {"score": np.zeros((6, 2))}, "`score` is"),
        ("shenzhen", {"score": np.full((6, 1), np.nan)}, "not a number"),
        ("shenzhen", {"label": np.full((6, 1), 3)}, "neither 0 nor 1"),
        ("siim", {}, "lacks `height`, which `siim` needs"),
    ],
)
def test_an_npz_of_something_else_ends_with_4(task, changed, about, tmp_path, capsys):
    file = as_npz(tmp_path / "a.npz", **changed)
    assert evaluate.main(["--task", task, "--predictions", str(file)]) == 4
    assert about in capsys.readouterr().err


def test_a_text_file_for_a_segmentation_says_what_is_expected(tmp_path, capsys):
    file = as_text(tmp_path / "a.txt")
    assert evaluate.main(["--task", "siim", "--predictions", str(file)]) == 4
    assert "expected predictions.npz" in capsys.readouterr().err


@pytest.mark.parametrize("task", catalog.TASKS)
def test_every_task_tells_by_an_empty_join_which_arrays_it_saves(task):
    assert "names" in task_module(task).join([])
