"""Which published weights does a lab have, which may it fetch, and what is in such a file?

They lie in the lab's `pretrained/`. Most publishers say no digest of their files, so what was
fetched first is recorded in `SHA256SUMS` beside them (`sha256sum -c` reads it), and holds from then
on.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from cxrlab.assets import datasets, digests, download
from cxrlab.assets.digests import Digests
from cxrlab.errors import BadInput, NotFound, Usage, unknown_name
from cxrlab.lab import Lab
from trainers.catalog import METHODS

TABLE = Path(__file__).with_name("weights.toml")
SUMS = "SHA256SUMS"


@dataclass(frozen=True)
class Published:
    """A row of the table, or a file that somebody names by its address."""

    name: str
    file: str
    """Its name in `pretrained/`."""
    title: str = ""
    url: str = ""
    page: str = ""
    """Where a person gets it, where no program can."""
    md5: str = ""
    sha256: str = ""
    """Of both, as many of the first digits as the publisher says."""

    @property
    def how(self) -> str:
        """How it gets here."""
        if self.url:
            return f"cxrlab weights fetch {self.name}"
        return f"by hand, as {self.file}, from {self.page}" if self.page else ""


class Held(NamedTuple):
    """A file as the lab has it, or lacks it."""

    published: Published
    path: Path
    bytes: int | None
    """None where it is not there."""
    sha256: str
    """As recorded when it was fetched; empty for one that was brought by hand."""

    def facts(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            **{k: v or None for k, v in asdict(self.published).items()},
            "path": str(self.path),
            "there": self.bytes is not None,
            "bytes": self.bytes,
            "sha256": self.sha256 or None,
            "how": self.published.how or None,
        }


def read_table(path: Path | None = None) -> dict[str, Published]:
    """Return the published weights that cxrlab knows, by name."""
    rows = tomllib.loads((path or TABLE).read_text(encoding="utf-8"))["weights"]
    return {row["name"]: Published(**row) for row in rows}


def held(lab: Lab) -> list[Held]:
    """Return every row of the table, then whatever else lies in `pretrained/`."""
    folder, known = lab.pretrained_dir, recorded(lab.pretrained_dir)
    rows = list(read_table().values())
    named = {row.file for row in rows} | {SUMS}
    lying = sorted(folder.iterdir()) if folder.is_dir() else []
    rows += [
        Published(path.name, path.name)
        for path in lying
        if path.is_file() and path.name not in named and not path.name.startswith(".")
    ]
    found = []
    for row in rows:
        path = folder / row.file
        size = path.stat().st_size if path.is_file() else None
        found.append(Held(row, path, size, known.get(row.file, "")))
    return found


def find(word: str, *, file: str = "", url: str = "") -> Published:
    """Return what is to be fetched: a row of the table, or a file by its address.

    Args:
        word: a name of the table, or an address.
        file: the name it gets instead of its own.
        url: another address than the table's.

    Raises:
        NotFound: the table has no such name.
        Usage: it cannot be fetched, or would get no good name.
    """
    if "://" in word:
        own = unquote(urlsplit(word).path.rsplit("/", 1)[-1])
        wanted = Published(file or own, file or own, url=word)
    else:
        table = read_table()
        if word not in table:
            raise unknown_name("published file", word, table)
        wanted = replace(table[word], file=file or table[word].file)
    wanted = replace(wanted, url=url or wanted.url)
    if not wanted.url:
        raise Usage(f"`{word}` cannot be fetched by a program", wanted.how)
    if wanted.file in ("", SUMS) or wanted.file.startswith(".") or "/" in wanted.file:
        raise Usage(f"`{wanted.file}` is no name for a file of weights", "`--name` gives another")
    return wanted


class Fetched(NamedTuple):
    """A file that is there now, and whether it came just now."""

    path: Path
    digests: Digests
    new: bool


def fetch(
    lab: Lab,
    wanted: Published,
    *,
    sha256: str,
    again: bool,
    show: download.Show,
    say: download.Say,
) -> Fetched:
    """Bring a file into `pretrained/`, check it, and record its SHA-256.

    One that is there already is checked and left as it is.

    Args:
        lab: whose.
        wanted: what, and from where.
        sha256: what it must hash to, whatever was recorded before; empty: what was recorded.
        again: fetch it even if it is there.
        show: see `download.fetch`.
        say: likewise.

    Raises:
        CxrlabError: see `download.fetch` and `digests.check`.
    """
    folder = lab.pretrained_dir
    folder.mkdir(parents=True, exist_ok=True)
    path, known = folder / wanted.file, recorded(folder).get(wanted.file, "")
    expected = Digests(sha256=sha256 or known or wanted.sha256, md5=wanted.md5)
    there = path.exists() and not again
    try:
        if there:
            found = digests.check(path, expected)
        else:
            found = download.fetch(wanted.url, path, expected=expected, show=show, say=say)
    except BadInput as error:
        if there:
            raise BadInput(error.message, "`--again` fetches it anew") from None
        if known and not sha256:
            hint = f"{folder / SUMS} has it so since it was first fetched; see which one is right"
            raise BadInput(error.message, hint) from None
        raise
    record(folder, wanted.file, found.sha256)
    return Fetched(path, found, new=not there)


def recorded(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that `SHA256SUMS` names."""
    try:
        lines = (folder / SUMS).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(maxsplit=1) for line in lines if len(line.split(maxsplit=1)) == 2)
    return {name.removeprefix("*"): digest for digest, name in pairs}


def record(folder: Path, file: str, sha256: str) -> None:
    """Write into `SHA256SUMS` what a file hashes to, in place of what it said of it."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two fetches must not lose each other's line
        known = recorded(folder)
        if known.get(file) != sha256:
            lines = (f"{d}  {n}\n" for n, d in {**known, file: sha256}.items())
            temporary = folder / f".{SUMS}.new"
            temporary.write_text("".join(lines), encoding="utf-8")
            temporary.replace(folder / SUMS)
    finally:
        os.close(lock)


def of_method(lab: Lab, method: str) -> Path:
    """Return the published file that a baseline is.

    Raises:
        NotFound: the lab does not have it.
    """
    return _published(lab, METHODS[method].weights, f"`{method}` is")


def teacher_of(lab: Lab, method: str) -> Path:
    """Return the published file that teaches a method.

    Raises:
        NotFound: the lab does not have it.
    """
    other = ", or name another by `--set pretrain.teacher=FILE`"
    return _published(lab, METHODS[method].teacher, f"`{method}` learns from", other)


def _published(lab: Lab, name: str, what: str, other: str = "") -> Path:
    row = read_table()[name]
    path = lab.pretrained_dir / row.file
    if not path.is_file():
        raise NotFound(
            f"{what} the published {row.file}, which is not in {path.parent}",
            f"`cxrlab weights fetch {row.name}`{other}",
        )
    return path


def lacking(lab: Lab, methods: Iterable[str]) -> list[str]:
    """Return those of `methods` that are published weights which the lab does not have."""
    table = read_table()
    needs = {name: METHODS[name].weights for name in methods if METHODS[name].weights}
    return [n for n, w in needs.items() if not (lab.pretrained_dir / table[w].file).is_file()]


def left_out(names: Sequence[str]) -> str:
    """Return in a line why those methods are left out."""
    return (
        f"left out: {' and '.join(names)}, whose published weights are not in `pretrained/`; "
        "`cxrlab weights list` says how to get them"
    )


def inspect(path: Path) -> dict[str, Any]:
    """Return what is in a file of weights, as `trainers.describe` tells it.

    Raises:
        CxrlabError: it is not there (3), or is no file of weights or a dangerous one (4).
    """
    done = subprocess.run(
        [sys.executable, "-P", "-m", "trainers.describe", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=datasets.environment(),
        check=False,
    )
    datasets.fail_on(done.returncode, done.stderr)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
