"""A registry that is damaged: what is said of it, and how it is made anew."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cxrlab import agent, checkup, cli
from cxrlab.agent import Status
from cxrlab.lab import Lab, make_lab


def invoke(*words: str) -> Any:
    return CliRunner().invoke(cli.app, list(words))


def overwritten(registry: Path) -> None:
    """Overwrite all of it."""
    registry.write_bytes(b"no database at all, but long enough to be read as one " * 200)


def torn(registry: Path) -> None:
    """Overwrite all but its first page, by which it is known as a database."""
    with registry.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * (registry.stat().st_size - 4096))


@pytest.fixture(params=[overwritten, torn])
def damaged(request: pytest.FixtureRequest, tmp_path: Path) -> Lab:
    """A lab of two runs whose registry is damaged."""
    lab = make_lab(tmp_path / "damaged")
    for id in ("aaaaaa", "bbbbbb"):
        folder = lab.runs_dir / f"{id}-mrm-siim-10-s0"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text('{"method": "mrm", "task": "siim", "ratio": 10}')
    assert invoke("--lab", str(lab.root), "rebuild").exit_code == 0
    conn = sqlite3.connect(lab.registry)
    conn.execute("pragma wal_checkpoint(truncate)")
    conn.close()
    request.param(lab.registry)
    return lab


@pytest.mark.parametrize("command", ["runs", "grid", "queue"])
def test_it_is_said_and_what_makes_it_anew(command: str, damaged: Lab) -> None:
    result = invoke("--lab", str(damaged.root), command)
    assert result.exit_code == 1
    assert "registry" in result.stderr
    assert "`cxrlab rebuild` makes it anew" in result.stderr
    assert "bug" not in result.stderr


def test_the_doctor_names_the_line_that_mends_it(damaged: Lab) -> None:
    finding = checkup.registry(damaged)
    assert (finding.level, finding.fix) == ("missing", "cxrlab rebuild")


def test_rebuild_keeps_it_beside_a_new_one_of_all_run_folders(damaged: Lab) -> None:
    spoilt = damaged.registry.read_bytes()
    result = invoke("--lab", str(damaged.root), "rebuild")
    assert result.exit_code == 0, result.stderr
    assert "damaged-1.db: notes, tags and the queue" in result.stderr.replace("\n", " ")
    assert (damaged.registry.parent / "registry.damaged-1.db").read_bytes() == spoilt
    listed = json.loads(invoke("--lab", str(damaged.root), "runs", "--json").stdout)
    assert len(listed) == 2
    again = invoke("--lab", str(damaged.root), "rebuild")
    assert (again.exit_code, "damaged" in again.stderr) == (0, False)


def test_it_is_not_taken_from_under_an_agent(damaged: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "status", lambda lab: Status(True, 7, 0.0))
    result = invoke("--lab", str(damaged.root), "rebuild")
    assert result.exit_code == 2
    assert "`cxrlab agent stop`" in result.stderr


def test_a_registry_that_is_gone_is_told_from_one_without_runs(tmp_path: Path) -> None:
    lab = make_lab(tmp_path / "lab")
    assert "no runs yet" in invoke("--lab", str(lab.root), "runs").stderr
    (lab.runs_dir / "aaaaaa-mrm-siim-10-s0").mkdir(parents=True)
    assert "`cxrlab rebuild`" in invoke("--lab", str(lab.root), "runs").stderr
