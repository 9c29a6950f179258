"""Runs that MLflow, W&B or a table have kept come in with their curves and settings, once."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, launch
from cxrlab.errors import Usage
from cxrlab.imports import mlflow, tables, wandb
from cxrlab.lab import Lab, make_lab
from store.db import open_store

WANDB = Path(__file__).parent / "wandb"
"""Written by wandb 0.31.0 in offline mode."""

META = """\
artifact_uri: file:///x/mlruns/14/467ae93e/artifacts
end_time: 1795961847697
entry_point_name: ''
experiment_id: '14'
lifecycle_stage: {stage}
run_id: 467ae93e
run_name: a long name a long name a long name a long name a long name a long name
  that goes on
start_time: 1795961847657
status: {status}
tags: []
"""

TABLES = """
create table experiments (experiment_id integer, name text);
create table runs (run_uuid text, name text, status text, start_time int, end_time int,
  lifecycle_stage text, experiment_id int);
create table metrics (key text, value float, timestamp int, run_uuid text, step int, is_nan bool);
create table params (key text, value text, run_uuid text);
create table tags (key text, value text, run_uuid text);
insert into experiments values (1, 'cxr');
insert into runs values ('aa', 'one', 'FINISHED', 1000, 9000, 'active', 1),
  ('bb', 'two', 'RUNNING', 1000, null, 'active', 1), ('cc', 'gone', 'FINISHED', 1, 2, 'deleted', 1);
insert into metrics values ('train/loss', 2.0, 1500, 'aa', 1, 0), ('x', 0.0, 2000, 'aa', 2, 1),
  ('x', 1.7976931348623157e308, 2500, 'aa', 3, 0), ('train/loss', 1.0, 1500, 'bb', 1, 0),
  ('train/loss', 1.0, 1500, 'cc', 1, 0);
insert into params values ('method', 'refers', 'aa'), ('seed', '7', 'aa');
"""


def cxrlab(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def told(lab: Lab, *words: str) -> Any:
    result = cxrlab(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path / "lab")


def store(root: Path, *, status: int = 3, stage: str = "active") -> Path:
    """A file store with one run, as MLflow 3.17 writes it."""
    run = root / "mlruns" / "14" / "467ae93e"
    for folder in ("metrics/train", "params", "tags"):
        (run / folder).mkdir(parents=True)
    (run.parent / "meta.yaml").write_text("experiment_id: '14'\nname: 'it''s: cxr'\n")
    (run / "meta.yaml").write_text(META.format(status=status, stage=stage))
    (run / "metrics/train/loss").write_text("1000 2.0 0\n2000 1.0 1\n3000 0.5 2\n")
    (run / "metrics/x").write_text("1000 nan 3\n2000 inf 4\n")
    (run / "params/method").write_text("mrm")
    (run / "tags/note").write_text("two\nlines")
    return root / "mlruns"


def test_a_run_of_the_file_store_has_its_curves_names_and_settings(tmp_path) -> None:
    (found,) = mlflow.read(store(tmp_path))
    long = "a long name " * 6 + "that goes on"
    assert (found.name, found.origin) == (f"it's: cxr/{long}", "mlflow:467ae93e")
    assert found.curves["train/loss"] == {0: (2.0, 1.0), 1: (1.0, 2.0), 2: (0.5, 3.0)}
    assert math.isnan(found.curves["x"][3][0])
    assert found.settings == {"method": "mrm", "note": "two\nlines"}
    assert (found.began, found.ended, found.unfinished) == (1795961847.657, 1795961847.697, "")


def test_deleted_runs_are_left_out_and_unfinished_ones_are_stopped(lab, tmp_path) -> None:
    assert list(mlflow.read(store(tmp_path / "a", stage="deleted"))) == []
    place = store(tmp_path / "b", status=4)
    (run,) = told(lab, "import", "mlflow", str(place), "--task", "pretrain")
    assert (run["state"], run["method"], run["ratio"]) == ("stopped", "mrm", None)
    assert run["reason"].endswith("; it is failed there")


def test_importing_a_file_store_twice_changes_nothing(lab, tmp_path) -> None:
    words = ("import", "mlflow", str(store(tmp_path)), "--task", "pretrain")
    (first,), (second,) = told(lab, *words), told(lab, *words)
    assert (first["done"], second["done"], first["id"]) == ("new", "unchanged", second["id"])


def test_a_metric_file_that_is_none_is_named_with_its_line(lab, tmp_path) -> None:
    place = store(tmp_path)
    path = place / "14/467ae93e/metrics/x"
    path.write_text("1000 nan 3\nwhat is this\n")
    result = cxrlab(lab, "import", "mlflow", str(place), "--task", "pretrain")
    assert result.exit_code == 4
    assert f"{path}:2" in result.stderr


def test_the_database_gives_its_active_runs(tmp_path) -> None:
    path = tmp_path / "mlflow.db"
    with sqlite3.connect(path) as db:
        db.executescript(TABLES)
    db.close()
    one, two = mlflow.read(path)
    assert (one.name, one.settings) == ("cxr/one", {"method": "refers", "seed": "7"})
    assert one.curves["train/loss"] == {1: (2.0, 1.5)}
    assert math.isnan(one.curves["x"][2][0])
    assert math.isinf(one.curves["x"][3][0])
    assert two.unfinished == "it is running there"


def test_a_file_that_is_no_database_is_exit_4(lab, tmp_path) -> None:
    path = tmp_path / "mlflow.db"
    path.write_text("not at all " * 100)
    assert cxrlab(lab, "import", "mlflow", str(path)).exit_code == 4


def test_an_offline_run_of_wandb_has_its_history_and_settings() -> None:
    (found,) = wandb.read(WANDB)
    assert (found.name, found.origin) == ("cxr/probe <b>&", "wandb:run-io7vv59t")
    loss = {step: value for step, (value, _) in found.curves["train/loss"].items()}
    assert loss == {10: 2.0, 20: 1.0, 30: 2 / 3, 40: 0.5, 50: 0.4}
    assert set(found.curves) == {"train/loss", "epoch", "val/Dice", "grp.x", "bad"}
    assert found.curves["train/loss"][10][1] == pytest.approx(1795961899.4357235)
    assert (found.settings["method"], found.settings["nested"]) == ("mrm", {"a": 1})
    assert (found.unfinished, found.notes) == ("", [])


def test_a_wandb_log_that_a_crash_has_torn_gives_what_came_before(tmp_path) -> None:
    whole = (WANDB / "run-io7vv59t.wandb").read_bytes()
    (tmp_path / "run-x.wandb").write_bytes(whole[:2000])
    (found,) = wandb.read(tmp_path)
    assert set(found.curves["train/loss"]) < {10, 20, 30, 40, 50}
    assert found.unfinished == "it has not ended there"
    assert "torn" in found.notes[0]


def test_a_wandb_run_comes_in_once_by_its_own_settings(lab) -> None:
    (first,) = told(lab, "import", "wandb", str(WANDB))
    (second,) = told(lab, "import", "wandb", str(WANDB))
    assert (first["method"], first["task"], first["seed"]) == ("mrm", "pretrain", 3)
    assert (second["id"], second["done"]) == (first["id"], "unchanged")


def test_a_table_of_lightning_is_read_by_its_column_of_steps(tmp_path) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,step,train_loss,val_loss\n0,9,1.5,\n0,9,,1.25\n1,19,nan,\n\n")
    found = tables.read(path)
    assert found.curves["train_loss"][9] == (1.5, None)
    assert found.curves["val_loss"] == {9: (1.25, None)}
    assert math.isnan(found.curves["train_loss"][19][0])


def test_what_tensorboard_downloads_as_csv_is_read_with_its_times(tmp_path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("Wall time,Step,Value\n1000.5,1,0.5\n1001.5,2,0.25\n")
    assert tables.read(path).curves == {"Value": {1: (0.5, 1000.5), 2: (0.25, 1001.5)}}


@pytest.mark.parametrize(
    ("text", "where"),
    [("loss\n1\n", ":1"), ("step,loss\n1,low\n", ":2"), ("step,loss\n1.5,2\n", ":2")],
)
def test_a_table_that_is_none_is_named_with_its_line(lab, tmp_path, text, where) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    words = ("--method", "mrm", "--task", "pretrain")
    result = cxrlab(lab, "import", "csv", str(path), *words)
    assert result.exit_code == 4
    assert f"{path}{where}" in result.stderr


def test_an_unfinished_run_goes_on_where_it_was_made_and_not_here(lab, tmp_path) -> None:
    place = store(tmp_path, status=1)
    (run,) = told(lab, "import", "mlflow", str(place), "--task", "pretrain")
    result = cxrlab(lab, "resume", run["id"])
    assert (result.exit_code, "made elsewhere" in result.stderr) == (1, True)


def test_a_pretraining_made_elsewhere_is_no_encoder_to_start_from(lab, tmp_path) -> None:
    place = store(tmp_path)
    (run,) = told(lab, "import", "mlflow", str(place), "--task", "pretrain")
    db = open_store(lab.registry)
    try:
        assert launch.pretrainings(db) == []
        with pytest.raises(Usage, match="made elsewhere"):
            launch.pretrained_named(db, run["id"])
    finally:
        db.conn.close()
