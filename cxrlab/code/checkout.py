"""Is the code of a run what its commit and its recorded changes come to?

A checkout is made for the question: a clone that borrows from the repository and touches nothing
in it. Where it is the very code, it takes the place of the copy that the run was queued with.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from cxrlab.code import frozen
from cxrlab.code.frozen import Code
from cxrlab.errors import CxrlabError, NotFound, Usage
from cxrlab.lab import Lab
from trainers import commit, source

MOST_NAMED = 5
"""Files that are named where they differ; the rest is counted."""


def remade(lab: Lab, run_id: str, folder: Path, *, repository: Path | None = None) -> Code:
    """Return the code of a run, made anew from its commit and `diff.patch`.

    Args:
        lab: keeps it.
        run_id: of the run.
        folder: its run folder, which says what its code was.
        repository: has its commit; where None, the checkout that it was queued from, or else the
            one of the trainers that are at work here.

    Raises:
        Usage: the run does not tell its code, or that was in no checkout.
        NotFound: git does not have the commit there.
        CxrlabError: the checkout is not the code that the run was queued with.
    """
    code = frozen.noted(folder)
    if code is None or code.commit is None:
        told = "does not tell its code" if code is None else "was queued with code outside of git"
        raise Usage(f"{run_id} {told}, so there is nothing to check out", "leave `--checkout` out")
    place = repository or _repository(code)
    if commit.ask(place, "cat-file", "-e", f"{code.commit}^{{commit}}") is None:
        raise NotFound(
            f"{place} does not have commit {code.commit[:12]}, which {run_id} was queued with",
            "name a checkout that has it by `--repository DIR`, or `git fetch` there",
        )
    with tempfile.TemporaryDirectory(prefix="cxrlab-checkout-") as temporary:
        root = Path(temporary) / "checkout"
        _git(place, "clone", "-q", "--shared", "--no-checkout", ".", str(root))
        _git(root, "-c", "advice.detachedHead=false", "checkout", "-q", code.commit)
        if code.diff:
            _git(root, "apply", "--whitespace=nowarn", str(folder / frozen.patch_of(folder)))
        package = root / code.within
        if not package.is_dir() or source.digest(package) != code.digest:
            raise CxrlabError(
                f"commit {code.commit[:12]} with {frozen.DIFF} is not the code of {run_id}: "
                f"{_unlike(package, code)}",
                "without `--checkout` it is run again with its own copy",
            )
        return frozen.copied(lab, package, code)


def _repository(code: Code) -> Path:
    here = commit.top(source.PACKAGE)
    for place in (Path(code.repository), here):
        if place is not None and place.is_dir():
            return place
    raise NotFound(
        f"{code.repository} is gone, which the code was queued from",
        "name another checkout by `--repository DIR`",
    )


def _unlike(package: Path, code: Code) -> str:
    """Return which files differ between a checkout and the copy of a run, where that is there."""
    copy = code.folder / package.name
    if not copy.is_dir():
        return "its digest is another, and the copy is gone"
    both = {*source.files_below(copy), *source.files_below(package)}
    other = sorted(name for name in both if _content(copy / name) != _content(package / name))
    more = f" and {len(other) - MOST_NAMED} more" if len(other) > MOST_NAMED else ""
    return ", ".join(other[:MOST_NAMED]) + more


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _git(place: Path, *words: str) -> None:
    done = subprocess.run(
        ["git", "-C", str(place), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0"},
    )
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise CxrlabError(f"git {words[0]} in {place}: {last}")
