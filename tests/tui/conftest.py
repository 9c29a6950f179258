"""A lab whose registry is the same every time, a clock that stands still, and GPUs on paper."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from textual.app import ScreenStackError
from textual.css.query import NoMatches

from cxrlab.checkup import Finding
from cxrlab.gpus import Gpu, GpuProcess, Reading
from cxrlab.lab import Lab, make_lab
from cxrlab.tui import remembered, words
from cxrlab.tui.app import CxrlabApp
from cxrlab.tui.pulse import Rhythm
from store import claims, intake, runs
from store.db import open_store

NOW = 1_770_000_000.0
"""The time it always is."""

STILL = Rhythm(refresh_s=0, look_s=0.1, gpus_s=1.0)
"""Looks at the registry and never brings it up to date: the runs in it have no processes."""


@pytest.fixture(autouse=True)
def _nothing_remembered(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv(remembered.STATE_VARIABLE, str(tmp_path_factory.mktemp("state")))


def event(kind: str, t: float, **values: Any) -> dict[str, Any]:
    return {"t": t, "kind": kind, **values}


def write_events(folder: Path, events: Sequence[dict[str, Any]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(e) + "\n" for e in events)


def new_run(lab: Lab, id: str, method: str, task: str, **given: Any) -> runs.NewRun:
    ratio, seed = given.get("ratio"), given.get("seed", 0)
    name = f"{id}-{method}-{task}{'' if ratio is None else f'-{ratio}'}-s{seed}"
    return runs.NewRun(
        id=id,
        method=method,
        task=task,
        ratio=ratio,
        seed=seed,
        preset=given.get("preset", "quick"),
        recipe=given.get("recipe", f"{method}{task}".encode().hex()[:64]),
        folder=str(lab.runs_dir / name),
        parent=given.get("parent"),
        command=["python", "-m", "trainers.finetune"],
        gpus=0,
        needs=(given["parent"],) if given.get("parent") else (),
    )


def training(t: float, *, steps: int, of: int, val: float = 0.2) -> list[dict[str, Any]]:
    """Return the events of a training that got as far as `steps`."""
    events = [event("start", t, step=0, attempt=1, pid=4242, host="ward7", total_steps=of)]
    for step in range(1, steps + 1):
        loss = 0.4 + 1.6 / (1 + step / 25) + 0.05 * math.sin(step * step)
        values = {"train/loss": loss, "perf/images_per_s": 118.0 + step % 5}
        if step % 10 == 0:
            values |= {"val/loss": loss * 1.1 + 0.05, "val/Dice": val + 0.4 * step / of}
        events.append(event("metrics", t + step, step=step, epoch=step / 40, values=values))
    events.append(event("progress", t + steps, done=steps, total=of, eta_s=(of - steps) * 1.0))
    return events


def finish(metric: str, value: float, t: float) -> list[dict[str, Any]]:
    """Return the events with which a fine-tuning ends well."""
    test = f"test/{metric}"
    floor = {"test/Dice_nothing": 0.647} if metric == "Dice" else {}
    return [
        event(
            "checkpoint", t, kind_of="best", path="checkpoints/best.pt", step=110, sha256="ab" * 32
        ),
        event("checkpoint", t, kind_of="last", path="checkpoints/last.pt", step=120, sha256=None),
        event(
            "result",
            t,
            values={test: value, **floor, f"val/{metric}": value + 0.01},
            bounds={test: [value - 0.031, value + 0.027]},
            selected_by=f"val/{metric}",
        ),
        event("end", t, outcome="succeeded", reason=""),
    ]


def add(
    lab: Lab,
    run: runs.NewRun,
    *,
    state: str,
    at: float,
    events: Sequence[dict[str, Any]] = (),
    reason: str = "",
    took: float = 754.0,
) -> None:
    """Put a run into the registry by the ways that the engine uses."""
    folder = Path(run.folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(
        json.dumps({"program": "finetune", "method": run.method, "seed": run.seed, "lr": 3e-4})
    )
    write_events(folder, events)
    db = open_store(lab.registry)
    runs.add(db, [run], at=at)
    if state not in ("queued", "blocked"):
        runs.change_state(db, run.id, "running", at=at + 5)
        runs.start_attempt(db, run.id, at + 5)
        intake.take_in(db, run.id, folder)
    if state not in ("queued", "blocked", "running"):
        runs.change_state(db, run.id, state, reason=reason, at=at + 5 + took)
    elif reason:
        runs.change_state(db, run.id, state, reason=reason, at=at + 5)
    if state == "running":
        claims.claim(db, run.id, ["cpu:0"])
    db.close()


LOG = """\
12:01:07 INFO trainers.loop: 412 images, batch 8, 600 updates
12:01:09 INFO trainers.loop: step 10  loss 1.9731  118 images/s
12:01:11 WARNING trainers.loop: skipped images/p10/[red]broken[/red].png: not an image
12:01:12 INFO \x1b[32mtrainers.loop\x1b[0m: step 20  loss 1.4127  119 images/s
12:01:14 INFO trainers.loop: step 30  loss 1.1034  \x1b]0;owned\x07title
"""


SETTINGS = """\
[launch]
gpus = 0
cpu_slots = 2
preset = "quick"

[grid]
methods = ["random", "mrm", "deep_mrm"]
columns = ["siim", "shenzhen", "shenzhen_lungs"]
"""
"""Rows and columns are named, so that a new method or task changes no picture of a screen."""


@pytest.fixture(autouse=True)
def _english() -> None:
    """Forget the language of the test before."""
    words.speak("en")


@pytest.fixture
def empty_lab(tmp_path: Path) -> Lab:
    lab = make_lab(tmp_path / "lab")
    lab.settings_file.write_text(SETTINGS)
    return make_lab(lab.root)


@pytest.fixture
def full_lab(empty_lab: Lab) -> Lab:
    """A lab in which every state occurs; none of its runs has a process."""
    return fill(empty_lab)


def fill(lab: Lab) -> Lab:
    pre = "mrmaaa"
    day = 86_400.0
    run = new_run(lab, pre, "mrm", "pretrain")
    pretrained = [
        *training(NOW - 2 * day, steps=120, of=120),
        event("checkpoint", NOW - 2 * day, kind_of="encoder", path="checkpoints/encoder.pt",
              step=120, sha256="cd" * 32),
        event("result", NOW - 2 * day, values={"val/loss": 0.4312},
              bounds={}, selected_by="val/loss", train_seconds=754.0),
        event("end", NOW - 2 * day, outcome="succeeded", reason=""),
    ]  # fmt: skip
    add(lab, run, state="succeeded", at=NOW - 2 * day, events=pretrained)
    for seed, dice in enumerate((0.712, 0.724, 0.731)):
        at = NOW - day + seed * 900
        run = new_run(lab, f"siim{'abc'[seed]}a", "mrm", "siim", ratio=10, seed=seed, parent=pre)
        events = [*training(at, steps=120, of=120), *finish("Dice", dice, at + 700)]
        add(lab, run, state="succeeded", at=at, events=events)
    run = new_run(lab, "rndaaa", "random", "siim", ratio=10)
    events = [*training(NOW - day, steps=120, of=120), *finish("Dice", 0.655, NOW - day)]
    add(lab, run, state="succeeded", at=NOW - 20 * 3600, events=events)
    run = new_run(lab, "shzaaa", "mrm", "shenzhen", ratio=100, parent=pre)
    add(lab, run, state="failed", at=NOW - 9000, events=training(NOW - 9000, steps=30, of=200),
        reason="loss is not finite at step 31: train/loss_image")  # fmt: skip
    run = new_run(lab, "shlaaa", "mrm", "shenzhen_lungs", ratio=100, parent=pre)
    add(lab, run, state="lost", at=NOW - 7000, events=training(NOW - 7000, steps=64, of=200),
        reason="the process is gone and left no exit record")  # fmt: skip
    run = new_run(lab, "rndbbb", "random", "shenzhen", ratio=100)
    add(lab, run, state="stopped", at=NOW - 5000, events=training(NOW - 5000, steps=90, of=200),
        reason="stopped by hand")  # fmt: skip
    run = new_run(lab, "deepaa", "deep_mrm", "pretrain")
    add(lab, run, state="running", at=NOW - 300, events=training(NOW - 290, steps=260, of=600))
    (Path(run.folder) / "log.txt").write_text(LOG)
    run = new_run(lab, "deepbb", "deep_mrm", "siim", ratio=10, parent="deepaa")
    add(lab, run, state="blocked", at=NOW - 299)
    run = new_run(lab, "rndccc", "random", "shenzhen_lungs", ratio=100)
    add(lab, run, state="queued", at=NOW - 200, reason="waits for its turn")
    return lab


def no_gpu() -> Reading:
    return Reading((), "no GPU is there", NOW)


def eight_gpus() -> Reading:
    ours = (GpuProcess(77, "ward", 30_000),)
    return Reading(
        tuple(
            Gpu(i, f"GPU-{i}", "H100", 40_960 if i < 3 else 12, 81_920, 87 if i < 3 else 0,
                60 + i, 350, ours if i < 3 else ())
            for i in range(8)
        ),
        "",
        NOW,
    )  # fmt: skip


FINDINGS = (
    Finding("python", "ok", "3.11.7 at /opt/cxrlab/bin/python"),
    Finding("torch", "ok", "2.13.0, a build without CUDA, sees no GPU"),
    Finding("cpu", "warning", "2 cores; 2 runs at once, 2 threads each: more than there are",
            "set `threads = 1` in /lab/cxrlab.toml"),
    Finding("gpus", "warning", "no GPU is there; runs use the CPU",
            "install the driver of the GPU, if there is one"),
    Finding("lab", "ok", "/lab"),
    Finding("disk", "missing", "412 MiB free at /lab", "cxrlab rm RUN"),
    Finding("registry", "ok", "11 runs, writable, on ext4"),
    Finding("data.mimic", "missing", "/data/[red]mimic is no folder",
            "write `[data.mimic]` and `root = ...` into /lab/cxrlab.toml"),
    Finding("data.siim", "ok", "/data/siim"),
    Finding("weights", "note", "not there, and needed by these baselines alone: imagenet, mae",
            "cxrlab weights fetch imagenet; cxrlab weights fetch mae"),
    Finding("agent", "ok", "none lives; nothing waits"),
)  # fmt: skip
"""What a look at a machine may find."""


@pytest.fixture
def make_app() -> Callable[..., CxrlabApp]:
    def make(lab: Lab, **given: Any) -> CxrlabApp:
        given.setdefault("rhythm", STILL)
        given.setdefault("probe", no_gpu)
        given.setdefault("look", lambda lab: iter(FINDINGS))
        return CxrlabApp(lab, clock=lambda: NOW, **given)

    return make


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Let the app work until something holds; fails after `limit_s`."""

    async def wait(pilot: Any, holds: Callable[[], object], *, limit_s: float = 900.0) -> None:
        deadline = time.monotonic() + limit_s
        while True:
            await pilot.pause(0.02)
            there: object = False
            with contextlib.suppress(NoMatches, ScreenStackError):
                there = holds()
            if there:
                with contextlib.suppress(ScreenStackError):  # it has quit
                    await pilot.pause(0)  # one widget may be drawn before another
                return
            assert time.monotonic() < deadline, "\n" + text_of(pilot.app)

    return wait


@pytest.fixture
def shown() -> Callable[[CxrlabApp], str]:
    """Return what stands on the screen, as text."""
    return text_of


def text_of(app: CxrlabApp) -> str:
    return "\n".join(strip.text for strip in app.screen._compositor.render_strips())


@pytest.fixture
def add_run() -> Callable[..., None]:
    """Add a run with a state and events: `add_run(lab, "abcdef", "mrm", "siim", state="lost")`."""

    def make(lab: Lab, id: str, method: str, task: str, **given: Any) -> None:
        facts = {k: given.pop(k) for k in ("state", "events", "reason") if k in given}
        add(lab, new_run(lab, id, method, task, **given), at=NOW - 100, **facts)

    return make


@pytest.fixture
def told() -> Callable[[CxrlabApp], str]:
    """Return what notifications say."""
    return lambda app: "\n".join(note.message for note in app._notifications)


@pytest.fixture
def gpus_on_paper() -> Callable[[], Reading]:
    return eight_gpus


@pytest.fixture(scope="session")
def by_hand() -> SimpleNamespace:
    """What labs are built with that several tests share, for they only look at them."""
    return SimpleNamespace(
        NOW=NOW,
        SETTINGS=SETTINGS,
        add=add,
        event=event,
        eight_gpus=eight_gpus,
        fill=fill,
        new_run=new_run,
        write_events=write_events,
    )
