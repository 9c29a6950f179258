from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, launch, plan, runner
from cxrlab.code import frozen
from cxrlab.errors import NotFound
from cxrlab.lab import Lab, find_lab
from cxrlab.queueing import steering
from store import runs
from trainers import commit, source

LONG = ("fake_steps", "100000"), ("fake_step_s", "0.05")


def said(run: runs.Run) -> list[str]:
    log = (Path(run.folder) / "log.txt").read_text()
    return [line.split()[-1] for line in log.splitlines() if line.startswith("the code says")]


def queued(lab: Lab, db: Any, *overrides: tuple[str, str], seed: int = 0) -> runs.Run:
    wants = plan.wanted(["mrm"], [], seeds=[seed], preset="quick", overrides=overrides)
    (made,) = launch.carry_out(lab, db, plan.plan(wants, []), gpus=0)
    return runs.get(db, made.id)


def copies(lab: Lab) -> list[Path]:
    return sorted(lab.code_dir.glob("[!.]*"))


def test_what_is_edited_after_queueing_reaches_no_attempt_unless_asked_for(
    lab: Lab, db: Any, checkout: Any, begin: Any, wait_for_state: Any
) -> None:
    checkout.edit("one")
    run = queued(lab, db, *LONG)
    checkout.edit("two")
    begin(run)
    steering.stop(lab, db, runs.get(db, run.id))
    assert said(run) == ["one"]
    begin(steering.resume(lab, db, runs.get(db, run.id)))
    steering.stop(lab, db, runs.get(db, run.id))
    assert said(run) == ["one"] * 2
    begin(steering.retry(lab, db, runs.get(db, run.id), fresh_code=True))
    steering.stop(lab, db, runs.get(db, run.id))
    assert said(run) == ["one", "one", "one", "two"]
    told = frozen.facts(Path(run.folder))
    assert told is not None
    assert (told["attempt"], told["before"][0]["attempt"]) == (3, 1)
    assert len(copies(lab)) == 2


def test_what_is_edited_in_the_settings_after_queueing_changes_nothing(
    lab: Lab, db: Any, begin: Any, wait_for_state: Any
) -> None:
    run = queued(lab, db)
    before = json.loads((Path(run.folder) / "config.json").read_text())
    other = lab.settings_file.read_text().replace("threads = 1", "threads = 2")
    other = other.replace("fake_trainer.py", "no_trainer.py").replace("mimic_cxr", "elsewhere")
    lab.settings_file.write_text(other.replace("data.elsewhere", "data.mimic_cxr"))
    assert find_lab(lab.root).settings.launch.threads == 2
    begin(run)
    wait_for_state(run.id, "succeeded")
    assert json.loads((Path(run.folder) / "config.json").read_text()) == before


def test_runs_of_one_content_share_one_copy(lab: Lab, db: Any, checkout: Any) -> None:
    first, second = queued(lab, db, seed=0), queued(lab, db, seed=1)
    checkout.edit("two")
    third = queued(lab, db, seed=2)
    digests = [source.note(Path(run.folder))["digest"] for run in (first, second, third)]
    assert digests[0] == digests[1] != digests[2]
    assert [copy.name for copy in copies(lab)] == sorted({d[:16] for d in digests})
    for copy in copies(lab):
        assert source.digest(copy / "trainers")[:16] == copy.name


def test_a_copy_goes_with_the_last_run_that_names_it(lab: Lab, db: Any, checkout: Any) -> None:
    first, second = queued(lab, db, seed=0), queued(lab, db, seed=1)
    checkout.edit("two")
    third = queued(lab, db, seed=2)
    steering.remove(lab, db, first)
    assert len(copies(lab)) == 2
    steering.remove(lab, db, second)
    assert [copy.name for copy in copies(lab)] == [source.note(Path(third.folder))["digest"][:16]]


def test_what_is_there_already_leaves_no_copy_behind(lab: Lab, db: Any, checkout: Any) -> None:
    run = queued(lab, db)
    checkout.edit("two")
    assert queued(lab, db).id == run.id
    assert len(copies(lab)) == 1


def test_commit_and_changes_are_those_of_the_moment_of_queueing(
    lab: Lab, db: Any, checkout: Any, begin: Any, wait_for_state: Any
) -> None:
    checkout.edit("one")
    (checkout.package / "new.py").write_text("FRESH = 1\n")
    (checkout.root / "elsewhere.txt").write_text("no source\n")
    before = checkout.git("rev-parse", "HEAD").strip()
    run = queued(lab, db)
    checkout.git("commit", "-qam", "second")
    note = source.note(Path(run.folder))
    assert (note["commit"], note["uncommitted_changes"]) == (before, True)
    patch = (Path(run.folder) / "diff.patch").read_text()
    assert "FRESH = 1" in patch
    assert "no source" not in patch
    checkout.git("reset", "-q", "--hard", before)
    (checkout.package / "new.py").unlink()
    checkout.git("apply", str(Path(run.folder) / "diff.patch"))
    assert source.digest(checkout.package) == note["digest"]


def test_code_outside_git_is_frozen_too(
    lab: Lab, db: Any, checkout: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(checkout.root / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(checkout.root.parent))
    note = source.note(Path(queued(lab, db).folder))
    assert (note["commit"], note["repository"], note["uncommitted_changes"]) == (None, "", False)
    assert len(copies(lab)) == 1


def test_what_queues_says_where_else_code_is_found(
    lab: Lab, db: Any, checkout: Any, tmp_path: Path, monkeypatch: Any, begin: Any
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'libraries'}:")
    run = queued(lab, db, *LONG)
    monkeypatch.undo()
    begin(run)
    attempt = json.loads(runner.record_path(Path(run.folder), 1).read_text())
    environment = Path(f"/proc/{attempt['trainer']['pid']}/environ").read_bytes().split(b"\0")
    expected = f"PYTHONPATH={copies(lab)[0]}:{tmp_path / 'libraries'}"
    assert expected.encode() in environment
    steering.stop(lab, db, runs.get(db, run.id))


def test_code_that_is_gone_is_said_and_todays_can_be_taken(
    lab: Lab, db: Any, checkout: Any, begin: Any, wait_for_state: Any
) -> None:
    run = queued(lab, db)
    shutil.rmtree(copies(lab)[0])
    begin(run)
    run = wait_for_state(run.id, "failed")
    assert "the code that the run was queued with is gone" in run.reason
    with pytest.raises(NotFound, match="gone") as caught:
        steering.retry(lab, db, run)
    assert "--fresh-code" in caught.value.hint
    begin(steering.retry(lab, db, run, fresh_code=True))
    wait_for_state(run.id, "succeeded")


def test_a_lab_that_was_moved_finds_its_code(lab: Lab, db: Any, tmp_path: Path) -> None:
    run = queued(lab, db)
    moved = tmp_path / "moved"
    shutil.copytree(lab.root, moved)
    shutil.rmtree(lab.code_dir)
    path = runner.search_path(moved / "runs" / Path(run.folder).name)
    assert path is not None
    assert path.startswith(str(moved / ".cxrlab" / "code"))


def test_many_at_once_make_one_whole_copy(lab: Lab) -> None:
    code = (
        "import sys; from pathlib import Path; from cxrlab.code import frozen; "
        "from cxrlab.lab import find_lab; print(frozen.freeze(find_lab(Path(sys.argv[1]))).digest)"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(lab.root)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(6)
    ]
    digests = {racer.communicate(timeout=900)[0].strip() for racer in racers}
    assert digests == {source.digest(source.PACKAGE)}
    (copy,) = copies(lab)
    assert source.digest(copy / "trainers") in digests
    assert list(lab.code_dir.glob(".*")) == []


def test_show_names_the_code_and_the_commands_take_todays(
    lab: Lab, db: Any, checkout: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    run = queued(lab, db)
    checkout.edit("two")
    steering.stop(lab, db, run)

    def invoke(*words: str) -> Any:
        return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})

    result = invoke("resume", run.id, "--fresh-code")
    assert result.exit_code == 0, result.stderr
    assert "today's code" in result.stderr
    shown = json.loads(invoke("show", run.id, "--json").stdout)["code"]
    assert shown["digest"] == source.digest(checkout.package)
    assert len(shown["before"]) == 1
    assert "code" in invoke("show", run.id).stdout


def test_new_files_are_part_of_the_difference_where_wanted(checkout: Any) -> None:
    (checkout.package / "new.bin").write_bytes(bytes(range(256)))
    assert commit.of(checkout.package).diff == ""
    assert "new.bin" in commit.of(checkout.package, with_new=True).diff


def test_a_program_of_ones_own_does_not_see_the_trainers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.pathsep.join([str(source.PACKAGE.parent), "/libraries"])
    words = [sys.executable, "-P", "-m", "trainers.adapt", "--output_dir", str(tmp_path / "run"),
             "--method", "mrm", "--task", "pretrain", "--", sys.executable, "-c",
             "import os; print(os.environ['PYTHONPATH'])"]  # fmt: skip
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "/libraries"


def test_a_note_of_others_names_nothing_to_execute_and_nothing_to_remove(
    lab: Lab, db: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = queued(lab, db)
    note = Path(run.folder) / source.NOTE
    said = json.loads(note.read_text())
    (lab.root / ".cxrlab" / "code" / "x").mkdir()
    for digest in ("../../runs", "x", "0" * 63, 7):
        note.write_text(json.dumps(said | {"digest": digest}))
        assert frozen.named(Path(run.folder)) == set()
    note.write_text(json.dumps(said | {"commit": "--upload-pack=evil"}))
    assert frozen.noted(Path(run.folder)) is None
    note.write_text(json.dumps(said))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    others = os.stat_result((0o100644, 0, 0, 1, 54321, *[0] * 5))
    monkeypatch.setattr(Path, "lstat", lambda path: others)
    with pytest.raises(PermissionError, match="not yours"):
        runner.search_path(Path(run.folder))


def test_a_note_that_is_a_pipe_or_a_link_says_nothing(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / source.NOTE)
    assert source.note(tmp_path) == {}
    (tmp_path / source.NOTE).unlink()
    (tmp_path / "other.json").write_text(json.dumps({"digest": "0" * 64}))
    (tmp_path / source.NOTE).symlink_to("other.json")
    assert source.note(tmp_path) == {}
    with pytest.raises(PermissionError):
        runner.search_path(tmp_path)


def test_copies_are_readable_by_those_alone_that_the_lab_says(lab: Lab, db: Any) -> None:
    queued(lab, db)
    (copy,) = copies(lab)
    for path in (lab.code_dir, copy, copy / "trainers", copy / "trainers" / "loop.py"):
        assert path.stat().st_mode & 0o077 == 0
    assert (copy / "trainers" / "loop.py").stat().st_mode & 0o222 == 0
