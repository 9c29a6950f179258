"""Which images does a label file name, and where in a folder do they lie?

For an evaluation apart from training: labels come from a list or a table of the data set's owners,
or from a csv table that somebody made, and images from any folder. An image is known by its name
without folders and ending, so that a list of PNGs serves a folder of JPEGs.
Shapes: C classes.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import cases, tables
from trainers.data.cases import Case

logger = logging.getLogger(__name__)

ENDINGS = (".png", ".jpg", ".jpeg", ".dcm", ".dicom")
"""Of image files, in capitals as well."""
MASKS = "masks"
"""A folder of that name within the images' holds masks, which have the names of images."""
NAME_COLUMNS = (
    "image_path", "image", "image_id", "imageid", "image index", "image_name", "name", "file",
    "file_name", "filename", "path", "id",
)  # fmt: skip
PATIENT_COLUMNS = ("patient_id", "patient", "patientid", "patient id")
"""Columns that say which image, and whose, in the order in which they are preferred."""
_YES = {"1", "1.0", "true", "yes"}
_NO = {"0", "0.0", "false", "no"}
_LIST_LINE = re.compile(r"\s*\S.*?([\s,;]+[01])+[\s,;]*$")


class Row(NamedTuple):
    """What a label file says of one image."""

    name: str
    """Without folder and file ending."""
    patient: str
    """Equal to `name` where the file names none."""
    labels: tuple[int, ...]
    """The zeros and ones of a list as they stand there; of a table one for each class."""
    line: int


def read_labels(path: Path, classes: Sequence[Sequence[str]]) -> list[Row]:
    """Return what a list `name 0 1 ...`, or a csv table with a header, says of each image.

    Args:
        path: the file; a table is one whose first line does not end in a 0 or 1.
        classes: for each class the columns of a table that may hold it, the preferred first.

    Raises:
        MissingError: no such file.
        InputError: it is neither, or says two things of one image; the message names the line.
    """
    if not path.is_file():
        word = "is a folder; expected a file of labels" if path.is_dir() else "does not exist"
        raise MissingError(f"{path} {word}")
    if _is_list(path):
        return [Row(n, n, tuple(map(int, f)), line) for n, f, line in cases.read_list(path)]
    return _read_table(path, classes)


def _is_list(path: Path) -> bool:
    if path.suffix == ".gz":
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        first = next((line for line in file if line.strip()), "")
    return bool(_LIST_LINE.match(first))


def _read_table(path: Path, classes: Sequence[Sequence[str]]) -> list[Row]:
    found: dict[str, Row] = {}
    columns: list[str] | None = None
    image = patient = ""
    for line, row in tables.rows(path, ()):
        if columns is None:
            image = _column(path, row, NAME_COLUMNS, "the image's name")
            patient = next((c for c in row if c.lower() in PATIENT_COLUMNS), "")
            columns = [_column(path, row, names, f"`{names[0]}`") for names in classes]
        name = cases.bare_name(row[image].strip())
        if not name:
            raise InputError(f"{path}:{line}: `{image}` is empty")
        labels = tuple(_label(path, line, column, row[column]) for column in columns)
        whose = row[patient].strip() if patient else ""
        now = Row(name, whose or name, labels, line)
        first = found.setdefault(name, now)
        if first.labels != labels:
            raise InputError(
                f"{path}:{line}: `{name}` is there twice with different labels, first at line "
                f"{first.line}"
            )
    return list(found.values())


def _column(path: Path, row: dict[str, str], names: Sequence[str], what: str) -> str:
    known = {column.lower(): column for column in row}
    for name in names:
        if name.lower() in known:
            return known[name.lower()]
    raise InputError(
        f"{path}:1: no column for {what} among {', '.join(map(tables.quoted, row))}; expected "
        f"{' or '.join(names)}"
    )


def _label(path: Path, line: int, column: str, text: str) -> int:
    word = text.strip().lower()
    if word not in _YES | _NO:
        said = tables.quoted(text)
        raise InputError(f"{path}:{line}: `{column}` is {said}; expected 0 or 1")
    return int(word in _YES)


def find_images(
    folder: Path, wanted: Collection[str], *, masks: Path | None = None
) -> dict[str, Path]:
    """Return the image files below `folder` that have one of the `wanted` names, by name.

    Links to folders are followed. Folders called `masks`, and the folder `masks`, are left out.

    Raises:
        MissingError: there is no such folder.
        InputError: an image is there twice.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder} is no folder of images")
    found: dict[str, Path] = {}
    for path in _files(folder, masks.resolve() if masks else None):
        name = cases.bare_name(path.name)
        if name not in wanted:
            continue
        if name in found and found[name].read_bytes() != path.read_bytes():
            raise InputError(f"image `{name}` is there twice: {found[name]} and {path}")
        found.setdefault(name, path)
    return found


def _files(folder: Path, masks: Path | None) -> Iterator[Path]:
    """Yield the files below `folder` that end as images do, in the order of their names."""
    seen: set[str] = set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen or (masks is not None and Path(real) == masks != folder.resolve()):
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if name.lower() != MASKS)
        for name in sorted(files):
            if name.lower().endswith(ENDINGS) and not name.startswith("."):
                yield Path(here) / name


def find_masks(folder: Path) -> dict[str, Path]:
    """Return the masks below `folder` by the name of their image; `NAME_mask.png` is one too.

    Raises:
        MissingError: there is no such folder, or no mask in it.
        InputError: two masks are of one image.
    """
    if not folder.is_dir():
        raise MissingError(f"{folder} is no folder of masks")
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in ENDINGS and not path.name.startswith("."):
            name = cases.bare_name(path.name).removesuffix("_mask")
            if name in found:
                raise InputError(f"image `{name}` has two masks: {found[name]} and {path}")
            found[name] = path
    if not found:
        raise MissingError(f"{folder} holds no masks")
    return found


def present(named: Sequence[Case], images: Path, labels: Path) -> tuple[list[Case], int]:
    """Return the cases whose image lies in `images`, with its path, and how many others there are.

    A warning names each image that is missing.

    Args:
        named: what the labels name; their `image` is not looked at.
        images: the folder to look in.
        labels: the file or folder that names them.

    Raises:
        MissingError: none is there.
        InputError: an image is there twice.
    """
    masks = labels if labels.is_dir() else None
    found = find_images(images, {case.name for case in named}, masks=masks)
    for case in named:
        if case.name not in found:
            logger.warning("image `%s` of %s is not in %s", case.name, labels, images)
    there = [case._replace(image=found[case.name]) for case in named if case.name in found]
    if not there:
        raise MissingError(f"none of the {len(named)} images that {labels} names is in {images}")
    return there, len(named) - len(there)
