from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from store import artifacts, cells, claims, intake, points, rebuild, results, runs
from store.db import StoreError, open_store
from store.rebuild import NEVER_STARTED


def make_folder(
    runs_dir: Path, new: runs.NewRun, *, pretrained: str = "", attempts: int = 1
) -> Path:
    """A run folder as launcher, runner and trainer leave it, without events."""
    folder = Path(new.folder)
    (folder / "attempts").mkdir(parents=True)
    config = {
        "program": "finetune",
        **{key: getattr(new, key) for key in ("method", "task", "ratio", "seed", "preset")},
        "recipe": new.recipe,
        "pretrained": pretrained,
        "device": "cpu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "command.txt").write_text("# by hand:\nCUDA_VISIBLE_DEVICES='' " + "python 'a b'\n")
    for number in range(1, attempts + 1):
        record = {
            "attempt": number,
            "host": "h",
            "command": new.command,
            "trainer": {"pid": 7, "start": 1},
            "started": 100.0 * number,
            "ended": 100.0 * number + 50,
            "exit_code": 0,
        }
        (folder / "attempts" / f"{number}.json").write_text(json.dumps(record))
    return folder


@pytest.fixture
def runs_dir(tmp_path: Path) -> Path:
    path = tmp_path / "runs"
    path.mkdir()
    return path


@pytest.fixture
def lived(db: Any, runs_dir: Path, new_run: Any, write_events: Any) -> list[str]:
    """A pre-training and the fine-tuning that started from it, as they came about."""
    encoder = str(runs_dir / "aaaaaa-mrm-pretrain-s0" / "checkpoints" / "encoder.pt")
    first = new_run(
        "aaaaaa", task="pretrain", ratio=None, folder=str(runs_dir / "aaaaaa-mrm-pretrain-s0")
    )
    second = new_run(
        "bbbbbb", parent="aaaaaa", seed=3, folder=str(runs_dir / "bbbbbb-mrm-siim-10-s3")
    )
    runs.add(db, [first, second], at=90.0)
    make_folder(runs_dir, first)
    make_folder(runs_dir, second, pretrained=encoder, attempts=2)
    for id, attempt, at in (("aaaaaa", 1, 100.0), ("bbbbbb", 1, 100.0), ("bbbbbb", 2, 200.0)):
        folder = Path(runs.get(db, id).folder)
        assert runs.start_attempt(db, id, at) == attempt
        runs.change_state(db, id, "running", at=at)
        write_events(
            folder,
            {"kind": "start", "step": 2 * attempt - 2, "attempt": attempt, "host": "h", "pid": 7},
            *(
                {"kind": "metrics", "step": step, "values": {"train/loss": step / attempt}}
                for step in range(2 * attempt - 1, 5)
            ),
            {"kind": "warning", "message": "odd", "path": "x.png"},
            {"kind": "checkpoint", "kind_of": "encoder", "path": "checkpoints/encoder.pt"},
            {"kind": "stranger", "x": attempt},
            {"kind": "result", "values": {"test/Dice": 0.5, "val/Dice": 0.25}},
            {"kind": "end", "outcome": "succeeded", "reason": ""},
        )
        intake.take_in(db, id, folder)
        runs.change_state(db, id, "succeeded", at=at + 50)
    return ["bbbbbb", "aaaaaa"]


def told(db: Any, id: str) -> dict[str, Any]:
    """Everything known of a run that its folder speaks of."""
    run = runs.get(db, id)._asdict()
    for name in ("created", "queued", "started", "ended"):
        run.pop(name)
    attempts = [a._replace(started=None, ended=None) for a in results.attempts(db, id)]
    return {
        "run": run,
        "curve": points.curve(db, id, "train/loss"),
        "results": results.of_run(db, id),
        "document": results.document(db, id),
        "artifacts": artifacts.of_run(db, id),
        "warnings": results.warnings(db, id),
        "kept": results.kept_events(db, id),
        "attempts": attempts,
    }


def test_a_registry_made_from_folders_equals_the_one_that_was_lost(
    db: Any, lived: list[str], runs_dir: Path, tmp_path: Path
) -> None:
    new = open_store(tmp_path / "new.db")
    assert rebuild.rebuild(new, runs_dir) == len(lived)
    assert sorted(run.id for run in runs.select(new)) == sorted(lived)
    for id in lived:
        assert told(new, id) == told(db, id)
    assert cells.groups(new) == cells.groups(db)
    assert artifacts.newest_encoder(new, "mrm") == artifacts.newest_encoder(db, "mrm")
    second = runs.get(new, "bbbbbb")
    assert (second.state, second.parent, second.started) == ("succeeded", "aaaaaa", 200.0)
    assert len(told(new, "bbbbbb")["curve"]) == 4


def test_rebuilding_a_registry_that_is_whole_changes_nothing(
    db: Any, lived: list[str], runs_dir: Path
) -> None:
    before = [told(db, id) for id in lived]
    for _ in range(2):
        assert rebuild.rebuild(db, runs_dir) == len(lived)
        assert [told(db, id) for id in lived] == before


def test_rebuilding_mends_rows_that_are_wrong(db: Any, lived: list[str], runs_dir: Path) -> None:
    before = [told(db, id) for id in lived]
    db.conn.execute("delete from points")
    db.conn.execute("update runs set step = 99, state = 'lost', events_offset = 5, parent = null")
    rebuild.rebuild(db, runs_dir)
    assert [told(db, id) for id in lived] == before


def test_what_the_registry_alone_knows_outlives_a_rebuild(
    db: Any, runs_dir: Path, new_run: Any
) -> None:
    first = new_run("aaaaaa", folder=str(runs_dir / "aaaaaa-mrm-siim-10-s0"), priority=4, gpus=2)
    second = new_run(
        "bbbbbb", folder=str(runs_dir / "bbbbbb-mrm-siim-10-s1"), needs=("aaaaaa",), seed=1
    )
    runs.add(db, [first, second], at=1.0)
    for new in (first, second):
        make_folder(runs_dir, new, attempts=0)
    claims.claim(db, "aaaaaa", ["cpu:0"])
    before = [runs.get(db, "aaaaaa"), runs.get(db, "bbbbbb")]
    assert rebuild.rebuild(db, runs_dir) == 2
    assert [runs.get(db, "aaaaaa"), runs.get(db, "bbbbbb")] == before
    assert claims.held(db) == {"cpu:0": "aaaaaa"}


def test_a_run_that_never_started_comes_back_stopped_and_says_why(
    db: Any, runs_dir: Path, new_run: Any
) -> None:
    new = new_run("aaaaaa", folder=str(runs_dir / "aaaaaa-mrm-siim-10-s0"))
    make_folder(runs_dir, new, attempts=0)
    rebuild.rebuild(db, runs_dir)
    run = runs.get(db, "aaaaaa")
    assert (run.state, run.reason, run.attempt) == ("stopped", NEVER_STARTED, 0)
    assert run.command == ["python", "a b"]


def test_a_run_that_never_said_its_end_comes_back_as_running(
    db: Any, runs_dir: Path, new_run: Any, write_events: Any
) -> None:
    new = new_run("aaaaaa", folder=str(runs_dir / "aaaaaa-mrm-siim-10-s0"))
    write_events(make_folder(runs_dir, new), {"kind": "start", "step": 0, "attempt": 1})
    rebuild.rebuild(db, runs_dir)
    run = runs.get(db, "aaaaaa")
    assert (run.state, run.attempt, run.started, run.ended) == ("running", 1, 100.0, None)


def test_a_run_without_a_readable_configuration_is_known_by_its_folders_name(
    db: Any, runs_dir: Path
) -> None:
    (runs_dir / "aaaaaa-deep_mrm-shenzhen_lungs-100-s7").mkdir()
    (runs_dir / "bbbbbb-mrm-pretrain-s2").mkdir()
    (runs_dir / "bbbbbb-mrm-pretrain-s2" / "config.json").write_text("{torn")
    (runs_dir / "cccccc-mrm+hog-siim-10-s0").mkdir()
    assert rebuild.rebuild(db, runs_dir) == 3
    first, second, third = (runs.get(db, id) for id in ("aaaaaa", "bbbbbb", "cccccc"))
    assert first[1:5] == ("deep_mrm", "shenzhen_lungs", 100, 7)
    assert second[1:5] == ("mrm", "pretrain", None, 2)
    assert third[1:5] == ("mrm+hog", "siim", 10, 0)


@pytest.mark.parametrize(
    ("words", "gpus"),
    [
        ("python -P -m torch.distributed.run --standalone --nproc-per-node=4 -m x", 4),
        ("python -m trainers.adapt --log x -- torchrun --nproc_per_node 2 train.py", 2),
        ("python -P -m trainers.finetune --note --nproc-per-node=", 1),
    ],
)
def test_as_many_gpus_are_known_again_as_processes_are_started(
    words: str, gpus: int, db: Any, runs_dir: Path, new_run: Any
) -> None:
    folder = str(runs_dir / "aaaaaa-mrm-siim-10-s0")
    make_folder(runs_dir, new_run("aaaaaa", folder=folder, command=words.split()))
    config = Path(folder, "config.json")
    config.write_text(json.dumps(json.loads(config.read_text()) | {"device": "auto"}))
    rebuild.rebuild(db, runs_dir)
    assert runs.get(db, "aaaaaa").gpus == gpus


def test_folders_that_are_not_named_like_a_run_are_left_alone(db: Any, runs_dir: Path) -> None:
    for name in ("notes", "AAAAAA-mrm-siim-10-s0", "aaaaaa-mrm-siim", "aaaaaa-mrm-siim-10-s0.bak"):
        (runs_dir / name).mkdir()
    (runs_dir / "aaaaaa-mrm-siim-10-s0").write_text("a file")
    assert rebuild.rebuild(db, runs_dir) == 0


def test_an_ended_run_whose_folder_is_gone_is_dropped_and_its_children_stay(
    db: Any, lived: list[str], runs_dir: Path
) -> None:
    folder = runs_dir / "aaaaaa-mrm-pretrain-s0"
    folder.rename(runs_dir.parent / "elsewhere")
    assert rebuild.rebuild(db, runs_dir) == 1
    assert [run.id for run in runs.select(db)] == ["bbbbbb"]
    assert runs.get(db, "bbbbbb").parent is None


def test_a_lab_that_was_moved_finds_its_folders_again(
    db: Any, lived: list[str], runs_dir: Path, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    runs_dir.rename(moved)
    assert rebuild.rebuild(db, moved) == 2
    assert runs.get(db, "aaaaaa").folder == str(moved / "aaaaaa-mrm-pretrain-s0")


def test_a_runs_folder_that_is_not_there_loses_no_rows(
    db: Any, lived: list[str], runs_dir: Path
) -> None:
    with pytest.raises(StoreError, match="is no folder"):
        rebuild.rebuild(db, runs_dir.parent / "unmounted")
    assert runs.count(db) == 2


@pytest.mark.parametrize(
    ("record", "state", "is_open"),
    [
        (None, "queued", True),
        ({"started": 1.0, "ended": None}, "running", True),
        ({"started": 1.0, "ended": 2.0, "requeue": True}, "queued", True),
        ({"started": 1.0, "ended": 2.0, "requeue": False}, "running", False),
    ],
)
def test_the_job_of_a_cluster_is_known_again(
    db: Any, tmp_path: Path, record: dict[str, Any] | None, state: str, is_open: bool
) -> None:
    folder = tmp_path / "runs" / "abc234-mrm-pretrain-s0"
    (folder / "attempts").mkdir(parents=True)
    order = {"token": "cxrlab-abc234-0f", "attempt": 1, "job": "12_3", "nodes": 2, "submitted": 1.5}
    order_file = folder / "slurm.json"
    order_file.write_text(json.dumps({**order, "command": ["python", "a.py"]}))
    if record:
        (folder / "attempts" / "1.json").write_text(json.dumps({"attempt": 1, **record}))
    assert rebuild.rebuild(db, tmp_path / "runs") == 1
    run = runs.get(db, "abc234")
    assert (run.state, run.backend, run.nodes, run.command) == (
        state,
        "slurm",
        2,
        ["python", "a.py"],
    )
    assert run.job == ("12_3" if is_open else None)
