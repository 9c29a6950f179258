"""What is one labelled image, and how is a set of them divided?

Published lists are taken as they are, and refused when an image stands in two of them. Where there
is none, one is drawn: by patient, stratified by label, with a seed that is not the run's, so that
every run of every method sees the same one.
Shapes: H and W height and width in pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from trainers.config import InputError, MissingError
from trainers.data import fingerprint, rle, tables
from trainers.data.items import BadItem
from trainers.data.transforms import read_image

_FILE_ENDING = re.compile(r"\.(dcm|dicom|png|jpe?g)$", re.IGNORECASE)


class Frame(NamedTuple):
    """A box around a finding, in pixels of the original image."""

    x: float
    """Of its left edge."""
    y: float
    """Of its upper edge."""
    width: float
    height: float


class Case(NamedTuple):
    """One image, and what is known of it."""

    name: str
    """Without folder and file ending."""
    patient: str
    """Equal to `name` where no patient is published."""
    image: Path
    labels: tuple[int, ...]
    """0 or 1 for each class; for a segmentation set whether the mask has a pixel, for a
    detection set whether there is a box."""
    mask: Path | tuple[str, ...] | None = None
    """A PNG, or all rows of run lengths (none: an empty mask); None where none was drawn."""
    boxes: tuple[Frame, ...] = ()
    """Of a detection set, in the order of its table."""


@dataclass(frozen=True)
class Split:
    """What to train, validate and test on."""

    train: list[Case]
    val: list[Case]
    test: list[Case]
    facts: dict[str, Any] = field(default_factory=dict)
    """Counts, list files with their SHA-256, and what was drawn by which rule; JSON."""


def read_mask(case: Case, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the mask (H, W) of `case`, of 0 and 1.

    Args:
        case: one that has a mask.
        size: width and height of its image, which the mask must share.

    Raises:
        BadItem: the mask cannot be read, or is of another size.
    """
    if case.mask is None:
        raise BadItem(case.image, "has no mask")
    if isinstance(case.mask, tuple):
        try:
            return rle.union(case.mask, *size)
        except ValueError as error:
            raise BadItem(case.image, f"its mask cannot be read: {error}") from None
    mask = mask_pixels(case.mask)
    if mask.shape[::-1] != size:
        width, height = mask.shape[::-1]
        raise BadItem(
            case.mask, f"is {width} x {height} pixels, but its image is {size[0]} x {size[1]}"
        )
    return mask


def mask_pixels(path: Path) -> NDArray[np.uint8]:
    """Return the mask (H, W) in the image file at `path`, of 0 and 1.

    Raises:
        BadItem: it cannot be read.
    """
    values = np.asarray(read_image(path))
    # masks come with 0 and 1, or with 0 and 255, where JPEG may have blurred an edge
    return (values > (127 if values.max() > 1 else 0)).astype(np.uint8)


class ListLine(NamedTuple):
    """One line of a list file."""

    name: str
    """Without folder and file ending."""
    fields: tuple[str, ...]
    """What stands behind the name."""
    number: int


def bare_name(name: str) -> str:
    """Return `name` without folder and image ending; other dots belong to it, as in UIDs."""
    return _FILE_ENDING.sub("", name.replace("\\", "/").rpartition("/")[2])


def find_list(root: Path, name: str) -> Path | None:
    """Return the list file `name` in `root` or its folder `splits`."""
    return next((p for p in (root / name, root / "splits" / name) if p.is_file()), None)


def read_list(path: Path) -> list[ListLine]:
    """Return the lines of a list file; blank ones and repeats of a whole line are left out.

    Raises:
        InputError: it is not UTF-8, or names an image twice with different labels.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    found: dict[str, ListLine] = {}
    for number, line in enumerate(text.splitlines(), 1):
        # a name may hold blanks, its labels are numbers
        match = re.match(r"\s*(.+?)((?:[\s,;]+[01])*)[\s,;]*$", line)
        if match is None:
            continue
        now = ListLine(bare_name(match[1]), tuple(re.findall("[01]", match[2])), number)
        first = found.setdefault(now.name, now)
        if first.fields != now.fields:
            raise InputError(
                f"{path}:{number}: `{now.name}` is there twice with different labels, "
                f"first at line {first.number}"
            )
    return list(found.values())


def list_facts(path: Path, lines: Collection[ListLine]) -> dict[str, Any]:
    """Return what the facts of a split say of a list file."""
    return {"file": path.name, "sha256": tables.sha256(path), "images": len(lines)}


def overlaps(named: Mapping[str, Collection[str]]) -> dict[tuple[str, str], list[str]]:
    """Return, for each two of the named sets that share something, what they share, sorted."""
    return {
        (a, b): sorted(set(named[a]) & set(named[b]))
        for a, b in combinations(named, 2)
        if set(named[a]) & set(named[b])
    }


def count(split: Split) -> None:
    """Write into `split.facts` what each part holds: how many, with which label, which names.

    The names stand there as one SHA-256 of them, sorted, a line each: the split's fingerprint.
    """
    parts = {"train": split.train, "val": split.val, "test": split.test}
    split.facts["records"] = {name: len(part) for name, part in parts.items()}
    split.facts["positive"] = {
        name: np.sum([case.labels for case in part], axis=0, dtype=int).tolist()
        for name, part in parts.items()
    }
    names = {name: ((case.name,) for case in part) for name, part in parts.items()}
    split.facts["split_sha256"] = {name: fingerprint.of_rows(rows) for name, rows in names.items()}


def refuse_leaks(split: Split, *, allow_overlap: bool) -> None:
    """Count in `split.facts` what its parts share, and refuse it unless that is allowed.

    Raises:
        InputError: an image, or a patient, is in two parts, and `allow_overlap` is False.
    """
    parts = {"train": split.train, "val": split.val, "test": split.test}
    for what in ("name", "patient"):
        shared = overlaps({p: [getattr(c, what) for c in cases] for p, cases in parts.items()})
        word = {"name": "image", "patient": "patient"}[what]
        split.facts[f"shared_{word}s"] = {f"{a}+{b}": len(v) for (a, b), v in shared.items()}
        for (a, b), values in shared.items():
            if not allow_overlap:
                more = f", as are {len(values) - 1} more" if len(values) > 1 else ""
                raise InputError(
                    f"{word} `{values[0]}`{_whose(what, values[0], parts[a])} is in both the {a} "
                    f"and the {b} list{more}; scores on such lists are not to be trusted"
                )


def _whose(what: str, value: str, part: Sequence[Case]) -> str:
    """Return whose image it is, in words, where a patient is known."""
    patient = next(case.patient for case in part if value == getattr(case, what))
    return "" if patient == value else f" of patient `{patient}`"


def draw(cases: Sequence[Case], share: float, *, seed: int) -> tuple[list[Case], list[Case]]:
    """Divide `cases` in two, by patient and stratified by label; both keep their order.

    Draws for different shares are nested: what a small one takes, a larger one takes as well.

    Args:
        cases: in any order; the draw depends on the patients' names alone.
        share: of each stratum's patients that the first part gets, rounded, and at least one
            where the stratum has two.
        seed: of the draw.

    Returns:
        The share, and the rest.
    """
    strata: dict[tuple[int, ...], list[str]] = {}
    labels: dict[str, tuple[int, ...]] = {}
    for case in cases:
        earlier = labels.get(case.patient, (0,) * len(case.labels))
        labels[case.patient] = tuple(map(max, earlier, case.labels))
    for patient in sorted(labels):
        strata.setdefault(labels[patient], []).append(patient)
    taken: set[str] = set()
    for stratum in sorted(strata):
        patients = strata[stratum]
        count = round(share * len(patients))
        if not count and len(patients) > 1:
            count = 1
        order = np.random.default_rng([seed, *stratum]).permutation(len(patients))
        taken.update(patients[i] for i in order[:count])
    first = [case for case in cases if case.patient in taken]
    return first, [case for case in cases if case.patient not in taken]


class Draw(Protocol):
    """A way to divide cases in two by patient, as `draw` does."""

    def __call__(
        self, cases: Sequence[Case], share: float, *, seed: int
    ) -> tuple[list[Case], list[Case]]:
        """Return a share of `cases`, and the rest."""
        ...


def take_ratio(
    root: Path | None,
    train: Sequence[Case],
    ratio: int,
    *,
    seed: int,
    draw: Draw = draw,
) -> tuple[list[Case], dict[str, Any]]:
    """Return `ratio` percent of `train`, by the list `train_<ratio>.txt` where there is one.

    Args:
        root: where the list may lie; None where none belongs to `train`.
        train: all there is to train on.
        ratio: percent.
        seed: of the draw where there is no list.
        draw: how it is drawn then.

    Raises:
        InputError: `ratio` is not within 1 to 100, or the list names an image that is unknown.
    """
    if not 1 <= ratio <= 100:
        raise InputError(f"the ratio is {ratio} percent; expected 1 to 100")
    if ratio == 100:
        return list(train), {"rule": "all of train"}
    path = find_list(root, f"train_{ratio}.txt") if root else None
    if path is None:
        part, _ = draw(train, ratio / 100, seed=seed)
        return part, {
            "rule": f"{ratio} % of train, drawn by patient, stratified by label, nested, "
            f"seed {seed}"
        }
    lines = read_list(path)
    known = {case.name: case for case in train}
    strangers = [line for line in lines if line.name not in known]
    if strangers:
        raise InputError(
            f"{path}:{strangers[0].number}: `{strangers[0].name}` is not in the training list"
            + (f", nor are {len(strangers) - 1} more" if len(strangers) > 1 else "")
        )
    return [known[line.name] for line in lines], {"rule": "list", **list_facts(path, lines)}


def needed_lists(root: Path, names: Sequence[str]) -> list[Path] | None:
    """Return the list files `names`, or None when `root` has none of them.

    Raises:
        MissingError: some are there and some are not.
    """
    found = {name: find_list(root, name) for name in names}
    if not any(found.values()):
        return None
    for name, path in found.items():
        if path is None:
            there = next(p for p in found.values() if p)
            raise MissingError(f"{root} holds `{there.name}`, but no `{name}`")
    return [path for path in found.values() if path]
