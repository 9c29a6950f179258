"""Which radiographs and masks of SIIM-ACR Pneumothorax are trained, validated and tested on?

Reads the competition's DICOM tree, `dicom-images-*/STUDY/SERIES/SOP.dcm` with `train-rle.csv`, or
PNG pairs: `images/NAME.png` with `masks/NAME.png`, or Kaggle's `png_images/` with `png_masks/`. And
one of two protocols, whose scores do not compare:

`clean`: BenchX's lists `train.txt`, `val.txt`, `test.txt`, `train_10.txt` and `train_1.txt`, in the
folder, in its `splits/` or in a `benchx_siim/`; else lists of MRM's names that share no image and
no patient; else a draw by patient. MRM's own lists, which do share images, are left aside.

`legacy`: MRM's lists as they are, `train_list.txt`, `train_10.txt`, `val_list.txt` and
`test_list.txt`, one SOPInstanceUID a line, in the folder, in its `splits/` or in a `mrm_siim/`.

Source: the lists published with the code of BenchX (Zhou et al., NeurIPS 2024) and of MRM (Zhou et
al., ICLR 2023). BenchX names an image as Kaggle's PNG set does, `424_train_1_`; that set's tables
say which SOPInstanceUID it is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Literal

import pydicom

from trainers.config import InputError, MissingError
from trainers.data import cases, fingerprint, labelled, rle, tables
from trainers.data.cases import Case, Split
from trainers.data.items import BadItem

TABLES = ("stage_2_train.csv", "train-rle.csv", "siim.csv")
"""The first one there counts; that of the second stage has the rows of the first, and its test's.
"""
IMAGES, MASKS = ("images", "png_images"), ("masks", "png_masks")
NAME_TABLES = ("siim_labels.csv", "stage_1_train_images.csv", "stage_1_test_images.csv")
"""Kaggle's PNG set and BenchX's copy of it: `new_filename` and the `ImageId` it stands for."""
LISTS = ("train.txt", "val.txt", "test.txt")
MRM_LISTS = ("train_list.txt", "val_list.txt", "test_list.txt")
PLACES = (".", "splits", "benchx_siim", "splits/benchx_siim")
MRM_PLACES = (".", "mrm_siim", "splits/mrm_siim")
"""Where the lists of either may lie, a folder each, since both have a `train_10.txt`."""
RELEASED = "25f04b4e5c53614bbe0b4eb057f8531bdd45585e72102faf8b6d3432f2b518d5"
"""SHA-256 over the names, sorted, a line each, of the test list that was released with MRM."""
VAL_SHARE = 0.15
TEST_SHARE = 0.15
"""Of the patients, where no lists are there."""

Protocol = Literal["clean", "legacy"]


def read(data_path: Path, ratio: int, *, seed: int = 0, protocol: Protocol = "clean") -> Split:
    """Return the cases of `data_path` that `ratio` percent of the labels leave to train on.

    Args:
        data_path: the data set's folder.
        ratio: percent of the training images: `train_<ratio>.txt`, else drawn.
        seed: of whatever no list fixes.
        protocol: `legacy` takes lists that share images; the facts then say how many.

    Raises:
        MissingError: images, masks or one of the lists are not there.
        InputError: the table or a list is not what it should be, or, under `clean`, an image or
            patient is in two lists.
    """
    known, facts = index(data_path)
    facts["protocol"] = protocol
    legacy = protocol == "legacy"
    if not legacy:
        known = {name: with_patient(case) for name, case in known.items()}
    lists = _legacy_lists(data_path) if legacy else clean_lists(data_path)
    if lists is None:
        train, val, test = _drawn(list(known.values()), seed, facts)
        folder = None
    else:
        known = as_listed(known, lists[0], data_path)
        train, val, test = (_listed(path, known, data_path) for path in lists)
        facts["lists"] = [cases.list_facts(p, cases.read_list(p)) for p in lists]
        folder = lists[0].parent
    if legacy:
        facts["unseen"] = _unseen(test, seen(data_path))
    train, facts["ratio"] = cases.take_ratio(folder, train, ratio, seed=seed)
    split = Split(train, val, test, facts)
    cases.count(split)
    cases.refuse_leaks(split, allow_overlap=legacy)
    return split


def seen(data_path: Path) -> frozenset[str]:
    """Return the names in MRM's training and validation lists, whatever share is trained on."""
    train, val, _ = _legacy_lists(data_path)
    return frozenset(line.name for path in (train, val) for line in cases.read_list(path))


def _unseen(test: Sequence[Case], seen: Collection[str]) -> dict[str, int]:
    left = [case for case in test if case.name not in seen]
    return {"images": len(left), "positive": sum(case.labels[0] for case in left)}


def _legacy_lists(root: Path) -> list[Path]:
    for place in MRM_PLACES:
        if found := cases.needed_lists(root / place, MRM_LISTS):
            return found
    raise MissingError(
        f"{root} holds none of {', '.join(MRM_LISTS)}, the lists released with MRM, which this "
        "protocol is about; they may lie in `splits/`"
    )


def clean_lists(root: Path) -> list[Path] | None:
    """Return the lists of the protocol `clean` in `root`; None where a split is to be drawn.

    Raises:
        MissingError: some of the lists are there and some are not.
    """
    for place in PLACES:
        folder = root / place
        if any((folder / name).is_file() for name in LISTS):
            return cases.needed_lists(folder, LISTS)
    found = cases.needed_lists(root, MRM_LISTS)
    if found is None or _are_released(found[2]):
        return None
    return found


def _are_released(test: Path) -> bool:
    """Return whether `test` is MRM's own test list, 618 of whose images are in its other lists."""
    return fingerprint.of_rows((line.name,) for line in cases.read_list(test)) == RELEASED


def as_listed(known: dict[str, Case], listed: Path, root: Path) -> dict[str, Case]:
    """Return `known` under the names that a list uses: Kaggle's, or SOPInstanceUIDs."""
    if any(line.name in known for line in cases.read_list(listed)):
        return known
    other: dict[str, str] = {}
    for name in NAME_TABLES:
        table = cases.find_list(root, name)
        for _, row in tables.rows(table, ("new_filename", "ImageId")) if table else ():
            png, uid = cases.bare_name(row["new_filename"].strip()), row["ImageId"].strip()
            other |= {png: uid, uid: png}
    renamed = (case._replace(name=other.get(case.name, case.name)) for case in known.values())
    return {case.name: case for case in renamed}


def index(root: Path) -> tuple[dict[str, Case], dict[str, Any]]:
    """Return every annotated image of `root` by name, and facts.

    A case's patient is its own name here; only the DICOM header knows better (`with_patient`).
    """
    if not root.is_dir():
        raise MissingError(f"{root} does not exist")
    images = find_images(root)
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    facts: dict[str, Any] = {"images": len(images)}
    known = {}
    if table is not None:
        facts |= {"table": table.name, "sha256": tables.sha256(table)}
        for name, runs in read_rows(table).items():
            path = images.get(name, root / "dicom-images-train" / f"{name}.dcm")
            known[name] = Case(name, name, path, (int(bool(runs)),), runs)
    elif masks := next((root / name for name in MASKS if (root / name).is_dir()), None):
        for name, path in images.items():
            mask = masks / f"{name}.png"
            if mask.is_file():
                known[name] = Case(name, name, path, _has_pixels(mask), mask)
    else:
        raise MissingError(f"{root} holds neither {', '.join(TABLES)} nor `masks/`")
    facts["annotated"] = len(known)
    facts["not_annotated"] = len(images.keys() - known.keys())
    facts["missing_images"] = len(known.keys() - images.keys())
    if facts["missing_images"] == len(known):
        raise MissingError(f"{root} holds no image that its masks belong to")
    return known, facts


def read_rows(table: Path) -> dict[str, tuple[str, ...]]:
    """Return the run lengths of every image of a table; an image without a mask has none.

    Raises:
        InputError: a row has no image, or an image has both a mask and the mark for none.
    """
    runs: dict[str, tuple[str, ...]] = {}
    for line, row in tables.rows(table, ("ImageId", "EncodedPixels")):
        name, text = row["ImageId"].strip(), row["EncodedPixels"].strip()
        if not name:
            raise InputError(f"{table}:{line}: `ImageId` is empty")
        empty = text in ("", rle.EMPTY)
        if name in runs and (empty or not runs[name]) and (runs[name] or not empty):
            raise InputError(f"{table}:{line}: `{name}` has both a mask and the mark for none")
        runs[name] = runs.get(name, ()) + (() if empty else (text,))
    return runs


def find_images(root: Path) -> dict[str, Path]:
    """Return all image files by name; a SOPInstanceUID may be there only once."""
    pngs = next((root / name for name in IMAGES if (root / name).is_dir()), root / IMAGES[0])
    folders = sorted(root.glob("dicom-images-*")) or [pngs]
    found: dict[str, Path] = {}
    for path in sorted(p for folder in folders for p in folder.rglob("*") if _is_image(p)):
        name = cases.bare_name(path.name)
        if name in found:
            raise InputError(f"image `{name}` is there twice: {found[name]} and {path}")
        found[name] = path
    if not found:
        raise MissingError(f"{root} holds no images below `dicom-images-train/` or `images/`")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in (".dcm", ".png", ".jpg", ".jpeg")


def _has_pixels(mask: Path) -> tuple[int, ...]:
    try:
        return (int(cases.mask_pixels(mask).any()),)
    except BadItem:
        return (0,)  # named again, and skipped, when the item is asked for


def named(labels: Path) -> list[Case]:
    """Return the cases that a table of run lengths, or a folder of masks, names.

    Their images are yet to be found.

    Raises:
        MissingError: it is not there.
        InputError: it is no such table, with its line, or two masks are of one image.
    """
    if labels.is_dir():
        masks = labelled.find_masks(labels)
        return [Case(n, n, Path(n), _has_pixels(mask), mask) for n, mask in masks.items()]
    rows = {cases.bare_name(name): runs for name, runs in read_rows(labels).items()}
    return [Case(n, n, Path(n), (int(bool(runs)),), runs) for n, runs in rows.items()]


def with_patient(case: Case) -> Case:
    """Return `case` with the PatientID of its DICOM header, where it has one."""
    if case.image.suffix.lower() != ".dcm":
        return case
    try:
        header = pydicom.dcmread(case.image, stop_before_pixels=True, specific_tags=["PatientID"])
    except (OSError, ValueError, pydicom.errors.InvalidDicomError):
        return case  # named, and skipped, when the item is asked for
    return case._replace(patient=str(header.get("PatientID") or case.name))


def _listed(path: Path, known: dict[str, Case], root: Path) -> list[Case]:
    lines = cases.read_list(path)
    for line in lines:
        if line.name not in known:
            raise InputError(
                f"{path}:{line.number}: image `{line.name}` has no mask in {root}; expected a row "
                f"in one of {', '.join(TABLES)}, or a file in `masks/`"
            )
    return [known[line.name] for line in lines]


def _drawn(
    known: Sequence[Case], seed: int, facts: dict[str, Any]
) -> tuple[list[Case], list[Case], list[Case]]:
    there = [case for case in known if case.image.is_file()]
    test, rest = cases.draw(there, TEST_SHARE, seed=seed)
    val, train = cases.draw(rest, VAL_SHARE / (1 - TEST_SHARE), seed=seed)
    facts["lists"] = (
        f"no clean ones found: drawn by patient, stratified by pneumothorax, {VAL_SHARE:.0%} of "
        f"patients for validation, {TEST_SHARE:.0%} for test, seed {seed}"
    )
    return train, val, test
