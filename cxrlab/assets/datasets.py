"""How are data sets made, prepared and checked? By the trainers' own programs, run as children.

They need pixels and arrays, which the application does without.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import text
from cxrlab.assets import copies, versions
from cxrlab.errors import BadInput, CxrlabError, NotFound, Usage
from cxrlab.lab import Lab, set_data_root
from cxrlab.settings import cores
from trainers import catalog

Progress = Callable[[int, int], None]
"""Called with how many are done, and of how many."""

Say = Callable[[str], None]
"""Called with a line that a person should see."""

KINDS: dict[int, type[CxrlabError]] = {2: Usage, 3: NotFound, 4: BadInput}


class Checked(NamedTuple):
    """What a check found: the exit code of the program, and its report."""

    code: int
    report: dict[str, Any]


def generate(
    out: Path,
    *,
    count: int,
    seed: int,
    image_px: int,
    progress: Progress,
    counts: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Make data sets of phantoms under `out`, in the layouts of the real ones; say what was made.

    What is there already, made with these very settings, is left as it is.

    Args:
        out: the folder; new or empty.
        count: how many images there are to pre-train on; the other sets are smaller in proportion.
        seed: the same one gives the same files.
        image_px: side of the images (pixels).
        progress: is told how far it is.
        counts: how many images the other sets get instead, by the generator's names; 0 for none.

    Raises:
        CxrlabError: the generator refused or broke down; exit code as it gave it.
    """
    command = [
        *(sys.executable, "-P", "-m", "trainers.data.generate", "--out", str(out)),
        *("--count", str(count), "--seed", str(seed), "--image_px", str(image_px)),
        *("--workers", str(cores()), "--json-progress"),
        *(part for name, number in (counts or {}).items() for part in (f"--{name}", str(number))),
    ]
    return _followed(command, progress)


def prepare(
    lab: Lab, name: str, *, options: Mapping[str, str | None], progress: Progress, say: Say
) -> dict[str, Any]:
    """Write the copy of a data set that training reads; returns what it says of itself.

    What is done already is not done again.

    Args:
        lab: says where the data lie, unless `options` do.
        name: of the data set.
        options: of the program, without dashes; None for one that takes no value.
        progress: is told how far it is.
        say: is told the rest, in lines.

    Raises:
        CxrlabError: the program refused or broke down; exit code as it gave it.
    """
    command = [sys.executable, "-P", "-m", "trainers.data.prepare", "--json-progress"]
    places = {"data_path": str(lab.settings.data[name].root)} if name in lab.settings.data else {}
    for key, value in {**places, "into": str(lab.copy_of(name)), **options}.items():
        command += [f"--{key}"] if value is None else [f"--{key}", value]
    return _followed(command, progress, say)


def _followed(
    command: Sequence[str], progress: Progress, say: Say = lambda text: None
) -> dict[str, Any]:
    """Run a program that tells of itself in JSON lines; returns what the last one says."""
    result: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment(),
        )
        try:
            for line in child.stdout or ():
                told = json.loads(line)
                if told.get("kind") == "progress":
                    progress(int(told["done"]), int(told["total"]))
                elif told.get("kind") == "note":
                    say(told["text"])
                else:
                    result = {key: value for key, value in told.items() if key != "kind"}
            code = child.wait()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        said.seek(0)
        fail_on(code, said.read())
    return result


def check(name: str, root: Path, *, hashes: Path | None = None) -> Checked:
    """Look at every image, label and split of a data set; its progress goes to stderr.

    Args:
        name: of the data set.
        root: its folder.
        hashes: folder in which to keep what tells its images apart.

    Raises:
        CxrlabError: the folder is missing (3) or is not such a data set (4), or the check broke
            down. Faults in the data are no error: they stand in the report.
    """
    kept = ["--kept", str(hashes / f"{name}.tsv")] if hashes else []
    return _checked("trainers.data.check", "--dataset", name, "--data_path", str(root), *kept)


def across(lab: Lab, *, without: Collection[str] = ()) -> Checked:
    """Compare the pre-training set of a lab with its others; its progress goes to stderr.

    Images whose hashes are kept are not opened again.

    Raises:
        CxrlabError: as `check`.
    """
    sets = [
        f"--set={name}={known.root}"
        for name, known in lab.settings.data.items()
        if name not in without
    ]
    return _checked("trainers.data.across", *sets, "--kept", str(lab.hashes_dir))


def _checked(program: str, *options: str) -> Checked:
    command = [sys.executable, "-P", "-m", program, *options, "--json"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            env=environment(),
        )
        try:
            told, _ = child.communicate()
        except BaseException:
            child.terminate()
            child.wait()
            raise
        said.seek(0)
        if child.returncode not in (0, 1) or not told.strip():
            fail_on(child.returncode or 1, said.read())
    report: dict[str, Any] = json.loads(told)
    return Checked(child.returncode, report)


def facts(lab: Lab, name: str) -> dict[str, Any]:
    """Return what the lab knows of a data set: `found`, `missing`, or `not set`.

    Fingerprint and counts are those that checking or preparing found last.
    """
    copy = copies.find(lab, name)
    last = versions.seen(lab, name)
    settings = lab.settings.data.get(name)
    state = "not set" if settings is None else "found" if settings.root.is_dir() else "missing"
    uses = [task for task, entry in catalog.TASKS.items() if entry.dataset == name]
    if catalog.PRETRAIN_ENTRY.dataset == name:
        uses.insert(0, catalog.PRETRAIN)
    return {
        "name": name,
        "title": catalog.DATASETS[name].title,
        "layout": catalog.DATASETS[name].layout,
        "root": str(settings.root) if settings else None,
        "state": state,
        "tasks": uses,
        "version": settings.version if settings else "",
        "restricted": bool(settings and settings.restricted),
        "fingerprint": last.get("fingerprint"),
        "records": last.get("records"),
        "seen": last.get("seen"),
        "prepared": {
            "folder": str(copy.folder),
            "state": copy.state,
            "why": copy.why,
            "px": copy.about.get("px"),
            "store": copy.about.get("store"),
            "images": copy.about.get("images"),
        }
        if copy
        else None,
    }


def told(one: dict[str, Any]) -> list[str]:
    """Return what is known of a data set beyond where it lies, in words."""
    lines = []
    parts = [f"version {one['version']}"] if one["version"] else []
    if one["fingerprint"]:
        counts = ", ".join(f"{count:,} {part}" for part, count in (one["records"] or {}).items())
        parts += [f"fingerprint {versions.short(one['fingerprint'])}", *filter(None, [counts])]
        parts.append(f"seen {text.ago(one['seen'], time.time())}")
    elif parts:
        parts.append(f"not looked at yet: `cxrlab data check {one['name']}`")
    if parts:
        lines.append(", ".join(parts))
    if one["restricted"]:
        lines.append("restricted: its reports and images are shown only where it is named")
    copy = one["prepared"]
    if copy:
        state = f"{copy['px']} px, {copy['store']}" if copy["state"] == "fits" else copy["why"]
        lines.append(f"prepared at {copy['folder']}: {state}")
    return lines


def environment() -> dict[str, str]:
    """Return a child's environment: no GPU, and no modules from the working directory."""
    return {**os.environ, "CUDA_VISIBLE_DEVICES": "", "PYTHONSAFEPATH": "1"}


def fail_on(code: int, said: str) -> None:
    """Raise what a child's exit code and its stderr mean; nothing for 0."""
    if code == 0:
        return
    lines = [line for line in said.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    message = (errors or lines or [f"exit status {code}"])[-1].removeprefix("error: ")
    hints = [line.removeprefix("hint: ") for line in lines if line.startswith("hint: ")]
    raise KINDS.get(code, CxrlabError)(message, hints[-1] if hints else "")


def sets_in(out: Path) -> list[str]:
    """Return the data sets of the catalog that have a folder in `out`."""
    return [name for name in catalog.DATASETS if (out / name).is_dir()]


def use(lab: Lab, out: Path) -> Lab:
    """Write into the lab's settings that its data lie under `out`, and return the new lab."""
    for name in sets_in(out):
        inside = out.is_relative_to(lab.root)
        place = (out / name).relative_to(lab.root) if inside else out / name
        lab = set_data_root(lab, name, root=place)
    return lab
