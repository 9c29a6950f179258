"""Which radiographs and boxes of RSNA Pneumonia are trained, validated and tested on?

Reads the competition's layout: `stage_2_train_labels.csv`, a row for each box, and the images
`stage_2_train_images/PATIENTID.dcm`; PNG or JPEG images of the same names will do, there or in
`images/`. An image has one patient of its own, since no other is published.

Lists `train_list.txt`, `val_list.txt` and `test_list.txt`, an id a line, in the folder itself or in
its `splits/`, are taken where they are. Else the split is drawn as MGCA draws it: all ids of the
table in the order of their names, 60 % to train, 20 % to validate and 20 % to test, by
scikit-learn's `train_test_split` called twice with `random_state` 0, which leaves 16,010, 5,337
and 5,337 of the competition's 26,684 images.

Source: the split, MGCA's released code (Wang et al., NeurIPS 2022). Ours: shares of 1 and 10 % lie
in one another and are stratified by whether there is a box; MGCA's are drawn apart, with seed 42.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pydicom
from PIL import Image

from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, tables
from trainers.data.cases import Case, Frame, Split
from trainers.data.transforms import DICOM_SUFFIXES

TABLE = "stage_2_train_labels.csv"
FOLDERS = ("stage_2_train_images", "images")
LISTS = ("train_list.txt", "val_list.txt", "test_list.txt")
COLUMNS = ("patientId", "x", "y", "width", "height", "Target")
HELD_OUT = 0.2
"""Of the images for validation, and as many for test, where no lists are there."""
_SUFFIXES = (".dcm", ".dicom", ".png", ".jpg", ".jpeg")


class Row(NamedTuple):
    """One row of the table, and what is wrong with it."""

    line: int
    name: str
    target: str
    """As it stands there; 0 or 1 unless there is a fault."""
    box: Frame | None
    fault: str
    """Empty where there is none."""


def read(data_path: Path, ratio: int, *, seed: int = 0, allow_overlap: bool = False) -> Split:
    """Return the cases of `data_path` that `ratio` percent of the labels leave to train on.

    Args:
        data_path: the data set's folder.
        ratio: percent of the training images: `train_<ratio>.txt`, else drawn.
        seed: of whatever no list fixes.
        allow_overlap: take lists that share images; the facts then say how many.

    Raises:
        MissingError: images, the table or one of the lists are not there.
        InputError: the table or a list is not what it should be, a box does not lie in its image,
            or an image is in two lists.
    """
    table = table_of(data_path)
    images = find_images(data_path)
    boxes = read_boxes(table)
    expected = data_path / FOLDERS[0]
    known = {
        name: _case(name, images.get(name, expected / f"{name}.dcm"), rows)
        for name, rows in boxes.items()
    }
    missing = known.keys() - images.keys()
    if len(missing) == len(known):
        raise MissingError(f"{data_path} holds no image that {table.name} names")
    refuse_outside(table, {name: boxes[name] for name in known.keys() - missing}, images)
    facts: dict[str, Any] = {
        "images": len(images),
        "table": table.name,
        "sha256": tables.sha256(table),
        "boxes": sum(len(case.boxes) for case in known.values()),
        "missing_images": len(missing),
        "images_without_row": len(images.keys() - known.keys()),
    }
    found = cases.needed_lists(data_path, LISTS)
    if found is None:
        parts = _drawn(sorted(known), seed, facts)
    else:
        parts = [_listed(path, known, table) for path in found]
        facts["lists"] = [cases.list_facts(p, cases.read_list(p)) for p in found]
    train, val, test = ([known[n] for n in part if n not in missing] for part in parts)
    train, facts["ratio"] = cases.take_ratio(data_path, train, ratio, seed=seed)
    split = Split(train, val, test, facts)
    cases.count(split)
    cases.refuse_leaks(split, allow_overlap=allow_overlap)
    return split


def read_folder(images: Path, labels: Path) -> tuple[list[Case], int]:
    """Return the cases that the table `labels` names, and how many have no image in `images`.

    Raises:
        MissingError: none of them is there.
        InputError: the table is not what it should be, or a box does not lie in its image.
    """
    boxes = read_boxes(labels)
    named = [_case(name, images / name, rows) for name, rows in boxes.items()]
    there, missing = labelled.present(named, images, labels)
    paths = {case.name: case.image for case in there}
    refuse_outside(labels, {name: boxes[name] for name in paths}, paths)
    return there, missing


def table_of(root: Path) -> Path:
    """Return the table of `root`; raises `MissingError` where there is none."""
    if not root.is_dir():
        raise MissingError(f"{root} does not exist")
    if not (root / TABLE).is_file():
        raise MissingError(f"{root} holds no `{TABLE}`")
    return root / TABLE


def rows(table: Path) -> Iterator[Row]:
    """Yield every row of `table` with what is wrong with it, its box's place in the image aside.

    Raises:
        MissingError: no such file.
        InputError: it is no such table.
    """
    seen: dict[str, list[Row]] = {}
    for line, fields in tables.rows(table, COLUMNS):
        name, target = cases.bare_name(fields["patientId"].strip()), fields["Target"].strip()
        sides = [fields[side].strip() for side in COLUMNS[1:5]]
        box = _box(sides) if target == "1" else None
        now = Row(line, name, target, box, "")
        now = now._replace(fault=_fault(now, sides, seen.get(name, [])))
        if not now.fault:
            seen.setdefault(name, []).append(now)
        yield now


def _box(sides: Sequence[str]) -> Frame | None:
    try:
        x, y, width, height = map(float, sides)
    except ValueError:
        return None
    if not all(map(math.isfinite, (x, y, width, height))):
        return None
    return Frame(x, y, width, height) if min(x, y) >= 0 and min(width, height) > 0 else None


def _fault(row: Row, sides: Sequence[str], earlier: Sequence[Row]) -> str:
    if not row.name:
        return "`patientId` is empty"
    if row.target not in ("0", "1"):
        return f"`Target` is `{row.target}`; expected 0 or 1"
    if row.target == "1" and row.box is None:
        return "`Target` is 1; expected a box of positive size"
    if row.target == "0" and any(sides):
        return "`Target` is 0; expected no box"
    if any(other.target != row.target for other in earlier):
        return f"`{row.name}` is there with another `Target`"
    twice = [other.line for other in earlier if other.box == row.box]
    if twice:
        what = "the same box" if row.box else "no box"
        return f"`{row.name}` is there with {what} at line {twice[0]} already"
    return ""


def read_boxes(table: Path) -> dict[str, list[Row]]:
    """Return the rows of each image, in the order of the table.

    Raises:
        MissingError: no such file.
        InputError: it is no such table, or a row is wrong; the message names its line.
    """
    found: dict[str, list[Row]] = {}
    for row in rows(table):
        if row.fault:
            raise InputError(f"{table}:{row.line}: {row.fault}")
        found.setdefault(row.name, []).append(row)
    if not found:
        raise InputError(f"{table} has no rows")
    return found


def refuse_outside(table: Path, boxes: dict[str, list[Row]], images: dict[str, Path]) -> None:
    """Refuse a box that does not lie within its image; only headers of images are read.

    Raises:
        InputError: naming the line and the image's size.
    """
    for name, own in boxes.items():
        for line, fault in outside(own, images[name]):
            raise InputError(f"{table}:{line}: {fault}")


def outside(own: Sequence[Row], image: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and fault of each box of one image that does not lie within it.

    Nothing where there is no box, or where the image's size cannot be read.
    """
    framed = [(row.line, row.box) for row in own if row.box is not None]
    size = image_size(image) if framed else None
    if size is None:
        return
    for line, (x, y, width, height) in framed:
        if x + width > size[0] or y + height > size[1]:
            yield (
                line,
                f"the box reaches to {x + width:g}, {y + height:g}, but the image {image.name} "
                f"is {size[0]} x {size[1]} pixels",
            )


def image_size(path: Path) -> tuple[int, int] | None:
    """Return width and height of an image from its header; None where that cannot be read."""
    try:
        if path.suffix.lower() in DICOM_SUFFIXES:
            wanted = ["Rows", "Columns"]
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=wanted)
            return int(header.Columns), int(header.Rows)
        with Image.open(path) as image:
            return image.size
    except (OSError, ValueError, AttributeError, SyntaxError, pydicom.errors.InvalidDicomError):
        return None  # named, and skipped, when the item is asked for


def find_images(root: Path) -> dict[str, Path]:
    """Return all image files by name; a name may be there only once."""
    folders = [root / name for name in FOLDERS if (root / name).is_dir()]
    found: dict[str, Path] = {}
    for path in sorted(path for folder in folders for path in folder.rglob("*")):
        if path.suffix.lower() not in _SUFFIXES:
            continue
        name = cases.bare_name(path.name)
        if name in found:
            raise InputError(f"image `{name}` is there twice: {found[name]} and {path}")
        found[name] = path
    if not found:
        raise MissingError(f"{root} holds no images in {' or '.join(f'`{f}/`' for f in FOLDERS)}")
    return found


def _case(name: str, image: Path, own: Sequence[Row]) -> Case:
    boxes = tuple(row.box for row in own if row.box is not None)
    return Case(name, name, image, (int(bool(boxes)),), boxes=boxes)


def _listed(path: Path, known: dict[str, Case], table: Path) -> list[str]:
    lines = cases.read_list(path)
    for line in lines:
        if line.name not in known:
            raise InputError(
                f"{path}:{line.number}: image `{line.name}` has no row in {table.name}"
            )
    return [line.name for line in lines]


def _drawn(names: list[str], seed: int, facts: dict[str, Any]) -> list[list[str]]:
    part = max(round(HELD_OUT * len(names)), 1)
    if len(names) < 3 * part:
        raise InputError(f"{len(names)} images are too few to train, validate and test on")
    from sklearn.model_selection import train_test_split  # here, because it is long in loading

    train, held_out = train_test_split(names, test_size=2 * part, random_state=seed)
    test, val = train_test_split(held_out, test_size=part, random_state=seed)
    facts["lists"] = (
        "none found: drawn as MGCA draws them, 60 % to train, 20 % to validate, 20 % to test, "
        f"by scikit-learn's train_test_split over the sorted ids, random_state {seed}"
    )
    return [train, val, test]
