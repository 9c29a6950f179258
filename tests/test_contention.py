"""Fifty at once in one lab: nobody is told of a lock, and nothing that was done is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
def test_fifty_processes_write_to_one_lab_and_no_lock_reaches_a_user(tmp_path: Path) -> None:
    """A small edition of benchmarks/contention.py."""
    line = [sys.executable, "-P", "-m", "benchmarks.contention", "--json"]
    line += ["--processes", "50", "--rounds", "1", "--launches", "10"]
    done = subprocess.run(
        line,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.stdout.startswith("{"), done.stderr
    told = json.loads(done.stdout)
    assert told["failed"] == []
    assert {each["what"]: each["found"] for each in told["counted"]} == {
        "runs launched": 10,
        "of them, seeds": 10,
        "of them, attempts": 10,
        "runs succeeded": 10,
        "runs stopped": 50,
        "notes": 50,
        "points": 50,
        "ticked off": 50,
        "registry is sound": 1,
    }
    assert done.returncode == 0, done.stderr
