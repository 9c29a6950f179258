"""What is written of a run's curves is read by TensorBoard, and by this program again."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.exports import mlflow
from cxrlab.imports import mlflow as reading
from cxrlab.imports import tensorboard, wandb
from cxrlab.lab import Lab, make_lab
from store import intake, points, runs
from trainers import framing
from trainers.events import EventLog

LOSS = {1: 2.5, 2: 2.0, 3: math.nan, 4: 1.0}


def cxrlab(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def told(lab: Lab, *words: str) -> Any:
    result = cxrlab(lab, *words, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def run(lab: Lab, db: Any, new_run: Any) -> runs.Run:
    """A finished run with two curves, whose second attempt went on from step 2."""
    made = new_run(task="nih", ratio=10, preset="paper")
    events = EventLog(Path(made.folder))
    events.write("start", t=1000.0, step=0, attempt=1, total_steps=4)
    for step in (1, 2, 3):
        values = {"train/loss": 2.5 if step == 1 else 9.0}
        events.write("metrics", t=1000.0 + step, step=step, epoch=0.1, values=values)
    events.write("start", t=2000.0, step=1, attempt=2, total_steps=4)
    for step in (2, 3, 4):
        values = {"train/loss": LOSS[step]} | ({"val/AUROC": 0.75} if step == 4 else {})
        events.write("metrics", t=2000.0 + step, step=step, epoch=0.2, values=values)
    events.result(values={"test/AUROC": 0.8, "test/AUROC/Hernia": 0.7}, selected_by="val/AUROC")
    events.end("succeeded")
    events.close()
    (Path(made.folder) / "config.json").write_text('{"lr": 0.001, "task": {"px": 448}}')
    intake.take_in(db, made.id, Path(made.folder))
    runs.change_state(db, made.id, "succeeded")
    return runs.get(db, made.id)


def same(ours: dict[int, float], theirs: dict[int, float]) -> bool:
    return ours.keys() == theirs.keys() and all(
        ours[step] == theirs[step] or (math.isnan(ours[step]) and math.isnan(theirs[step]))
        for step in ours
    )


def test_tensorboard_reads_every_point_with_its_time(lab, run, tmp_path) -> None:
    (said,) = told(lab, "curves", run.id, "--format", "tensorboard", "--out", str(tmp_path / "tb"))
    assert (said["points"], said["curves"]) == (5, ["train/loss", "val/AUROC"])
    read = EventAccumulator(str(Path(said["file"]).parent), size_guidance={"scalars": 0})
    read.Reload()
    events = read.Scalars("train/loss")
    assert same({event.step: event.value for event in events}, LOSS)
    assert [event.wall_time for event in events] == [1001.0, 2002.0, 2003.0, 2004.0]
    assert [event.value for event in read.Scalars("test/AUROC")] == [pytest.approx(0.8)]
    assert run.id in read.Tensors("cxrlab/run")[0].tensor_proto.string_val[0].decode()


def test_a_table_has_a_line_for_each_step(lab, run) -> None:
    result = cxrlab(lab, "curves", run.id)
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert same({int(row["step"]): float(row["train/loss"]) for row in rows}, LOSS)
    assert [row["val/AUROC"] for row in rows] == ["", "", "", "0.75"]
    assert [float(row["time"]) for row in rows] == [1001.0, 2002.0, 2003.0, 2004.0]


def test_mlflow_gets_a_run_of_plain_files(lab, run, tmp_path) -> None:
    words = ("curves", run.id, "--format", "mlflow", "--out", str(tmp_path / "mlruns"))
    (said,) = told(lab, *words)
    folder = Path(said["file"])
    assert (folder / "metrics/train/loss").read_text().splitlines() == [
        "1001000 2.5 1", "2002000 2.0 2", "2003000 nan 3", "2004000 1.0 4",
    ]  # fmt: skip
    assert (folder / "params/task.px").read_text() == "448"
    assert "status: 3\n" in (folder / "meta.yaml").read_text()
    assert told(lab, *words) == [said]
    assert [path.name for path in (tmp_path / "mlruns").iterdir()] == [mlflow.EXPERIMENT_ID]


def test_a_metric_that_would_be_anothers_folder_is_called_otherwise_and_back(
    lab, run, tmp_path
) -> None:
    told(lab, "curves", run.id, "--format", "mlflow", "--out", str(tmp_path))
    (found,) = reading.read(tmp_path)
    assert list(tmp_path.glob("*/*/metrics/test/AUROC.Hernia"))
    assert found.curves["test/AUROC"] == {4: (0.8, 2004.0)}
    assert found.curves["test/AUROC/Hernia"] == {4: (0.7, 2004.0)}


@pytest.mark.parametrize("form", ["tensorboard", "mlflow", "wandb"])
def test_what_was_exported_is_known_here_and_comes_in_elsewhere(lab, run, tmp_path, form) -> None:
    told(lab, "curves", run.id, "--format", form, "--out", str(tmp_path / "out"))
    (here,) = told(lab, "import", form, str(tmp_path / "out"))
    assert (here["id"], here["done"]) == (run.id, "own")
    other = make_lab(tmp_path / "other")
    (there,) = told(other, "import", form, str(tmp_path / "out"))
    names = ("method", "task", "ratio", "seed")
    assert [there[name] for name in names] == [getattr(run, name) for name in names]
    assert (there["foreign"], there["done"]) == (True, "new")


def test_a_table_that_was_exported_comes_in_with_every_point(lab, db, run, tmp_path) -> None:
    (said,) = told(lab, "curves", run.id, "--out", str(tmp_path))
    words = ("--method", "mrm", "--task", "nih", "--ratio", "10")
    (back,) = told(lab, "import", "csv", said["file"], *words)
    assert list(points.every(db, back["id"])) == list(points.every(db, run.id))


def test_the_event_file_is_the_same_each_time(lab, run, tmp_path) -> None:
    words = ("curves", run.id, "--format", "tensorboard", "--out", str(tmp_path))
    (said,) = told(lab, *words)
    before = Path(said["file"]).read_bytes()
    assert told(lab, *words) == [said]
    assert Path(said["file"]).read_bytes() == before
    assert len(list(tensorboard.read(tmp_path))) == 1


def test_a_log_of_wandb_comes_back_with_every_point_and_time(lab, run, tmp_path) -> None:
    (said,) = told(lab, "curves", run.id, "--format", "wandb", "--out", str(tmp_path))
    (found,) = wandb.read(tmp_path)
    loss = {step: value for step, (value, _) in found.curves["train/loss"].items()}
    assert same(loss, LOSS)
    assert [t for _, t in found.curves["train/loss"].values()] == [1001.0, 2002.0, 2003.0, 2004.0]
    assert (found.settings["task.px"], found.unfinished) == (448, "")
    assert Path(said["file"]).parent.name.startswith("offline-run-")


@given(st.lists(st.integers(0, 100_000), max_size=6))
def test_a_log_is_cut_into_blocks_and_put_together_again(tmp_path_factory, sizes) -> None:
    contents = [bytes([number % 256]) * size for number, size in enumerate(sizes)]
    path = tmp_path_factory.mktemp("log") / "run-a.wandb"
    path.write_bytes(framing.wandb_log(contents))
    complaints: list[str] = []
    with path.open("rb") as file:
        assert list(framing.wandb_records(file, complaints.append)) == contents
    assert not complaints


def test_files_need_a_place(lab, run) -> None:
    result = cxrlab(lab, "curves", run.id, "--format", "mlflow")
    assert (result.exit_code, "--out DIR" in result.stderr) == (2, True)
