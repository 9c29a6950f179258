"""Which radiographs of the Shenzhen set are trained, validated and tested on, for what?

`images/NAME.jpg` or `.png`, `masks/NAME.png` (lungs, for part of them; `NAME_mask.png` likewise),
`train_list.txt` and `val_list.txt` with lines `NAME normal tb`, and `test_list.txt` and
`metadata.csv` where somebody made them. The published lists have no test part.
Source: Jaeger et al., IEEE TMI 2014; lists as released with REFERS (Zhou et al., 2022).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, tables
from trainers.data.cases import Case, Split

CLASSES = ("tb",)
LABEL_COLUMNS = ("tb", "label")
"""Where a table may hold the label."""
VAL_SHARE = 0.15
"""Of the training patients, where there is no test list."""
_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def read(
    data_path: Path,
    ratio: int,
    *,
    seed: int = 0,
    lungs: bool = False,
    allow_overlap: bool = False,
) -> Split:
    """Return the cases of `data_path` that `ratio` percent of the labels leave to train on.

    Without a test list the validation list is the test set, as published work reports it, and a
    share of the training list is drawn for validation. A case's label is tuberculosis (1) or not.

    Args:
        data_path: the data set's folder.
        ratio: percent of the training images: `train_<ratio>.txt`, else drawn.
        seed: of whatever no list fixes.
        lungs: keep only images with a lung mask; the parts are otherwise the same.
        allow_overlap: take lists that share images; the facts then say how many.

    Raises:
        MissingError: the folder, its images, masks or lists are not there.
        InputError: a list or the metadata is not what it should be, or an image is in two lists.
    """
    images, masks = find_images(data_path), find_masks(data_path)
    patients = read_patients(data_path)
    names = ["train_list.txt", "val_list.txt"]
    if cases.find_list(data_path, "test_list.txt"):
        names.append("test_list.txt")
    paths = cases.needed_lists(data_path, names)
    if paths is None:
        raise MissingError(f"{data_path} holds no `train_list.txt` and no `val_list.txt`")
    facts: dict[str, Any] = {
        "images": len(images),
        "masks": len(masks),
        "lists": [cases.list_facts(path, cases.read_list(path)) for path in paths],
    }
    parts = [_listed(path, data_path, images, masks, patients) for path in paths]
    cases.refuse_leaks(_whole(parts, facts), allow_overlap=allow_overlap)
    if len(parts) == 2:
        val, train = cases.draw(parts[0], VAL_SHARE, seed=seed)
        parts = [train, val, parts[1]]
        facts["test"] = (
            "no test list: the validation list is the test set, and "
            f"{VAL_SHARE:.0%} of the training patients, stratified by label, seed {seed}, "
            "are the validation set"
        )
    parts[0], facts["ratio"] = cases.take_ratio(data_path, parts[0], ratio, seed=seed)
    if lungs:
        parts = [[case for case in part if case.mask is not None] for part in parts]
        facts["lungs"] = "only images with a lung mask"
        if not all(parts):
            raise MissingError(f"{data_path} has no lung masks in `masks/` for some of the lists")
    train, val, test = parts
    split = Split(train, val, test, facts)
    cases.count(split)
    return split


def _whole(parts: list[list[Case]], facts: dict[str, Any]) -> Split:
    """Return the lists as they are, before anything is drawn from them."""
    train, val, test = (*parts, [])[:3]
    return Split(train, val, test, facts)


def find_images(root: Path) -> dict[str, Path]:
    """Return the image files of `root` by name; raises `MissingError` when there is none."""
    found: dict[str, Path] = {}
    for path in sorted((root / "images").glob("*")):
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            name = cases.bare_name(path.name)
            if name in found:
                raise InputError(f"image `{name}` is there twice: {found[name]} and {path}")
            found[name] = path
    if not found:
        raise MissingError(f"{root / 'images'} holds no images")
    return found


def find_masks(root: Path) -> dict[str, Path]:
    """Return the lung masks of `root` by the name of their image."""
    return {
        cases.bare_name(path.name).removesuffix("_mask"): path
        for path in sorted((root / "masks").glob("*.png"))
    }


def read_patients(root: Path) -> dict[str, str]:
    """Return the patient of each image that `metadata.csv` names; empty without that file."""
    table = root / "metadata.csv"
    if not table.is_file():
        return {}
    found = {}
    for _, row in tables.rows(table, ("image_path",)):
        name = cases.bare_name(row["image_path"].strip())
        found[name] = row.get("patient_id", "").strip() or name
    return found


def _listed(
    path: Path,
    root: Path,
    images: dict[str, Path],
    masks: dict[str, Path],
    patients: dict[str, str],
) -> list[Case]:
    found = []
    for line in cases.read_list(path):
        if line.fields not in (("1", "0"), ("0", "1")):
            raise InputError(
                f"{path}:{line.number}: labels are `{' '.join(line.fields)}`; expected `1 0` "
                "(normal) or `0 1` (tuberculosis)"
            )
        name = line.name
        # an image that is not there is named, and skipped, when its item is asked for
        image = images.get(name, root / "images" / f"{name}.png")
        patient = patients.get(name, name)
        found.append(Case(name, patient, image, (int(line.fields[1]),), masks.get(name)))
    if not any(case.name in images for case in found):
        raise MissingError(f"none of the {len(found)} images of {path} is in {root / 'images'}")
    return found


def named(labels: Path) -> list[Case]:
    """Return the cases that a label file names, whose images are yet to be found.

    Args:
        labels: a list `NAME normal tb` or `NAME tb`, or a csv table with the image's name and `tb`
            or `label`, such as `metadata.csv`.

    Raises:
        MissingError: no such file.
        InputError: it is no such list or table, with its line.
    """
    found = []
    for row in labelled.read_labels(labels, [LABEL_COLUMNS]):
        if row.labels not in ((1, 0), (0, 1), (0,), (1,)):
            raise InputError(
                f"{labels}:{row.line}: labels are `{' '.join(map(str, row.labels))}`; expected "
                "`1 0` (normal) or `0 1` (tuberculosis)"
            )
        found.append(Case(row.name, row.patient, Path(row.name), row.labels[-1:]))
    return found


def masked(labels: Path) -> list[Case]:
    """Return the cases that a folder of lung masks names, whose images are yet to be found.

    Raises:
        MissingError: there is no such folder, or no mask in it.
        InputError: two masks are of one image.
    """
    masks = labelled.find_masks(labels)
    return [Case(name, name, Path(name), (1,), mask) for name, mask in masks.items()]
