"""Predictions made elsewhere become a run that everything shows, and nothing takes for our own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import roc_auc_score
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.lab import Lab, make_lab
from store import runs
from store.db import open_store
from trainers.events import EventLog

LABELS = [1, 0, 1, 0, 1, 0, 0, 1]
SCORES = [0.916, 0.152, 0.836, 0.333, 0.333, 0.007, 0.5, 0.25]
SOURCE = "released with the paper"


def cxrlab(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def told(lab: Lab, *words: str) -> Any:
    result = cxrlab(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def bring_in(lab: Lab, file: Path, *words: str) -> Any:
    line = ["--method", "refers", "--task", "shenzhen", *words]
    return cxrlab(lab, "import", "predictions", str(file), *line)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("released") / "Tuberculosis.txt"
    pairs = zip(LABELS, SCORES, strict=True)
    path.write_text("".join(f"{label:.1f} {score:.3f}\n" for label, score in pairs))
    return path


@pytest.fixture(scope="module")
def brought(file: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A lab that has brought in one file, and the run that came of it."""
    lab = make_lab(tmp_path_factory.mktemp("lab"))
    result = bring_in(lab, file, "--source", SOURCE, "--json")
    assert result.exit_code == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["new"]
    return lab, answer["id"]


@pytest.fixture
def rebuilt(brought: tuple[Lab, str], tmp_path: Path) -> Lab:
    """The same lab elsewhere, its registry made anew from the run folders."""
    shutil.copytree(brought[0].root, tmp_path / "lab")
    lab = make_lab(tmp_path / "lab")
    lab.registry.unlink()
    assert cxrlab(lab, "rebuild").exit_code == 0
    return lab


def cell(lab: Lab) -> dict[str, Any]:
    (found,) = told(lab, "grid", "--method", "refers", "--task", "shenzhen")[-1:]
    return found


def test_the_run_has_ended_and_says_in_every_list_that_it_is_foreign(brought) -> None:
    lab, id = brought
    shown = told(lab, "show", id)
    listed = told(lab, "runs")
    assert [run["id"] for run in listed] == [id]
    for run in (shown, *listed):
        assert (run["state"], run["foreign"]) == ("succeeded", True)
        assert SOURCE in run["reason"]
    assert shown["result"]["foreign"] is True
    assert shown["warned"][0]["message"].startswith("the files name no patients")
    assert "not trained here" in cxrlab(lab, "show", id).stdout


def test_the_cell_has_the_number_of_an_independent_auroc_and_a_mark(brought) -> None:
    lab, _ = brought
    found = cell(lab)
    assert found["value"] == pytest.approx(roc_auc_score(LABELS, SCORES), abs=1e-12)
    assert (found["foreign"], found["n"]) == (True, 1)
    assert found["low"] < found["value"] < found["high"]
    assert found["text"].endswith("(1)†")
    printed = cxrlab(lab, "grid").stdout
    assert "predictions made elsewhere" in " ".join(printed.split())
    assert "made elsewhere and brought in" in cxrlab(lab, "export").stdout


def test_it_is_there_again_after_a_rebuild(brought, rebuilt: Lab) -> None:
    before, after = (told(lab, "runs")[0] for lab in (brought[0], rebuilt))
    for key in ("id", "state", "reason", "foreign", "recipe", "ratio", "seed", "warnings"):
        assert after[key] == before[key], key
    assert cell(rebuilt) == cell(brought[0])


def test_it_never_enters_the_mean_of_our_own_seeds(rebuilt: Lab) -> None:
    db = open_store(rebuilt.registry)
    for seed, value in ((1, 0.8), (2, 0.9)):
        id = runs.new_id()
        folder = rebuilt.runs_dir / f"{id}-refers-shenzhen-100-s{seed}"
        log = EventLog(folder)
        log.result(values={"test/AUROC": value, "val/AUROC": 0.7}, selected_by="val/AUROC")
        log.end("succeeded")
        new = runs.NewRun(id, "refers", "shenzhen", 100, seed, "paper", "1" * 64, str(folder),
                          None, ["true"], 0)  # fmt: skip
        runs.add(db, [new])
        runs.change_state(db, id, "running")
    db.conn.close()
    told(rebuilt, "runs")  # takes in what was written
    assert cxrlab(rebuilt, "rebuild").exit_code == 0
    found = cell(rebuilt)
    assert found["value"] == pytest.approx(0.85)
    assert (found["n"], found["others"], found["foreign"]) == (2, 1, False)


def test_the_same_file_again_changes_nothing_and_says_so(brought, file: Path) -> None:
    lab, id = brought
    before = sorted(path.name for path in lab.runs_dir.iterdir())
    for more in (["--source", SOURCE], ["--source", "another word for it"], ["--seed", "1"]):
        result = bring_in(lab, file, *more)
        assert result.exit_code == 0
        assert "nothing changed" in result.stdout
        assert id in result.stdout
    assert sorted(path.name for path in lab.runs_dir.iterdir()) == before


def test_other_predictions_of_one_source_and_seed_are_refused(brought, tmp_path: Path) -> None:
    lab, id = brought
    (tmp_path / "Tuberculosis.txt").write_text("1.0 0.5\n0.0 0.4\n")
    result = bring_in(lab, tmp_path / "Tuberculosis.txt", "--source", SOURCE)
    assert result.exit_code == 2
    assert id in result.stderr


def test_a_bad_line_is_named_and_leaves_nothing_behind(brought, tmp_path: Path) -> None:
    lab, _ = brought
    before = sorted(path.name for path in lab.runs_dir.iterdir())
    (tmp_path / "bad.txt").write_text("1.0 0.5\n0.0 much\n")
    result = bring_in(lab, tmp_path / "bad.txt")
    assert result.exit_code == 4
    assert f"{tmp_path / 'bad.txt'}:2" in result.stderr
    assert sorted(path.name for path in lab.runs_dir.iterdir()) == before


@pytest.mark.parametrize("words", [["--task", "shenzen"], ["--method", "refer"], ["--ratio", "0"]])
def test_a_cell_that_cannot_be_is_refused(words: list[str], brought, file: Path) -> None:
    result = bring_in(brought[0], file, *words)
    assert result.exit_code == (2 if "--ratio" in words else 3)


def test_predictions_told_of_in_another_metric_are_refused_with_both_definitions(
    brought, file: Path
) -> None:
    before = sorted(path.name for path in brought[0].runs_dir.iterdir())
    result = bring_in(brought[0], file, "--metric", "accuracy")
    said = " ".join(result.stderr.split())
    assert result.exit_code == 4
    assert "class is told rightly" in said
    assert "area under the ROC curve" in said
    assert sorted(path.name for path in brought[0].runs_dir.iterdir()) == before
    again = bring_in(brought[0], file, "--metric", "AUROC", "--source", SOURCE)
    assert again.exit_code == 0


def test_every_number_is_shown_with_its_meaning_and_that_its_choice_is_not_told(brought) -> None:
    lab, id = brought
    shown = told(lab, "show", id)
    (number,) = shown["results"]
    assert (number["better"], number["unit"]) == ("higher", "share")
    assert number["averaging"].startswith("macro")
    assert "area under the ROC curve" in number["definition"]
    assert (number["selection"], cell(lab)["selection"]) == ("not told", "not told")
    kept = json.loads((Path(shown["folder"]) / "result.json").read_text())
    assert kept["metrics"]["AUROC"]["definition"] == number["definition"]


def test_a_file_that_is_not_there_ends_with_3(brought, tmp_path: Path) -> None:
    assert bring_in(brought[0], tmp_path / "nowhere.csv").exit_code == 3
