"""What tests share: a lab in a temporary folder whose trainers are the fake one, and its registry.

Processes that a test starts end with it, by the mark of their run folder or the agent's lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from cxrlab import agent, refresh, runner
from cxrlab.backends import local
from cxrlab.lab import Lab, make_lab
from cxrlab.queueing import steering
from store import runs
from store.db import open_store, writing

# one thread for each process, also for those that tests start: there are as many workers as cores,
# and the threads of torch would spend half the time waiting for one another
os.environ.setdefault("OMP_NUM_THREADS", "1")

# what tests start loads compiled modules, as it does for people
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # a shell that starts the tests in the background has them ignore it, and all their children
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

FAKE_TRAINER = Path(__file__).parent / "fake_trainer.py"
LIMIT_S = 900.0
"""When waiting fails. A machine may be ten times slower than one's own; who waits sees it at once
where the condition holds."""

DATASETS = ("mimic_cxr", "siim", "shenzhen")


@pytest.fixture(autouse=True)
def _no_lab_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CXRLAB_LAB", "CXRLAB_DEBUG", "CXRLAB_FAKE_GPUS", "CXRLAB_ATTEMPT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A lab with two places on the CPU, whose programs are tests/fake_trainer.py."""
    root = tmp_path / "lab"
    made = make_lab(root)
    data = tmp_path / "data"
    lines = [
        "[launch]",
        "gpus = 0",
        "cpu_slots = 2",
        "threads = 1",
        "stop_grace_s = 300",
        "retry_lost = 0",
        'preset = "quick"',
        f'pretrain_program = "{FAKE_TRAINER}"',
        f'finetune_program = "{FAKE_TRAINER}"',
    ]
    for name in DATASETS:
        (data / name).mkdir(parents=True)
        lines += [f"[data.{name}]", f'root = "{data / name}"']
    made.settings_file.write_text("\n".join(lines) + "\n")
    made = make_lab(root)
    yield made
    with contextlib.suppress(Exception):
        agent.end(made)
    for folder in root.glob("runs/*"):
        while left := runner.processes_of(folder):  # a runner may be starting its trainer meanwhile
            runner.kill_all(left)
            time.sleep(0.01)


@pytest.fixture
def db(lab: Lab) -> Iterator[Any]:
    """The registry of `lab`, open."""
    opened = open_store(lab.registry)
    yield opened
    opened.conn.close()


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    """Call until the answer is true, and return it; fails after `limit_s`."""

    def wait(ask: Callable[[], Any], *, limit_s: float = LIMIT_S) -> Any:
        deadline = time.monotonic() + limit_s
        while not (answer := ask()):
            assert time.monotonic() < deadline, f"still {answer!r} after {limit_s} s"
            time.sleep(0.05)
        return answer

    return wait


@pytest.fixture
def wait_for_state(lab: Lab, db: Any, wait_until: Callable[..., Any]) -> Callable[..., runs.Run]:
    """Look until a run is in one of some states, and return it."""

    def wait(id: str, *states: str, limit_s: float = LIMIT_S) -> runs.Run:
        def look() -> runs.Run | None:
            refresh.refresh(lab, db)
            run = runs.get(db, id)
            return run if run.state in states else None

        return wait_until(look, limit_s=limit_s)

    return wait


@pytest.fixture
def new_run(lab: Lab, db: Any) -> Callable[..., runs.Run]:
    """Add a run as launching would, with its folder; facts not given are made up."""
    count = iter(range(1000))

    def make(**facts: Any) -> runs.Run:
        id = facts.get("id") or runs.new_id()
        values = {
            "id": id,
            "method": "mrm",
            "task": "pretrain",
            "ratio": None,
            "seed": next(count),
            "preset": "quick",
            "recipe": "0" * 64,
            "folder": str(lab.runs_dir / f"{id}-test"),
            "parent": None,
            "command": ["true"],
            "gpus": 0,
            **facts,
        }
        Path(values["folder"]).mkdir(parents=True, exist_ok=True)
        runs.add(db, [runs.NewRun(**values)])
        return runs.get(db, id)

    return make


@pytest.fixture
def trainer(new_run: Callable[..., runs.Run]) -> Callable[..., runs.Run]:
    """Add a run of the fake trainer with options of its own: `trainer("--fake_deaf")`."""

    def make(*options: str, **facts: Any) -> runs.Run:
        run = new_run(**facts)
        program = [sys.executable, "-P", str(FAKE_TRAINER), "--output_dir", run.folder]
        command = json.dumps([*program, *options])
        db = open_store(Path(run.folder).parents[1] / ".cxrlab" / "registry.db")
        with writing(db):
            db.conn.execute("update runs set command = ? where id = ?", (command, run.id))
        db.conn.close()
        return run._replace(command=json.loads(command))

    return make


@pytest.fixture
def begin(lab: Lab, db: Any, wait_until: Callable[..., Any]) -> Iterator[Callable[..., runs.Run]]:
    """Start a run as the agent would, without one, and wait until its trainer is at work."""
    children = []

    def start(run: runs.Run) -> runs.Run:
        runs.change_state(db, run.id, "running")
        attempt = runs.start_attempt(db, run.id, time.time())
        folder, command = Path(run.folder), steering.attempt_command(run)
        child = local.start(folder, attempt, command=command, gpus=[], cwd=lab.root)
        children.append(child)
        events = folder / "events.jsonl"
        wait_until(
            lambda: (
                child.poll() is not None
                or (events.exists() and f'"attempt": {attempt}' in events.read_text())
            )
        )
        return runs.get(db, run.id)

    yield start
    for child in children:
        child.kill()
        child.wait()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB of its own; needs root."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no small disk can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=False)


@pytest.fixture
def fill() -> Callable[..., Path]:
    """Fill a small disk until `left` bytes are free, and return the file that does it."""

    def write(disk: Path, left: int = 0) -> Path:
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize > left:
                file.write(bytes(4096))
        return filler

    return write


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Stop `time.time` at a moment, which may be called again to move it; UTC throughout."""
    monkeypatch.setitem(os.environ, "TZ", "UTC")
    time.tzset()

    def set_to(moment: float) -> None:
        monkeypatch.setattr(time, "time", lambda: moment)

    set_to(1_760_000_000.0)
    return set_to
