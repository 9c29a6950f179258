"""Many at once in one lab: nobody is told of a lock, and nothing that was done is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "launches"), [(16, 4), pytest.param(50, 10, marks=pytest.mark.long)]
)
def test_processes_write_to_one_lab_and_no_lock_reaches_a_user(
    tmp_path: Path, processes: int, launches: int
) -> None:
    """A small edition of benchmarks/contention.py."""
    line = [sys.executable, "-P", "-m", "benchmarks.contention", "--json"]
    line += ["--processes", str(processes), "--rounds", "1", "--launches", str(launches)]
    done = subprocess.run(
        line,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.stdout.startswith("{"), done.stderr
    told = json.loads(done.stdout)
    assert told["failed"] == []
    assert {each["what"]: each["found"] for each in told["counted"]} == {
        **dict.fromkeys(
            ("runs launched", "of them, seeds", "of them, attempts", "runs succeeded"), launches
        ),
        **dict.fromkeys(("runs stopped", "notes", "points", "ticked off"), processes),
        "registry is sound": 1,
    }
    assert done.returncode == 0, done.stderr
