"""`cxrlab run`: a program of one's own starts in its checkout as it was when it was queued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.agent import Agent
from cxrlab.code import worktree
from cxrlab.lab import Lab
from store import runs
from trainers import copied

PROGRAM = """
import os, sys
from pathlib import Path
import parts.part
print("it says one")
print("part", parts.part.WORD)
print("data", Path("data/list.txt").read_text().strip(), Path("out").resolve())
print("path", os.environ["PYTHONPATH"].split(os.pathsep)[0], os.getcwd())
Path("made_by_it.txt").write_text("x")
"""


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Somebody's repository: source, a link to data, and outputs that git ignores."""
    root = tmp_path / "theirs"
    (root / "parts").mkdir(parents=True)
    (root / "train.py").write_text(PROGRAM)
    (root / "parts" / "part.py").write_text("WORD = 'one'\n")
    (root / ".gitignore").write_text("/data\n/out/\n__pycache__/\n")
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "list.txt").write_text("images\n")
    (root / "data").symlink_to("../dataset")
    (root / "out").mkdir()
    (root / "out" / "old.txt").write_text("")
    (root / "elsewhere").symlink_to("../dataset/list.txt")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-qm", "first")
    (root / "new.py").write_text("")
    monkeypatch.chdir(root)
    path = [str(root), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, path)))
    monkeypatch.setattr("cxrlab.agent.ensure_agent", lambda lab, **extra: None)
    return root


def git(root: Path, *words: str) -> str:
    who = ("-c", "user.name=T", "-c", "user.email=t@example.org")
    line = ["git", "-C", str(root), *who, *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout


def cell(*words: str) -> list[str]:
    return ["run", "--method", "mrm", "--task", "nih", "--ratio", "10", "--gpus", "cpu", *words]


def invoke(lab: Lab, *words: str) -> Any:
    return CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words], env={"COLUMNS": "120"})


def queued(lab: Lab, db: Any, *words: str) -> runs.Run:
    result = invoke(lab, *cell("--json", *words))
    assert result.exit_code == 0, result.stderr
    return runs.get(db, json.loads(result.stdout)[0]["id"])


def ended(lab: Lab, run: runs.Run, wait_for_state: Any) -> dict[str, list[str]]:
    """Run it to its end, and return what it said, by the first word of each line."""
    Agent(lab, idle_s=1.0).one_pass()
    log = Path(run.folder) / "log.txt"
    assert wait_for_state(run.id, *runs.ENDED).state == "succeeded", log.read_text()
    return {line.split()[0]: line.split()[1:] for line in log.read_text().splitlines() if line}


def test_what_is_edited_after_queueing_does_not_reach_a_program_in_a_checkout(
    lab: Lab, db: Any, theirs: Path, wait_for_state: Any
) -> None:
    run = queued(lab, db, "--", sys.executable, str(theirs / "train.py"))
    (theirs / "train.py").write_text("raise SystemExit('edited')")
    (theirs / "parts" / "part.py").write_text("WORD = 'two'\n")
    said = ended(lab, run, wait_for_state)
    copy = Path(run.folder) / "code"
    assert said["part"] == ["one"]
    assert said["data"] == ["images", str(theirs / "out")]
    assert said["path"] == [str(copy), str(copy)]
    assert (copy / "made_by_it.txt").exists()
    assert not (theirs / "made_by_it.txt").exists()
    assert (copy / "elsewhere").read_text() == "images\n"


def test_unfrozen_a_program_starts_where_it_was_queued(
    lab: Lab, db: Any, theirs: Path, wait_for_state: Any
) -> None:
    run = queued(lab, db, "--no-freeze", "--", sys.executable, "train.py")
    assert not (Path(run.folder) / "code").exists()
    assert ended(lab, run, wait_for_state)["path"] == [str(theirs), str(theirs)]
    assert "as it was when it started" in invoke(lab, "show", run.id).stdout


def test_commit_changes_and_versions_are_recorded(
    lab: Lab, db: Any, theirs: Path, wait_for_state: Any
) -> None:
    (theirs / "parts" / "part.py").write_text("WORD = 'uncommitted'\n")
    run = queued(lab, db, "--freeze", "--", sys.executable, "train.py")
    before = git(theirs, "rev-parse", "HEAD").strip()
    git(theirs, "add", ".")
    git(theirs, "commit", "-qm", "second")
    ended(lab, run, wait_for_state)
    made = json.loads((Path(run.folder) / "provenance.json").read_text())
    assert (made["commit"], made["uncommitted_changes"]) == (before, True)
    assert made["packages"]["pytest"] == pytest.__version__
    assert {"python", "gpus", "driver", "host"} <= made.keys()
    assert "uncommitted" in (Path(run.folder) / "diff.patch").read_text()
    assert f"commit {before[:12]}" in invoke(lab, "show", run.id).stdout


def test_where_it_was_copied_to_makes_no_other_recipe(lab: Lab, db: Any, theirs: Path) -> None:
    line = ["--", sys.executable, "train.py"]
    frozen, again = queued(lab, db, "--freeze", *line), queued(lab, db, "--freeze", *line)
    live = queued(lab, db, "--no-freeze", "--seed", "1", *line)
    assert frozen.id == again.id
    assert frozen.recipe == live.recipe
    assert len(list(lab.runs_dir.iterdir())) == 2


def test_a_rerun_starts_in_a_copy_of_the_copy(
    lab: Lab, db: Any, theirs: Path, wait_for_state: Any
) -> None:
    first = queued(lab, db, "--freeze", "--", sys.executable, "train.py")
    ended(lab, first, wait_for_state)
    (theirs / "train.py").write_text("raise SystemExit('edited')")
    told = json.loads(invoke(lab, "rerun", first.id, "--json").stdout)
    second = runs.get(db, told["id"])
    assert not (Path(second.folder) / "code" / "made_by_it.txt").exists()
    assert ended(lab, second, wait_for_state)["path"][0] == f"{second.folder}/code"
    (Path(first.folder) / "code" / "train.py").write_text("")
    refused = invoke(lab, "rerun", first.id)
    assert (refused.exit_code, "has been changed" in refused.stderr) == (1, True)


def test_what_is_no_source_is_refused_before_anything_is_queued(
    lab: Lab, db: Any, theirs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["run", "--method", "mrm", "--task", "pretrain", "--freeze", "--", "true"]
    large(theirs / "weights.pth", worktree.LARGEST + 1)
    git(theirs, "add", "weights.pth")
    result = invoke(lab, *words)
    assert result.exit_code == 2
    assert "weights.pth (50.0 MiB)" in result.stderr
    assert ".gitignore" in result.stderr
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "bare").mkdir()
    monkeypatch.chdir(tmp_path / "bare")
    outside = invoke(lab, *words)
    assert (outside.exit_code, "no git checkout" in outside.stderr) == (2, True)
    assert runs.count(db) == 0
    assert list(lab.runs_dir.iterdir()) == []


def large(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


def test_queueing_says_what_will_be_executed(lab: Lab, theirs: Path) -> None:
    line = ["--", sys.executable, "train.py"]
    frozen = invoke(lab, *cell("--dry-run", *line)).stderr
    assert f"a copy of {theirs} as it is now (5 files, " in frozen
    assert "`--no-freeze`" in frozen
    live = f"it executes {theirs} as it will be when it starts"
    assert live in invoke(lab, *cell("--no-freeze", "--dry-run", *line)).stderr
    large(theirs / "weights.pth", worktree.LARGEST)
    git(theirs, "add", "weights.pth")
    told = invoke(lab, *cell("--dry-run", *line)).stderr
    assert f"{live}: the checkout at {theirs} takes 50.0 MiB" in told
    assert "weights.pth (50.0 MiB)" in told


def ignored(theirs: Path, tmp_path: Path) -> Path:
    return theirs / "out"


def outside(theirs: Path, tmp_path: Path) -> Path:
    return tmp_path


def crowded(theirs: Path, tmp_path: Path) -> Path:
    (theirs / "labels").mkdir()
    for number in range(worktree.MOST_NEW):
        (theirs / "labels" / f"{number}.txt").touch()
    return theirs


@pytest.mark.parametrize(
    ("place", "why"),
    [
        (ignored, "is ignored by the git checkout at"),
        (outside, "is in no git checkout"),
        (crowded, "has 501 files that git does not know of, more than 500"),
    ],
)
def test_where_source_is_not_told_from_data_it_is_not_frozen_and_says_why(
    lab: Lab, db: Any, theirs: Path, tmp_path: Path, monkeypatch: Any, place: Any, why: str
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(place(theirs, tmp_path))
    result = invoke(lab, *cell("--", "true"))
    assert result.exit_code == 0
    assert why in result.stderr
    (run,) = runs.select(db)
    assert not (Path(run.folder) / "code").exists()
    assert invoke(lab, *cell("--freeze", "--again", "--", "true")).exit_code == 2


def test_what_is_no_source_is_found_where_it_was(
    lab: Lab, db: Any, theirs: Path, tmp_path: Path
) -> None:
    large(theirs / "weights.pth", worktree.LARGEST_NEW + 1)
    (theirs / "work" / "logs").mkdir(parents=True)
    git(theirs, "init", "-q", "inner")
    (theirs / "inner" / "code.py").touch()
    run = queued(lab, db, "--", sys.executable, "train.py")
    copy = Path(run.folder) / "code"
    for name in ("weights.pth", "data", "out", "inner"):
        assert (copy / name).resolve() == (theirs / name).resolve()
    assert (copy / "work" / "logs").is_dir()
    assert not (copy / "work").is_symlink()
    assert not (copy / "train.py").is_symlink()
    assert "weights.pth" not in (Path(run.folder) / "diff.patch").read_text()


def test_a_lab_in_the_checkout_is_no_part_of_it(
    lab: Lab, db: Any, theirs: Path, tmp_path: Path
) -> None:
    (theirs / ".git").rename(tmp_path / "git of theirs")
    for words in (["init", "-q"], ["add", "theirs/train.py"], ["commit", "-qm", "first"]):
        git(tmp_path, *words)
    first = queued(lab, db, "--", sys.executable, "train.py")
    again = queued(lab, db, "--again", "--", sys.executable, "train.py")
    copy = Path(again.folder) / "code"
    assert (copy / "theirs" / "train.py").is_file()
    assert (copy / "lab" / "runs" / Path(first.folder).name).samefile(first.folder)
    assert (copy / "lab" / ".cxrlab").is_symlink()


def test_paths_of_the_checkout_are_turned_to_its_copy(tmp_path: Path) -> None:
    note = {"within": "sub", "files": ["a/b.py", "c.py"], "linked": ["out"]}
    copy = copied.Copy(Path("/repo"), tmp_path / "code", note)
    words = ["/repo/c.py", "/repo/a", "/repo", "/repo/out/x", "/repository/c.py", "c.py"]
    place = str(copy.place)
    assert copy.moved(words) == [
        f"{place}/c.py", f"{place}/a", place, "/repo/out/x", "/repository/c.py", "c.py",
    ]  # fmt: skip
    assert copy.search_path(os.pathsep.join(["/repo/a", "/lib"])) == f"{place}/a{os.pathsep}/lib"
    assert copy.folder(Path("/repo/new")) == copy.place / "new"
    assert copy.folder(Path("/repo/out/log")) == Path("/repo/out/log")
    assert copy.folder(Path("/away")) == Path("/away")


def test_a_copy_is_not_renewed_by_halves(lab: Lab, db: Any, theirs: Path) -> None:
    run = queued(lab, db, "--freeze", "--", sys.executable, "train.py")
    assert invoke(lab, "stop", run.id).exit_code == 0
    refused = invoke(lab, "resume", run.id, "--fresh-code")
    assert (refused.exit_code, "does not renew" in refused.stderr) == (2, True)
    assert invoke(lab, "resume", run.id).exit_code == 0
