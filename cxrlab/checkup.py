"""What is missing on this machine, and which line fixes it? One function for each question."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from cxrlab import agent, gpus, ownership, text
from cxrlab.assets import weights
from cxrlab.errors import CxrlabError
from cxrlab.gpus import watch as gpu_watch
from cxrlab.gpus import whose
from cxrlab.gpus import words as gpu_words
from cxrlab.lab import Lab
from cxrlab.settings import cores
from store import claims, runs
from store.db import DamagedError, StoreError, writing
from trainers import catalog

Level = Literal["ok", "note", "warning", "missing"]
"""A note is about what can be done without."""

SIGNS: dict[Level, str] = {"ok": "✓", "note": "·", "warning": "!", "missing": "✗"}

LITTLE_BYTES = 20 * 2**30
"""Below this much free space a warning is due: one paper-sized run keeps some 3 GiB."""

NOTHING_BYTES = 2**30
"""Below this much nothing can be trained."""

TORCH_S = 300.0
"""How long importing torch may take, on a cold network disk, say."""

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "lustre", "gpfs", "beegfs", "ceph")
"""File systems that share no memory between machines, which the registry needs."""

LIBRARIES = (
    "torchvision",
    "timm",
    "transformers",
    "tokenizers",
    "monai",
    "sklearn",
    "pydicom",
    "PIL",
)

ASK_TORCH = f"""
import importlib.util, json, torch
print(json.dumps({{
    "version": torch.__version__,
    "cuda": torch.version.cuda,
    "devices": torch.cuda.device_count() if torch.cuda.is_available() else 0,
    "lacking": [n for n in {LIBRARIES!r} if importlib.util.find_spec(n) is None],
}}))
"""


class Finding(NamedTuple):
    """One thing that was looked at: how it is, and the line that fixes it where it is not well."""

    what: str
    level: Level
    says: str
    fix: str = ""


def findings(lab: Lab | None) -> Iterator[Finding]:
    """Look at everything, one after another; without a lab, at what needs none."""
    yield python()
    yield trainers_libraries()
    yield processors(lab)
    yield graphics(lab)
    if lab is None:
        yield Finding("lab", "warning", "there is none here", "cxrlab init")
        return
    yield Finding("lab", "ok", str(lab.root))
    yield space(lab)
    yield registry(lab)
    yield from data(lab)
    yield published(lab)
    yield waiting(lab)


def python() -> Finding:
    """Look at the interpreter."""
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding("python", "ok", f"{version} at {sys.executable}")


def trainers_libraries() -> Finding:
    """Import torch in a child, and look for what the trainers need beside it."""
    try:
        child = subprocess.run(
            [sys.executable, "-P", "-c", ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Finding("torch", "warning", f"importing it took more than {TORCH_S:.0f} s")
    if child.returncode:
        lines = child.stderr.strip().splitlines() or [f"exit status {child.returncode}"]
        return Finding(
            "torch", "missing", lines[-1], "pip install --force-reinstall torch torchvision"
        )
    told = json.loads(child.stdout)
    if told["lacking"]:
        names = {"sklearn": "scikit-learn", "PIL": "pillow"}
        packages = " ".join(names.get(name, name) for name in told["lacking"])
        return Finding("torch", "missing", f"not installed: {packages}", f"pip install {packages}")
    cuda = f"CUDA {told['cuda']}" if told["cuda"] else "a build without CUDA"
    seen = f", sees {text.plural(told['devices'], 'GPU')}" if told["devices"] else ", sees no GPU"
    return Finding("torch", "ok", f"{told['version']}, {cuda}{seen}")


def processors(lab: Lab | None) -> Finding:
    """Look at the cores, and at how many of them runs would use."""
    have = text.plural(cores(), "core")
    if lab is None:
        return Finding("cpu", "ok", have)
    launch = lab.settings.launch
    said = f"{have}; {text.plural(launch.cpu_slots, 'run')} at once, "
    said += f"{text.plural(launch.threads, 'thread')} each"
    if launch.cpu_slots * launch.threads > cores():
        fix = f"set `threads = {max(1, cores() // launch.cpu_slots)}` in {lab.settings_file}"
        return Finding("cpu", "warning", f"{said}: more than there are", fix)
    return Finding("cpu", "ok", said)


def graphics(lab: Lab | None) -> Finding:
    """Look at the GPUs through the driver, and whether one is gone from under a run."""
    reading = gpus.read_gpus()
    if not reading.known:
        said = f"unknown: {reading.error}; runs that want one wait, others go on"
        return Finding("gpus", "warning", said, "nvidia-smi")
    gone = [card for card in _gpu_cards(lab, reading) if card.word == "gone"]
    if gone:
        runs_on = ", ".join(claim.run for card in gone for claim in card.claims)
        said = f"{gpu_words.numbers(gone)}, on which {runs_on} runs, is no longer there"
        return Finding("gpus", "warning", said, "nvidia-smi -q; a restart brings it back or not")
    if not reading.gpus:
        return Finding(
            "gpus",
            "warning",
            f"{reading.error}; runs use the CPU",
            "install the driver of the GPU, if there is one",
        )
    names = dict.fromkeys(gpu.name for gpu in reading.gpus)
    said = f"{len(reading.gpus)}: {', '.join(names)}"
    if reading.error:
        return Finding("gpus", "warning", f"{said}; {reading.error}", "nvidia-smi -q")
    mig = sum(gpu.mig for gpu in reading.gpus)
    return Finding("gpus", "ok", said + (f"; {mig} in MIG mode and left alone" if mig else ""))


def _gpu_cards(lab: Lab | None, reading: gpus.Reading) -> tuple[whose.Card, ...]:
    if lab is None or not lab.registry.exists():
        return ()
    try:
        db = ownership.open_registry(lab)
    except (StoreError, CxrlabError):  # which is another finding
        return ()
    try:
        return gpu_watch.glance(lab, reading, claims.every(db)).cards
    finally:
        db.conn.close()


def space(lab: Lab) -> Finding:
    """Look at how much room is left for run folders."""
    free = shutil.disk_usage(lab.root).free
    said = f"{text.size(free)} free at {lab.root}"
    if free < LITTLE_BYTES:
        level: Level = "missing" if free < NOTHING_BYTES else "warning"
        return Finding("disk", level, said, "cxrlab rm RUN")
    return Finding("disk", "ok", said)


def registry(lab: Lab) -> Finding:
    """Open the registry and take its write lock; see that it lies on a local disk."""
    try:
        db = ownership.open_registry(lab)
        try:
            if said := ownership.told(lab):
                return Finding("registry", "note", said)
            with writing(db):
                known = runs.count(db)
        finally:
            db.conn.close()
    except (DamagedError, sqlite3.DatabaseError) as error:
        return Finding("registry", "missing", str(error), "cxrlab rebuild")
    except (StoreError, CxrlabError, OSError) as error:
        return Finding("registry", "missing", str(error), f"chmod -R u+w {lab.registry.parent}")
    kind = file_system(lab.registry)
    if kind in NETWORK:
        said = f"{lab.registry} lies on {kind}, which it must not"
        return Finding("registry", "missing", said, "cxrlab init DIR, on a local disk")
    return Finding(
        "registry", "ok", f"{text.plural(known, 'run')}, writable, on {kind or 'a disk'}"
    )


def file_system(path: Path) -> str:
    """Return the kind of file system that `path` lies on; empty where the system does not tell."""
    try:
        mounts = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    place = path.resolve()
    best = ("", "")
    for mount in mounts:
        _, at, kind, *_ = mount.split(" ")
        at = at.replace("\\040", " ")
        if place.is_relative_to(at) and len(at) >= len(best[0]):
            best = (at, kind)
    return best[1]


def data(lab: Lab) -> Iterator[Finding]:
    """Look for the data sets that methods and tasks read."""
    for name in catalog.datasets_in_use():
        settings = lab.settings.data.get(name)
        line = f"write `[data.{name}]` and `root = ...` into {lab.settings_file}"
        if settings is None:
            yield Finding(f"data.{name}", "warning", "the lab does not say where it lies", line)
        elif not settings.root.is_dir():
            yield Finding(f"data.{name}", "missing", f"{settings.root} is no folder", line)
        else:
            yield Finding(f"data.{name}", "ok", str(settings.root))


def published(lab: Lab) -> Finding:
    """Look for the published weights that baselines are; all else can be done without them."""
    lacking = weights.lacking(lab, catalog.METHODS)
    if not lacking:
        return Finding("weights", "ok", f"every baseline's are in {lab.pretrained_dir}")
    names = [catalog.METHODS[method].weights for method in lacking]
    said = f"not there, and needed by these baselines alone: {', '.join(lacking)}"
    return Finding("weights", "note", said, "; ".join(f"cxrlab weights fetch {n}" for n in names))


def waiting(lab: Lab) -> Finding:
    """Look whether an agent lives, and whether one should."""
    status = agent.status(lab)
    if status.alive:
        return Finding("agent", "ok", f"lives, pid {status.pid}")
    try:
        db = ownership.open_registry(lab)
        try:
            queued = runs.count(db, states=("queued",))
        finally:
            db.conn.close()
    except (StoreError, CxrlabError):
        queued = 0
    if queued:
        said = f"none lives, and {text.plural(queued, 'run')} would be started"
        return Finding("agent", "warning", said, "cxrlab agent start")
    return Finding("agent", "ok", "none lives; nothing waits")
