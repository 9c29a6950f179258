"""Which studies did REFERS train on, and which did it hold out, by its published lists?

`train.txt` and `test.txt` hold one study's folder a line: `.../files/p10/p10032725/s50331901`.
Source: `DataProcessed/MIMIC` of the code released with REFERS (Zhou et al., 2022). Its test list is
part of the official validation and test sets together, so the official mark says which is which.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import tables

TRAIN, TEST = "train.txt", "test.txt"
_STUDY = re.compile(r"(?:^|[/\\])p(\d+)[/\\]s(\d+)[/\\]?$")

Study = tuple[str, str]
"""Patient and study, without their letters."""


class Lists(NamedTuple):
    """The studies of both lists, with the SHA-256 of each."""

    train: frozenset[Study]
    test: frozenset[Study]
    sha256: dict[str, str]

    def split_of(self, patient: str, study: str, official: str | None) -> str | None:
        """Return the split of a study's images; None where they are left out.

        Training: listed to be trained on, and not held out officially. Held out: listed so, and
        not trained on officially; those that are marked as test remain test.
        """
        key = (patient.lstrip("pP"), study.lstrip("sS"))
        if key in self.train:
            return "train" if official in (None, "train") else None
        if key in self.test:
            return None if official == "train" else official or "val"
        if not self.test and official in ("val", "test"):
            return official
        return None

    def facts(self, there: set[Study]) -> dict[str, Any]:
        """Return counts: studies listed, and how many of them are among those that are `there`."""
        bare = {(patient.lstrip("pP"), study.lstrip("sS")) for patient, study in there}
        listed = self.train | self.test
        return {"listed": len(listed), "found": len(listed & bare), "sha256": self.sha256}


def read(folder: Path) -> Lists:
    """Return the lists in `folder`; `test.txt` may be missing.

    Without it the official validation and test studies are held out.

    Raises:
        MissingError: there is no `train.txt`.
        InputError: a line names no study, or a study is in both lists.
    """
    if not (folder / TRAIN).is_file():
        raise MissingError(f"{folder} holds no `{TRAIN}` with a study's folder a line")
    paths = [folder / name for name in (TRAIN, TEST) if (folder / name).is_file()]
    found = {path.name: _read(path) for path in paths}
    train, test = found[TRAIN], found.get(TEST, {})
    for study, line in test.items():
        if study in train:
            raise InputError(
                f"{folder / TEST}:{line}: study `p{study[0]}/s{study[1]}` is to be held out, but "
                f"{TRAIN}:{train[study]} trains on it"
            )
    digests = {path.name: tables.sha256(path) for path in paths}
    return Lists(frozenset(train), frozenset(test), digests)


def digest(folder: Path) -> str:
    """Return one SHA-256 over both lists; what is wrong with them is said at once, as by `read`."""
    told = sorted(read(folder).sha256.items())
    return hashlib.sha256(repr(told).encode()).hexdigest()


def _read(path: Path) -> dict[Study, int]:
    """Return the studies in a list, each with the line it is first named on."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    studies: dict[Study, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        found = _STUDY.search(line.strip())
        if found is None:
            raise InputError(
                f"{path}:{number}: {tables.quoted(line)} names no study; "
                "expected `.../p10032725/s50331901`"
            )
        studies.setdefault((found[1], found[2]), number)
    if not studies:
        raise InputError(f"{path} is empty; expected a study's folder a line")
    return studies
