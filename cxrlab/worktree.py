"""How does a program of one's own execute its folder as it was when it was queued?

The files of the checkout that git tracks, or does not know of and does not ignore, are copied into
the run's folder, and the program starts there. What git ignores (data, weights, outputs) is linked
to, so that it is found where it was. `trainers.adapt` reads what `copied.json` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab import text
from cxrlab.errors import CxrlabError, Usage
from cxrlab.lab import Lab
from store import within
from trainers import commit, source

NOTE = "copied.json"
FOLDER = "code"
LARGEST = 50 * 2**20
"""More than this is no source code (bytes)."""

MOST_NAMED = 3


class Tree(NamedTuple):
    """A checkout as it is now."""

    top: Path
    within: str
    """Where in it the program starts; `.` for its root."""
    files: tuple[str, ...]
    """What is copied."""
    linked: tuple[str, ...]
    """What git ignores."""
    bytes: int


def look(workdir: Path) -> Tree:
    """Return what there is to copy.

    Raises:
        Usage: `workdir` is in no checkout, or holds more than source code.
    """
    top = commit.top(workdir)
    if top is None:
        raise Usage(
            f"`--freeze`: {workdir} is in no git checkout, so source is not told from data",
            "`git init && git add` the source, or leave `--freeze` out",
        )
    known = _names(top, "--cached", "--recurse-submodules")
    new = _names(top, "--others", "--exclude-standard")
    files = sorted({name for name in (*known, *new) if _there(top / name)})
    sizes = {name: (top / name).lstat().st_size for name in files}
    total = sum(sizes.values())
    if total > LARGEST:
        named = ", ".join(
            f"{name} ({text.size(sizes[name])})"
            for name in sorted(sizes, key=lambda name: -sizes[name])[:MOST_NAMED]
        )
        raise Usage(
            f"`--freeze`: the checkout at {top} takes {text.size(total)}, more than "
            f"{text.size(LARGEST)}; its largest: {named}",
            "name data in `.gitignore`, which is then linked to and not copied",
        )
    ignored = _names(top, "--others", "--ignored", "--exclude-standard", "--directory")
    linked = [name.rstrip("/") for name in ignored if not _compiled(name)]
    within = workdir.resolve().relative_to(top.resolve()).as_posix()
    return Tree(top, within, tuple(files), tuple(sorted(linked)), total)


def take(lab: Lab, tree: Tree, folder: Path) -> None:
    """Copy a checkout into a run folder, with its commit and what is not committed.

    Raises:
        OSError: a file cannot be read, or the disk is full; the run folder is gone then.
    """
    stands = commit.of(tree.top, with_new=True)
    lab.make_folder(folder)
    try:
        target = folder / FOLDER
        with lab.creating():
            _fill(target, tree.top, tree.files)
            for name in tree.linked:
                _link(tree.top / name, target / name)
        note = {
            "from": str(tree.top),
            "within": tree.within,
            "commit": stands.name,
            "uncommitted_changes": bool(stands.diff),
            "digest": source.digest(target, _regular(target, tree.files)),
            "files": list(tree.files),
            "linked": list(tree.linked),
        }
        if stands.diff:
            (folder / "diff.patch").write_text(stands.diff, encoding="utf-8")
        lines = json.dumps(note, indent=1, ensure_ascii=False)
        (folder / NOTE).write_text(lines + "\n", encoding="utf-8")
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def take_again(lab: Lab, earlier: Path, folder: Path) -> None:
    """Copy into a run folder what another run executed; nothing where that was not a copy.

    Raises:
        CxrlabError: the copy is no longer what it was when it was made.
    """
    try:
        note = json.loads(within.read_text(earlier, NOTE))
    except FileNotFoundError:
        return
    if any(Path(name).is_absolute() or ".." in Path(name).parts
           for name in (*note["files"], *note["linked"])):  # fmt: skip
        raise CxrlabError(f"{earlier / NOTE} names files outside of the copy")
    place, target = earlier / FOLDER, folder / FOLDER
    files = [name for name in note["files"] if _there(place / name)]
    if source.digest(place, _regular(place, files)) != note["digest"]:
        raise CxrlabError(f"{place} has been changed since it was copied, maybe by its run")
    lab.make_folder(folder)
    with lab.creating():
        _fill(target, place, files)
        for name in note["linked"]:
            _link(Path(note["from"]) / name, target / name)
        for name in (NOTE, "diff.patch"):
            with contextlib.suppress(FileNotFoundError):
                (folder / name).write_text(within.read_text(earlier, name), encoding="utf-8")


def _fill(target: Path, top: Path, names: Sequence[str]) -> None:
    target.mkdir(parents=True)
    for name in names:
        _copy(top / name, target / name, top=top)


def facts(folder: Path) -> dict[str, Any] | None:
    """Return what a run folder says of the copy that its program starts in; None for none."""
    try:
        note = json.loads(within.read_text(folder, NOTE))
    except (OSError, ValueError):
        return None
    told = ("from", "within", "commit", "uncommitted_changes", "digest")
    return {name: note.get(name) for name in told} | {"files": len(note["files"])}


def _names(top: Path, *which: str) -> list[str]:
    said = commit.ask(top, "ls-files", "-z", *which)
    if said is None:
        raise CxrlabError(f"git does not list the files of {top}", f"try `git -C {top} ls-files`")
    return [name for name in said.split("\0") if name]


def _there(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _compiled(name: str) -> bool:
    return name.endswith(".pyc") or "__pycache__" in name.split("/")


def _copy(origin: Path, target: Path, *, top: Path) -> None:
    """Copy a file; a link that leads out of the checkout by a relative way still leads there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if origin.is_symlink():
        goal = origin.readlink()
        full = Path(os.path.normpath(origin.parent / goal))
        inside = not goal.is_absolute() and full.is_relative_to(top)
        target.symlink_to(goal if inside else full)
    else:
        shutil.copy2(origin, target)


def _link(origin: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists() and not target.is_symlink():
        target.symlink_to(origin)


def _regular(place: Path, names: Sequence[str]) -> list[str]:
    """Return those of the names that are files of their own and no links."""
    return [name for name in names if not (place / name).is_symlink()]
