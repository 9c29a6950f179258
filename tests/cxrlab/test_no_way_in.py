"""Names and paths from a lab, a log or a run folder run nothing and lead nowhere else."""

from __future__ import annotations

import ast
import csv
import io
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import cli
from cxrlab.lab import Lab
from cxrlab.queueing import steering
from cxrlab.tabular import written
from store import runs, within
from store.db import open_store
from trainers.events import EventLog

ROOT = Path(__file__).resolve().parents[2]
SECRET = "the neighbour's secret"
SHELLS = {"sh", "bash", "zsh", "dash", "cmd", "/bin/sh", "/bin/bash"}

HOSTILE_NAME = "\x1b]0;owned\x07[red]=cmd|' /C calc'!A0</script><script>alert(1)</script>$(id)`id`"


def sources() -> list[Path]:
    return sorted(path for name in ("cxrlab", "trainers", "store") for path in
                  (ROOT / name).rglob("*.py"))  # fmt: skip


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Give every call with its dotted name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_no_command_is_a_shells_line_and_no_text_is_run() -> None:
    for name, call in (each for path in sources() for each in calls(path)):
        assert name not in ("eval", "exec", "os.system", "os.popen", "pickle.load", "pickle.loads",
                            "subprocess.getoutput", "subprocess.getstatusoutput"), name  # fmt: skip
        for keyword in call.keywords:
            assert keyword.arg not in ("shell", "allow_pickle", "weights_only") or (
                isinstance(keyword.value, ast.Constant)
                and keyword.value.value is (keyword.arg == "weights_only")
            ), f"line {call.lineno}: {ast.unparse(keyword)}"
        if name in ("torch.load", "np.load", "numpy.load"):
            needed = "weights_only" if name == "torch.load" else "allow_pickle"
            assert needed in {keyword.arg for keyword in call.keywords}, f"line {call.lineno}"
        if name.startswith("subprocess."):
            first = call.args[0] if call.args else None
            assert not isinstance(first, ast.JoinedStr | ast.BinOp), f"line {call.lineno}"
            assert not (isinstance(first, ast.Constant) and isinstance(first.value, str))
            if isinstance(first, ast.List) and isinstance(first.elts[0], ast.Constant):
                assert first.elts[0].value not in SHELLS, f"line {call.lineno}"


@pytest.fixture(autouse=True)
def _a_hang_is_a_failure() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("it hangs"))
    signal.alarm(300)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret.txt"
    path.write_text(f'{{"method": "{SECRET}"}}\n{SECRET}\n')
    return path


def to_secret(path: Path, secret: Path) -> None:
    path.symlink_to(secret)


def pipe(path: Path, secret: Path) -> None:
    os.mkfifo(path)


def endless(path: Path, secret: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path, secret: Path) -> None:
    path.mkdir()


NAMES = ("config.json", "log.txt", "events.jsonl", "command.txt", "provenance.json", "diff.patch",
         "result.json", "attempts/1.json")  # fmt: skip

COMMANDS = (("runs",), ("show", "aaaaaa"), ("logs", "aaaaaa"), ("grid",), ("queue",), ("report",),
            ("export", "--format", "csv"), ("export", "--format", "html"), ("plot", "aaaaaa"),
            ("curves", "aaaaaa"), ("rebuild",), ("runs", "--json"), ("gap",))  # fmt: skip


@pytest.mark.parametrize("make", [to_secret, pipe, endless, folder])
def test_a_run_folder_that_is_a_trap_neither_hangs_nor_shows_what_lies_elsewhere(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run], secret: Path, make: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    run = new_run(id="aaaaaa", folder=str(lab.runs_dir / "aaaaaa-mrm-siim-10-s0"), task="siim",
                  method="mrm", ratio=10)  # fmt: skip
    place = Path(run.folder)
    (place / "attempts").mkdir()
    for name in NAMES:
        make(place / name, secret)
    (place / "checkpoints").mkdir()
    (place / "checkpoints" / "last.pt").symlink_to(secret)
    (place / "samples").symlink_to(secret.parent)
    runs.change_state(db, run.id, "running")
    runs.start_attempt(db, run.id, 1.0)
    out = tmp_path / "out"
    out.mkdir()
    monkeypatch.chdir(out)
    for words in COMMANDS:
        result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])
        said = result.stdout + result.stderr
        assert SECRET not in said, words
        assert "this is a bug" not in said, (words, said)
    for path in out.rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    known = runs.get(open_store(lab.registry), "aaaaaa")
    assert (known.method, known.task, known.ratio) == ("mrm", "siim", 10)


def test_samples_that_lie_elsewhere_stay_out_of_the_report(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run], secret: Path, tmp_path: Path
) -> None:
    run = new_run(id="aaaaaa")
    place = Path(run.folder)
    (place / "inside.txt").symlink_to(secret)
    log = EventLog(place)
    log.start(0, total_steps=1)
    for path in (str(secret), "../../../secret.txt", "inside.txt", "/dev/zero"):
        log.sample(path, "a caption")
    log.end("succeeded")
    log.close()
    runs.change_state(db, run.id, "running")
    out = tmp_path / "report.html"
    line = ["--lab", str(lab.root), "report", "--out", str(out)]
    result = CliRunner().invoke(cli.app, line)
    assert result.exit_code == 0, result.stderr
    assert SECRET not in out.read_text()


def test_what_a_hostile_program_calls_things_is_shown_and_does_nothing(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run], tmp_path: Path
) -> None:
    run = new_run(id="aaaaaa")
    log = EventLog(Path(run.folder))
    log.start(0, total_steps=2)
    log.metrics(1, {HOSTILE_NAME: 1.0, "=1+1": 2.0}, epoch=1)
    log.warning(HOSTILE_NAME, path=HOSTILE_NAME)
    log.end("failed", HOSTILE_NAME)
    log.close()
    (Path(run.folder) / "log.txt").write_text(HOSTILE_NAME + "\n")
    runs.change_state(db, run.id, "running")
    out = tmp_path / "report.html"
    for words in (("runs",), ("show", "aaaaaa"), ("queue",), ("grid",), ("retry", "aaaaaa"),
                  ("report", "--out", str(out)), ("plot", "aaaaaa")):  # fmt: skip
        result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), *words])
        assert "\x1b]0" not in result.stdout + result.stderr, words
        assert "\x07" not in result.stdout + result.stderr, words
    assert "<script>alert(1)" not in out.read_text()


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_text_becomes_a_formula_in_a_table(text: str) -> None:
    (row,) = csv.reader(io.StringIO(f'"{written(text)}"'))
    assert row[0].startswith("'")


def test_a_hostile_folder_does_not_keep_the_others_from_a_rebuild(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run]
) -> None:
    odd: list[Any] = [{"seed": "x", "ratio": [], "method": {"a": 1}, "recipe": 10**30, "task": None,
                       "preset": ["p"], "pretrained": 3}, "text", [1], 10**400]  # fmt: skip
    for number, said in enumerate(odd):
        place = lab.runs_dir / f"aaaaa{'bcde'[number]}-mrm-siim-10-s{number}"
        (place / "attempts").mkdir(parents=True)
        (place / "config.json").write_text(json.dumps(said))
        record = {"attempt": 1, "started": "soon", "ended": {}, "trainer": [1], "host": 7,
                  "command": "rm -rf /"}  # fmt: skip
        (place / "attempts" / "1.json").write_text(json.dumps(record))
        (place / "attempts" / "2.json").write_text("[" * 50_000)
        (place / "command.txt").write_text("'unfinished")
    (lab.runs_dir / "../evil").mkdir()
    result = CliRunner().invoke(cli.app, ["--lab", str(lab.root), "rebuild", "--json"])
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["runs"] == len(odd)
    found = {run.seed: (run.method, run.task, run.ratio) for run in runs.select(db)}
    assert found == {number: ("mrm", "siim", 10) for number in range(len(odd))}


def test_removing_a_run_removes_nothing_outside(
    lab: Lab, db: Any, new_run: Callable[..., runs.Run], tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").write_text("")
    inside = new_run(id="aaaaaa")
    (Path(inside.folder) / "link").symlink_to(outside)
    away = new_run(id="bbbbbb", folder=str(lab.runs_dir / ".." / ".." / "outside"))
    for run in (inside, away):
        runs.change_state(db, run.id, "stopped")
        steering.remove(lab, db, runs.get(db, run.id))
    assert (outside / "kept").exists()
    assert not Path(inside.folder).exists()


def test_a_link_within_a_run_folder_is_followed_and_one_out_of_it_is_not(tmp_path: Path) -> None:
    place = tmp_path / "run"
    place.mkdir()
    (place / "real").write_text("here")
    (place / "near").symlink_to("real")
    (place / "far").symlink_to(tmp_path / "other")
    (tmp_path / "other").write_text("there")
    (tmp_path / "moved").symlink_to(place)
    assert within.read_text(tmp_path / "moved", "near") == "here"
    for name in ("far", "../other", "missing"):
        with pytest.raises(OSError, match=r"leads out|No such"):
            within.read_text(place, name)
