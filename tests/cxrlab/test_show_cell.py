"""`cxrlab show CELL` tells what a number is made of, and what else competes for its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import behind, cli, completion
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.lab import Lab
from store import intake, notebook, runs
from trainers.events import EventLog


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "200"})


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("mrm/siim/10", "siim:10:Dice"),
        ("mrm:siim:10", "siim:10:Dice"),
        ("mrm/siim/10/Dice_positive", "siim:10:Dice_positive"),
        ("mrm/report/BLEU-1", "report:100:BLEU-1"),
        ("mrm/covid", "covid:100:AUROC"),
        ("mrm/nih/1/AUROC/Hernia", "nih:1:AUROC/Hernia"),
        ("mrm/pretrain", "pretrain:loss"),
        ("mrm/pretrain/time", "pretrain:time"),
    ],
)
def test_a_cell_is_named_by_method_task_ratio_and_metric(name: str, word: str) -> None:
    method, column = behind.named(name)
    assert (method, column.word) == ("mrm", word)


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("mrn/siim/10", NotFound, "mrm"),
        ("mrm/sim/10", NotFound, "siim"),
        ("mrm/siim", Usage, "mrm/siim/100"),
        ("mrm/siim/10/Dise", Usage, "Dice"),
        ("mrm/", NotFound, "task"),
    ],
)
def test_what_names_no_cell_is_refused(name: str, error: type[CxrlabError], told: str) -> None:
    with pytest.raises(error) as refused:
        behind.named(name)
    assert told in f"{refused.value.message} {refused.value.hint}"


@pytest.fixture
def finish(db: Any, new_run: Any) -> Any:
    """Let a fine-tuning on siim 10 % end well."""

    def end(dice: float, *, val: float = 0.5, lr: float = 1e-3, **asked: Any) -> runs.Run:
        run = new_run(**{"task": "siim", "ratio": 10, **asked})
        folder = Path(run.folder)
        (folder / "config.json").write_text(json.dumps({"lr": lr, "seed": run.seed}))
        made = {"commit": "c0ffee", "uncommitted_changes": True}
        (folder / "provenance.json").write_text(json.dumps(made))
        events = EventLog(folder)
        events.result(
            values={"test/Dice": dice, "val/Dice": val},
            bounds={"test/Dice": [dice - 0.1, dice + 0.1]},
            selected_by="val/Dice",
            checkpoint="checkpoints/best.pt",
            checkpoint_sha256="be" * 32,
            predictions="predictions.npz",
            data={
                "version": "V1",
                "fingerprint": "f" * 64,
                "split_sha256": {"train": "a" * 64, "val": "b" * 64, "test": "d" * 64},
                "lists": [{"path": "/data/train.txt", "sha256": "e" * 64}],
            },
        )
        events.end("succeeded")
        intake.take_in(db, run.id, folder)
        runs.change_state(db, run.id, "succeeded")
        return run

    return end


def test_everything_that_a_number_is_made_of_is_told(
    lab: Lab, db: Any, new_run: Any, finish: Any
) -> None:
    pre = new_run()
    runs.change_state(db, pre.id, "succeeded")
    first = finish(0.70, seed=0, recipe="r", parent=pre.id)
    second = finish(0.74, seed=1, recipe="r", parent=pre.id)
    number = notebook.Number("mrm", "siim", 10, "Dice", "own", 0.7009, "70.09", "n.md", 7,
                             ("`70.09` has no unit",))  # fmt: skip
    notebook.bring_in(db, "n.md", [], [number])
    shown = invoke(lab, "show", "mrm/siim/10")
    assert shown.exit_code == 0, shown.stderr
    for said in (
        "72.0 ±2.8 (2)",
        f"run {first.id}",
        f"run {second.id}",
        "seed 1, 74.0 [64.0, 84.0] 95 %",
        f"checkpoint {second.folder}/checkpoints/best.pt",
        "be" * 32,
        f"predictions {first.folder}/predictions.npz",
        "commit c0ffee with changes",
        "version V1",
        "fingerprint ffffffffffff",
        "split train aaaaaaaaaaaa, test dddddddddddd",
        "list /data/train.txt sha256 eeeeeeeeeeee",
        f"of run {pre.id}",
        "`70.09` (n.md:7, own number); `70.09` has no unit",
        "validates at 0.5000",
    ):
        assert said in shown.stdout, shown.stdout


def test_what_competes_is_told_with_its_differences_and_is_not_averaged(
    lab: Lab, db: Any, new_run: Any, finish: Any
) -> None:
    finish(0.70, seed=0, recipe="r", val=0.9)
    finish(0.90, seed=0, recipe="other", val=0.1, lr=3e-4)
    failed = new_run(task="siim", ratio=10, seed=7)
    runs.change_state(db, failed.id, "failed", reason="no memory")
    told = json.loads(invoke(lab, "show", "mrm:siim:10:Dice", "--json").stdout)
    assert (told["cell"]["value"], told["cell"]["others"]) == (0.7, 1)
    first, second = told["candidates"]
    assert (first["shown"], first["recipe"], first["differs"]) == (True, "r", [])
    assert (second["shown"], second["recipe"], second["value"]) == (False, "other", 0.9)
    assert second["differs"] == ["recipe"]
    assert second["settings"] == [{"name": "lr", "before": 1e-3, "after": 3e-4}]
    assert first["runs"][0]["data"]["split_sha256"]["val"] == "b" * 64
    assert [run["id"] for run in told["uncounted"]] == [failed.id]
    assert first["runs"][0]["id"] == told["cell"]["runs"][0]
    page = invoke(lab, "show", "mrm/siim/10").stdout
    assert "lr 0.0003 (shown: 0.001)" in page
    assert "failed, no memory" in page


def test_a_cell_without_anything_says_so_and_one_that_cannot_be_is_refused(lab: Lab) -> None:
    empty = invoke(lab, "show", "convirt/nih/1")
    assert empty.exit_code == 0
    assert "none yet" in empty.stdout
    assert "BenchX" in empty.stdout  # the paper's number, with its source
    assert invoke(lab, "show", "random/pretrain").exit_code == 3
    assert invoke(lab, "show", "mrm/siim").exit_code == 2


def test_a_cell_outside_the_rows_of_the_settings_can_be_looked_at(lab: Lab) -> None:
    lab.settings_file.write_text('[grid]\nmethods = ["random"]\ncolumns = ["nih"]\n')
    assert invoke(lab, "show", "mrm+hog/siim/1").exit_code == 0


def test_a_run_is_still_shown_by_its_id(lab: Lab, finish: Any) -> None:
    run = finish(0.7)
    assert f"{run.id}  mrm siim 10 % seed" in invoke(lab, "show", run.id[:5]).stdout


def test_cells_are_offered_behind_a_method() -> None:
    class Context:
        def find_root(self) -> Any:
            raise RuntimeError

    offered = [word for word, _ in completion.runs_and_cells(Context(), "mrm/si")]
    assert "mrm/siim/10/Dice" in offered
    assert ("mrm/", "Masked record modelling") in completion.runs_and_cells(Context(), "mr")
    assert completion.runs_and_cells(Context(), "nobody/si") == []
