"""How does a program of one's own execute its folder as it was when it was queued?

The files of the checkout that git tracks, or does not know of and does not ignore, are copied into
the run's folder, and the program starts there. What is no source (what git ignores, what it does
not know of and is large, what a lab keeps) is linked to, so that it is found where it was.
`trainers.adapt` reads what `copied.json` says.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterable, Mapping, Sequence
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

LARGEST_NEW = 5 * 2**20
"""A file that git does not know of and that is larger is data (bytes)."""

MOST_FILES, MOST_NEW = 10_000, 500
"""More files, or more that git does not know of, are no source code either."""

MOST_NAMED = 3


class Tree(NamedTuple):
    """A checkout as it is now."""

    top: Path
    within: str
    """Where in it the program starts; `.` for its root."""
    files: tuple[str, ...]
    """What is copied."""
    new: tuple[str, ...]
    """What of that git does not know of."""
    linked: tuple[str, ...]
    """What is no source."""
    folders: tuple[str, ...]
    """What git knows nothing of; they may be empty and wait for what a program writes."""
    bytes: int


def look(workdir: Path, lab: Lab) -> Tree:
    """Return what there is to copy.

    Raises:
        Usage: `workdir` is in no checkout, git ignores it, or more than source code is there.
    """
    top = commit.top(workdir)
    if top is None:
        raise Usage(
            f"{workdir} is in no git checkout, so source is not told from data",
            "`git init && git add .` there, once data is named in `.gitignore`",
        )
    within = workdir.resolve().relative_to(top.resolve()).as_posix()
    if within != "." and commit.ask(top, "check-ignore", within) is not None:
        raise Usage(
            f"{workdir} is ignored by the git checkout at {top}",
            "`git init && git add .` there makes it one of its own",
        )
    kept = _of_lab(top, lab)
    others = ("--others", "--exclude-standard")
    unknown = _outside(_names(top, *others), kept)
    inner = [name for name in unknown if name.endswith("/")]  # checkouts of their own
    sizes = _sizes(top, unknown)
    new = {name for name, size in sizes.items() if size <= LARGEST_NEW}
    data = sizes.keys() - new
    sizes = _sizes(top, [*_names(top, "--cached", "--recurse-submodules"), *new])
    _check(top, sizes, new=len(new))
    ignored = _outside(_names(top, *others, "--ignored", "--directory"), kept)
    ignored = [name for name in ignored if not _compiled(name)]
    folders = _outside(_names(top, *others, "--directory"), kept)
    return Tree(
        top=top,
        within=within,
        files=tuple(sorted(sizes)),
        new=tuple(sorted(new)),
        linked=tuple(sorted({name.rstrip("/") for name in (*ignored, *inner, *data, *kept)})),
        folders=tuple(sorted(name.rstrip("/") for name in folders if name.endswith("/"))),
        bytes=sum(sizes.values()),
    )


def told(tree: Tree) -> str:
    """Return in words what is copied: `~/MRM as it is now (213 files, 4.2 MiB)`."""
    much = f"{text.plural(len(tree.files), 'file')}, {text.size(tree.bytes)}"
    return f"{tree.top} as it is now ({much})"


def take(lab: Lab, tree: Tree, folder: Path) -> None:
    """Copy a checkout into a run folder, with its commit and what is not committed.

    Raises:
        OSError: a file cannot be read, or the disk is full; the run folder is gone then.
    """
    stands = commit.of_root(tree.top, tree.new)
    lab.make_folder(folder)
    try:
        target = folder / FOLDER
        with lab.creating():
            files = _fill(target, tree.top, tree.files)
            for name in tree.linked:
                _link(tree.top / name, target / name)
            for name in (tree.within, *tree.folders):
                _make_folders(tree.top / name, target / name)
        note = {
            "from": str(tree.top),
            "within": tree.within,
            "commit": stands.name,
            "uncommitted_changes": bool(stands.diff),
            "digest": source.digest(target, _regular(target, files)),
            "files": files,
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
    files = list(_sizes(place, note["files"]))
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


def _fill(target: Path, top: Path, names: Sequence[str]) -> list[str]:
    """Copy files, and return which; one that has gone since they were listed is left out."""
    target.mkdir(parents=True)
    done = []
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            _copy(top / name, target / name, top=top)
            done.append(name)
    return done


def _make_folders(origin: Path, target: Path) -> None:
    """Make a folder with those below it, but for what is linked to."""
    if target.is_symlink():
        return
    target.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError), os.scandir(origin) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False) and entry.name != ".git":
                _make_folders(Path(entry.path), target / entry.name)


def facts(folder: Path) -> dict[str, Any] | None:
    """Return what a run folder says of the copy that its program starts in; None for none."""
    note = within.read_object(folder, NOTE)
    if not isinstance(note.get("files"), list):
        return None
    told = ("from", "within", "commit", "uncommitted_changes", "digest")
    return {name: note.get(name) for name in told} | {"files": len(note["files"])}


def _names(top: Path, *which: str) -> list[str]:
    said = commit.ask(top, "ls-files", "-z", *which)
    if said is None:
        raise CxrlabError(f"git does not list the files of {top}", f"try `git -C {top} ls-files`")
    return [name for name in said.split("\0") if name]


def _sizes(top: Path, names: Iterable[str]) -> dict[str, int]:
    """Return the size of each file and link that is there."""
    found = {}
    for name in names:
        with contextlib.suppress(OSError):
            facts = (top / name).lstat()
            if stat.S_ISREG(facts.st_mode) or stat.S_ISLNK(facts.st_mode):
                found[name] = facts.st_size
    return found


def _check(top: Path, sizes: Mapping[str, int], *, new: int) -> None:
    hint = "name data in `.gitignore`, which is then linked to and not copied"
    total = sum(sizes.values())
    if total > LARGEST:
        largest = sorted(sizes, key=lambda name: -sizes[name])[:MOST_NAMED]
        named = ", ".join(f"{name} ({text.size(sizes[name])})" for name in largest)
        raise Usage(
            f"the checkout at {top} takes {text.size(total)}, more than {text.size(LARGEST)}; "
            f"its largest: {named}",
            hint,
        )
    for number, most, kind in (
        (len(sizes), MOST_FILES, "files"),
        (new, MOST_NEW, "files that git does not know of"),
    ):
        if number > most:
            raise Usage(
                f"the checkout at {top} has {number:,} {kind}, more than {most:,}",
                hint,
            )


def _of_lab(top: Path, lab: Lab) -> list[str]:
    """Return what a lab that lies in the checkout keeps there: runs, registry, weights."""
    root = lab.root.resolve()
    if not root.is_relative_to(top.resolve()):
        return []
    kept = [root / path.relative_to(lab.root)
            for path in (lab.runs_dir, lab.pretrained_dir, lab.registry.parent)]  # fmt: skip
    return [path.relative_to(top.resolve()).as_posix() for path in kept if path.exists()]


def _outside(names: Iterable[str], kept: Sequence[str]) -> list[str]:
    """Return the names that lie in none of these folders."""
    return [name for name in names if not f"{name}/".startswith(tuple(f"{each}/" for each in kept))]


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
