"""Which code does a queued run execute, whatever is edited afterwards?

A copy of the trainers' source, made when the run is queued. Copies lie in `.cxrlab/code`, one for
each content, under the beginning of its digest; the run's folder names its own in `code.json`, and
the runner puts it first on the search path. Plain copies: a hard link would follow an editor that
writes in place.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shlex
import shutil
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from cxrlab.errors import CxrlabError, NotFound
from cxrlab.lab import Lab
from cxrlab.runner import search_path
from store import within
from trainers import commit, source

DIFF = "diff.patch"
OTHER_DIFF = "adapter.patch"
"""The same of the trainers where `diff.patch` is that of a program of one's own."""

_LETTERS = 16
_LOCK = ".lock"


class Code(NamedTuple):
    """Code that runs were queued with."""

    digest: str
    folder: Path
    """The copy."""
    search_path: tuple[str, ...]
    """What stood in `PYTHONPATH` beside it."""
    commit: str | None
    diff: str
    """What was not committed."""
    repository: str
    """The checkout that it was copied from; empty for none."""
    within: str
    """The path of the package in that checkout."""


@contextlib.contextmanager
def door(lab: Lab) -> Iterator[None]:
    """Keep every copy from being removed, so that one can be taken and named in a run folder."""
    with _locked(lab, fcntl.LOCK_SH):
        yield


def freeze(lab: Lab) -> Code:
    """Return today's code of the trainers, copied unless the lab has that very copy."""
    package = source.PACKAGE
    stands = commit.of_package(package)
    top = commit.top(package) if stands.name else None
    digest, folder = _copied(lab, package)
    return Code(
        digest=digest,
        folder=folder,
        search_path=_search_path(),
        commit=stands.name,
        diff=stands.diff,
        repository=str(top or ""),
        within=str(package.relative_to(top.resolve())) if top else package.name,
    )


def copied(lab: Lab, package: Path, code: Code) -> Code:
    """Return `code` with a copy of `package`, which has its content, copied where it is not yet."""
    digest, folder = _copied(lab, package)
    return code._replace(digest=digest, folder=folder)


def note(folder: Path, code: Code, *, attempt: int = 1, own: bool = False) -> None:
    """Write into a run folder which code the run executes from `attempt` on.

    Args:
        folder: of the run.
        code: what it executes.
        attempt: from when on.
        own: whether the trainers only look after a program of one's own.
    """
    said = source.note(folder)
    earlier = [*said.get("before", ())]
    if said.get("digest") not in (None, code.digest):
        earlier.append({key: said.get(key) for key in ("digest", "folder", "commit", "attempt")})
    content = {
        "digest": code.digest,
        "folder": str(code.folder),
        "search_path": list(code.search_path),
        "commit": code.commit,
        "uncommitted_changes": bool(code.diff),
        "repository": code.repository,
        "within": code.within,
        "patch": OTHER_DIFF if own else DIFF,
        "attempt": attempt,
        "before": earlier,
    }
    patch = folder / str(content["patch"])
    if code.diff:
        patch.write_text(code.diff, encoding="utf-8")
    else:
        patch.unlink(missing_ok=True)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    temporary = folder / f".{source.NOTE}.new"
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(folder / source.NOTE)


def noted(folder: Path) -> Code | None:
    """Return the code that a run folder names; None where it names none."""
    said = source.note(folder)
    if not said.get("digest"):
        return None
    with contextlib.suppress(OSError, KeyError):
        diff = within.read_text(folder, patch_of(folder)) if said["uncommitted_changes"] else ""
        return Code(
            digest=said["digest"],
            folder=Path(said["folder"]),
            search_path=tuple(said["search_path"]),
            commit=said["commit"],
            diff=diff,
            repository=said["repository"],
            within=said.get("within", source.PACKAGE.name),
        )
    return None


def patch_of(folder: Path) -> str:
    """Return the name of the file of a run folder that holds what of its code was not committed."""
    return OTHER_DIFF if source.note(folder).get("patch") == OTHER_DIFF else DIFF


def line(folder: Path, command: Collection[str]) -> str:
    """Return the shell's line that runs `command` by hand, with the code of its run folder."""
    path = search_path(folder)
    words = shlex.join(command)
    return f"PYTHONPATH={shlex.quote(path)} {words}" if path is not None else words


def check(run_id: str, folder: Path) -> None:
    """Make sure that the code a run was queued with is there.

    Raises:
        NotFound: it is gone.
    """
    if not is_there(folder):
        raise NotFound(
            f"the code that {run_id} was queued with is gone",
            f"`cxrlab retry {run_id} --fresh-code` goes on with today's",
        )


def is_there(folder: Path) -> bool:
    """Return whether the code that a run folder names is there; True where it names none."""
    try:
        search_path(folder)
    except (OSError, ValueError, LookupError):
        return False
    return True


def named(folder: Path) -> set[str]:
    """Return the digests that a run folder names, those of earlier attempts included."""
    said = source.note(folder)
    return {each["digest"] for each in (said, *said.get("before", ())) if each.get("digest")}


def release(lab: Lab, digests: Collection[str]) -> None:
    """Remove the copies of these digests that no run folder names any more."""
    left = {digest for digest in digests if _place(lab, digest).is_dir()}
    if not left:
        return
    with _locked(lab, fcntl.LOCK_EX):
        with os.scandir(lab.runs_dir) as folders:
            for entry in folders:
                left -= named(Path(entry.path))
                if not left:
                    return
        for digest in left:
            shutil.rmtree(_place(lab, digest), ignore_errors=True)


def _place(lab: Lab, digest: str) -> Path:
    return lab.code_dir / digest[:_LETTERS]


def _copied(lab: Lab, package: Path) -> tuple[str, Path]:
    """Return digest and place of a copy of `package`, made whole or not at all."""
    digest = source.digest(package)
    place = _place(lab, digest)
    if place.is_dir():
        return digest, place
    new = lab.code_dir / f".new-{os.getpid()}-{secrets.token_hex(4)}"
    try:
        for name in source.files_below(package):
            target = new / package.name / name
            with lab.creating():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(package / name, target)
            target.chmod(stat.S_IMODE(target.stat().st_mode) & ~0o222)
        digest = source.digest(new / package.name)  # one may have been saved meanwhile
        place = _place(lab, digest)
        with contextlib.suppress(OSError):  # another was first
            new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    if not place.is_dir():
        raise CxrlabError(f"the trainers' code could not be copied to {place}")
    return digest, place


def _search_path() -> tuple[str, ...]:
    parts = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return tuple(os.path.abspath(part) for part in parts if part)  # noqa: PTH100 - links stay links


@contextlib.contextmanager
def _locked(lab: Lab, how: int) -> Iterator[None]:
    lab.make_folder(lab.code_dir)
    with (lab.code_dir / _LOCK).open("a") as file:
        fcntl.flock(file, how)
        yield


def facts(folder: Path) -> dict[str, Any] | None:
    """Return what is told of a run's code; None where it was not frozen."""
    said = source.note(folder)
    if not said.get("digest"):
        return None
    return {
        "digest": said["digest"],
        "folder": said["folder"],
        "there": Path(said["folder"]).is_dir(),
        "commit": said.get("commit"),
        "uncommitted_changes": bool(said.get("uncommitted_changes")),
        "attempt": said.get("attempt", 1),
        "before": said.get("before", []),
    }
