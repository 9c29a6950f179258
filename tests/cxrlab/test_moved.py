"""A lab that was moved goes on where it lies; a copy of one leaves the original alone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, moved, refresh
from cxrlab.backends import local
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import steering
from store import home, queue, rebuild, runs
from store.db import open_store, writing

Make = Callable[..., runs.Run]


@pytest.fixture
def known(lab: Lab, db: Any) -> Lab:
    """The lab, once opened where it lies."""
    assert moved.settle(lab, db) == ""
    assert home.root_of(db) == str(lab.root)
    return lab


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])


def elsewhere(lab: Lab, way: Callable[[Path, Path], Any]) -> tuple[Lab, Any]:
    """Move or copy a lab, and return it with its registry open; nothing is settled yet."""
    there = find_lab(Path(way(lab.root, lab.root.with_name("other"))))
    return there, open_store(there.registry)


def test_a_moved_lab_finds_its_runs_where_it_lies_now(known: Lab, db: Any, new_run: Make) -> None:
    run = new_run(command=["python", "--output_dir", "", "--pretrained=", "--data_path", "/d"])
    with writing(db):
        words = (
            f'["python", "--output_dir", "{run.folder}", "--pretrained={run.folder}/best.pt", '
            f'"--data_path", "/data{known.root}/siim", "--lab", "{known.root}"]'
        )
        db.conn.execute("update runs set command = ? where id = ?", (words, run.id))
    waiting = new_run()
    db.conn.close()
    there, now = elsewhere(known, shutil.move)
    said = " ".join(invoke(there, "runs").stderr.split())
    assert f"this lab was moved from {known.root}: its 2 runs are found here" in said
    found = runs.get(now, run.id)
    folder = str(there.root / "runs" / Path(run.folder).name)
    assert found.folder == folder
    assert found.command == [
        "python",
        "--output_dir",
        folder,
        f"--pretrained={folder}/best.pt",
        "--data_path",
        f"/data{known.root}/siim",  # lies outside, though it holds the lab's path
        "--lab",
        str(there.root),
    ]
    assert runs.get(now, waiting.id).held is None
    assert "moved" not in invoke(there, "runs").stderr
    now.conn.close()


def test_removing_a_run_of_a_copy_leaves_the_original_its_folder(
    known: Lab, db: Any, new_run: Make
) -> None:
    run = new_run()
    (Path(run.folder) / "log.txt").write_text("an hour's work\n")
    runs.change_state(db, run.id, "failed")
    there, now = elsewhere(known, shutil.copytree)
    assert invoke(there, "rm", "--yes", run.id).exit_code == 0
    assert not (there.root / "runs" / Path(run.folder).name).exists()
    assert (Path(run.folder) / "log.txt").read_text() == "an hour's work\n"
    now.conn.close()


def test_a_copy_holds_what_waits_and_lets_what_runs_go_on_in_the_original_alone(
    known: Lab, db: Any, new_run: Make, trainer: Make, begin: Make, wait_for_state: Make
) -> None:
    folder = str(known.runs_dir / "buqxz5-mrm-pretrain-s0")
    running = begin(
        trainer("--fake_steps", "100000", "--fake_step_s", "0.02", id="buqxz5", folder=folder)
    )
    waiting = new_run()
    there, now = elsewhere(known, shutil.copytree)
    said = moved.settle(there, now)
    assert "1 that waited are held" in said
    assert "1 that were running go on there alone" in said
    assert runs.get(now, waiting.id).held is not None
    copy = runs.get(now, running.id)
    assert (copy.state, copy.reason) == (
        "stopped",
        f"goes on in {known.root}; this lab is a copy of it",
    )
    rebuild.rebuild(now, there.runs_dir)  # which goes by the folders
    refresh.refresh(there, now)
    assert runs.get(now, running.id).state != "running"
    assert local.ask_to_stop(Path(copy.folder), copy.attempt) == "nobody"
    steering.stop(known, db, runs.get(db, running.id))
    assert wait_for_state(running.id, *runs.ENDED).state == "stopped"
    assert runs.get(db, waiting.id).held is None
    now.conn.close()


def test_a_copy_of_a_lab_that_never_said_where_it_lies_is_known_by_its_runs(
    lab: Lab, db: Any, new_run: Make
) -> None:
    waiting = new_run()
    there, now = elsewhere(lab, shutil.copytree)
    assert home.root_of(now) == ""
    assert f"is a copy of {lab.root}: its 1 run is found here" in moved.settle(there, now)
    assert runs.get(now, waiting.id).folder.startswith(f"{there.root}/")
    assert runs.get(now, waiting.id).held is not None
    now.conn.close()


def test_a_lab_under_another_name_is_no_other_lab(
    known: Lab, db: Any, new_run: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = new_run()
    link = known.root.with_name("link")
    link.symlink_to(known.root)
    assert moved.settle(Lab(link, known.settings), db) == ""
    assert runs.get(db, run.id).folder == run.folder


def test_of_many_that_open_a_moved_lab_one_moves_its_runs(
    known: Lab, db: Any, new_run: Make
) -> None:
    new_run()
    db.conn.close()
    there, now = elsewhere(known, shutil.move)
    assert home.rehome(now, str(there.root), copied=False) is not None
    assert home.rehome(now, str(there.root), copied=False) is None
    assert queue.waiting(now)[0].folder.startswith(str(there.root))
    now.conn.close()
