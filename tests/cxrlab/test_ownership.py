"""A lab of somebody else is read, with a word about it, and nothing in it is written or run."""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli, ownership
from cxrlab.lab import Lab, make_lab
from store import notes, runs
from store.db import open_read_only, open_store

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534

READING = [
    ("runs",), ("show", "RUN"), ("logs", "RUN"), ("logs", "RUN", "-f"), ("grid",), ("queue",),
    ("note",), ("todo",), ("export", "--format", "csv"), ("gpus",), ("agent", "status"),
    ("gap",), ("forecast",), ("doctor",),
]  # fmt: skip

CHANGING = [
    ("launch", "mrm", "--task", "siim"),
    ("launch", "mrm", "--task", "siim", "--dry-run"),
    ("fill", "--dry-run"),
    ("run", "--method", "mrm", "--task", "pretrain", "--", "true"),
    ("stop", "RUN"), ("resume", "RUN"), ("retry", "RUN"), ("clone", "RUN"), ("rm", "RUN", "--yes"),
    ("rerun", "RUN"), ("queue", "hold", "RUN"), ("note", "a note"), ("todo", "a point"),
    ("rebuild",), ("agent", "start"), ("init", "LAB"),
]  # fmt: skip


@pytest.fixture
def theirs(lab: Lab, new_run: Callable[..., runs.Run], db: Any) -> tuple[Lab, runs.Run]:
    """A lab with a run that has said something."""
    run = new_run(id="aaaaaa")
    (Path(run.folder) / "log.txt").write_text("said here\n")
    runs.change_state(db, run.id, "stopped")
    notes.add(db, notes.NewEntry("note", "their note"))
    return lab, run


@pytest.fixture
def as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ownership, "me", lambda: os.geteuid() + 1)


def typed(lab: Lab, words: tuple[str, ...]) -> list[str]:
    named = {"RUN": "aaaaaa", "LAB": str(lab.root)}
    return ["--lab", str(lab.root), *(named.get(word, word) for word in words)]


def content(lab: Lab) -> dict[str, tuple[int, bytes]]:
    return {
        str(path): (path.stat().st_mtime_ns, path.read_bytes())
        for path in sorted(lab.root.rglob("*"))
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_what_reads_works_and_says_whose_it_is(
    theirs: tuple[Lab, runs.Run], as_somebody_else: None, words: tuple[str, ...]
) -> None:
    lab, _ = theirs
    before = content(lab)
    result = CliRunner().invoke(cli.app, typed(lab, words))
    assert result.exit_code in ((0, 1) if words == ("doctor",) else (0,)), result.stderr
    told = result.stdout if words == ("doctor",) else result.stderr
    assert words[0] in ("gpus", "agent") or "is only read" in told
    assert content(lab) == before


@pytest.mark.parametrize("words", CHANGING, ids=" ".join)
def test_what_would_change_it_says_two_lines_and_changes_nothing(
    theirs: tuple[Lab, runs.Run], as_somebody_else: None, words: tuple[str, ...]
) -> None:
    lab, _ = theirs
    before = content(lab)
    result = CliRunner().invoke(cli.app, typed(lab, words))
    lines = [line for line in result.stderr.splitlines() if "is shown as of" not in line]
    assert result.exit_code == 1
    assert lines[0].startswith("error: ")
    assert "is only read" in lines[0].replace("it is only read", "is only read")
    assert lines[1:] == ["hint: `cxrlab init` makes a lab of your own"]
    assert content(lab) == before


def test_a_program_that_their_settings_name_is_not_run(
    theirs: tuple[Lab, runs.Run], as_somebody_else: None, tmp_path: Path
) -> None:
    from cxrlab import plan, programs

    lab, _ = theirs
    step = plan.Step("mrm", "siim", 10, 0, "quick", why="")
    with pytest.raises(ownership.NotYours):
        programs.command(lab, step, None, folder=tmp_path, machine=programs.Machine(0, 1, 1))


def test_a_registry_that_is_read_alone_refuses_writes_and_sees_what_is_in_its_log(
    lab: Lab, db: Any
) -> None:
    notes.add(db, notes.NewEntry("note", "in the log, not yet in the file"))
    reading = open_read_only(lab.registry)
    assert [entry.text for entry in notes.select(reading)] == ["in the log, not yet in the file"]
    result = CliRunner()  # a write that slips through a command is told like the others
    with pytest.raises(Exception, match="reading alone") as caught:
        notes.add(reading, notes.NewEntry("note", "mine"))
    told = cli.explain(caught.value)
    assert (told.code, told.hint) == (1, "`cxrlab init` makes a lab of your own")
    assert result is not None
    reading.conn.close()


def test_an_older_registry_is_brought_up_to_date_in_memory_alone(lab: Lab, db: Any) -> None:
    notes.add(db, notes.NewEntry("note", "old"))
    with_older = open_store(lab.registry)
    with_older.conn.execute("pragma wal_checkpoint(truncate)")
    (version,) = db.conn.execute("pragma user_version").fetchone()
    reading = open_read_only(lab.registry)
    assert len(notes.select(reading)) == 1
    assert db.conn.execute("pragma user_version").fetchone() == (version,)


def test_files_of_an_unknown_owner_on_a_disk_that_may_be_written_are_ones_own(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ownership, "me", lambda: os.geteuid() + 1)
    monkeypatch.setattr(ownership, "NOBODY", os.geteuid())
    assert ownership.owner(lab) == ""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(("umask", "share"), [(0o022, None), (0o000, "private")])
def test_nobody_else_may_read_a_lab_whatever_the_umask(
    tmp_path: Path, umask: int, share: str | None
) -> None:
    before = os.umask(umask)
    try:
        words = ["init", str(tmp_path / "lab"), *(["--share", share] if share else [])]
        assert CliRunner().invoke(cli.app, words).exit_code == 0
        lab = make_lab(tmp_path / "lab")
        lab.make_folder(lab.runs_dir / "one")
        with lab.creating():
            (lab.runs_dir / "one" / "config.json").write_text("{}")
    finally:
        os.umask(before)
    folders = [lab.registry.parent, lab.runs_dir, lab.runs_dir / "one"]
    assert [mode(path) for path in folders] == [0o700] * 3
    assert mode(lab.registry) == 0o600
    assert mode(lab.runs_dir / "one" / "config.json") == 0o600


def test_the_group_may_read_a_lab_that_says_so_though_the_umask_does_not(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        words = ["init", str(tmp_path), "--share", "group", "--json"]
        told = json.loads(CliRunner().invoke(cli.app, words).stdout)
        lab = make_lab(tmp_path)
        lab.make_folder(lab.runs_dir / "one")
    finally:
        os.umask(before)
    assert told["share"] == lab.settings.share == "group"
    folders = [lab.registry.parent, lab.runs_dir, lab.runs_dir / "one"]
    assert [mode(path) for path in folders] == [0o750] * 3
    assert mode(lab.registry) == 0o640


def test_a_lab_is_opened_to_the_group_and_closed_again_later(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    outside = tmp_path / "outside"
    outside.write_text("not the lab's")
    outside.chmod(0o600)
    folder = lab.runs_dir / "one"
    lab.make_folder(folder)
    (folder / "link").symlink_to(outside)
    (folder / "log.txt").write_text("")
    (folder / "log.txt").chmod(0o600)
    settings = lab.settings_file.read_text().splitlines()
    for share, door in (("group", 0o750), ("private", 0o700)):
        words = ["init", str(lab.root), "--share", share]
        assert CliRunner().invoke(cli.app, words).exit_code == 0
        assert mode(lab.runs_dir) == mode(lab.registry.parent) == door
    assert mode(folder / "log.txt") == 0o640
    assert mode(outside) == 0o600
    changed = lab.settings_file.read_text().splitlines()
    assert [line for line in changed if line not in settings] == ['share = "private"']


def outside_registry(lab: Lab) -> dict[str, tuple[int, bytes]]:
    return {name: held for name, held in content(lab).items() if "registry.db" not in name}


AS_NOBODY = """
import json, os, sys
from typer.testing import CliRunner
from cxrlab import cli

def invoke(words):
    done = CliRunner().invoke(cli.app, words)
    return [done.exit_code, done.stdout, done.stderr]

lines = json.loads(sys.argv[1])
for words in lines["reading"]:
    invoke(words)  # loads what the other user may have no right to load
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(json.dumps([invoke(words) for words in lines["reading"] + lines["changing"]]))
"""


@pytest.fixture
def public() -> Iterator[Lab]:
    """A lab that everybody may come to: not below pytest's folder, which it closes to others."""
    place = Path(tempfile.mkdtemp(prefix="cxrlab-test-"))
    place.chmod(0o755)
    before = os.umask(0o022)
    try:
        lab = make_lab(place / "lab")
        folder = lab.runs_dir / "aaaaaa-mrm-pretrain-s0"
        folder.mkdir()
        (folder / "log.txt").write_text("said here\n")
        db = open_store(lab.registry)
        run = runs.NewRun(
            "aaaaaa", "mrm", "pretrain", None, 0, "quick", "r", str(folder), None, ["true"], 0
        )
        runs.add(db, [run])
        runs.change_state(db, "aaaaaa", "stopped")
        notes.add(db, notes.NewEntry("note", "their note"))
        db.conn.close()
        for path in lab.root.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        yield lab
    finally:
        os.umask(before)
        shutil.rmtree(place)


def as_nobody(lab: Lab, *, changing: list[tuple[str, ...]]) -> list[tuple[int, str, str]]:
    """Type all commands that read, then those that change, as another user."""
    reading = [words for words in READING if words[0] not in ("doctor", "gpus")]
    lines = {"reading": [typed(lab, words) for words in reading],
             "changing": [typed(lab, words) for words in changing]}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_NOBODY, json.dumps(lines)],
        capture_output=True, text=True, cwd="/", env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [tuple(each) for each in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
@pytest.mark.parametrize("opened", [True, False], ids=["while it is open", "while nobody has it"])
def test_another_user_reads_a_shared_lab_and_cannot_write(public: Lab, opened: bool) -> None:
    before = outside_registry(public)
    db = open_store(public.registry) if opened else None
    answers = as_nobody(public, changing=[("note", "scribbled"), ("stop", "aaaaaa")])
    *read, note, stop = answers
    assert [(code, err) for code, _, err in read if code != 0] == []
    assert any("said here" in out for _, out, _ in read)
    for code, _, err in (note, stop):
        assert (code, "error: " in err, "hint: " in err) == (1, True, True)
    assert outside_registry(public) == before
    again = db or open_store(public.registry)
    assert [entry.text for entry in notes.select(again)] == ["their note"]
    again.conn.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_another_user_is_told_that_a_private_lab_is_not_shared(public: Lab) -> None:
    public.registry.parent.chmod(0o700)
    for code, _, err in as_nobody(public, changing=[])[:4]:
        assert code == 1
        assert "is not shared" in err
        assert "`[lab]`" in err
