"""What does a folder of each data set hold: its images, its lists, its labels?

For checking, not for training: nothing is refused that can still be described, and every image is
named, used or not.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import (
    annotated,
    cases,
    covid,
    fingerprint,
    mimic,
    nih,
    r2gen,
    records,
    rsna,
    shenzhen,
    siim,
    tables,
)
from trainers.data.cases import Case

SUBSETS = ("train_10.txt", "train_1.txt")
LISTS = ("train_list.txt", "val_list.txt", "test_list.txt", *SUBSETS)
OFFICIAL_LISTS = ("train_val_list.txt", "test_list.txt")
"""NIH's own, which divide otherwise than the lists that methods are compared by."""
FINDINGS = nih.CLASSES
"""The labels of ChestX-ray14, in the order of the published lists."""
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".dcm")


class Fault(NamedTuple):
    """Something that is wrong with a file."""

    path: str
    message: str


@dataclass
class Inventory:
    """What a data set's folder holds."""

    images: dict[str, Case]
    """Every image by name, with a path even where no file is."""
    parts: dict[str, list[str]] = field(default_factory=dict)
    """Names of the images of `train`, `val` and `test`."""
    facts: dict[str, Any] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def mimic_cxr(root: Path) -> Inventory:
    """Describe records for pre-training, or R2Gen's file; an image's name is its path."""
    others = mimic.is_tree(root) or (root / "training.csv").is_file()
    if (root / r2gen.FILE).is_file() and not others:
        return _annotation(root)
    found = records.read_records(root, allow_overlap=True)
    parts = {"train": found.train, "val": found.val, "test": found.test}
    every = [record for part in parts.values() for record in part]
    words = [len(record.report.split()) for record in every]
    facts = found.facts | {
        "distinct_reports": len({record.report for record in every}),
        "words_of_a_report": {"median": statistics.median(words), "most": max(words)},
    }
    listing = Inventory(
        {str(r.image): Case(str(r.image), r.patient, r.image, ()) for r in every},
        {name: [str(r.image) for r in part] for name, part in parts.items()},
        facts,
    )
    if facts["empty_reports"]:
        listing.notes.append(f"{facts['empty_reports']} reports are empty and will be left out")
    if facts.get("without_report"):
        listing.notes.append(f"{facts['without_report']} images have no report")
    return listing


def _annotation(root: Path) -> Inventory:
    """Describe R2Gen's `annotation.json`, which serves `report` alone, and its images."""
    path = root / r2gen.FILE
    listing = Inventory({}, facts={"table": path.name, "sha256": tables.sha256(path)})
    listing.notes.append("for `report` alone: pre-training reads no `annotation.json`")
    rows, words, reports = [], [], []
    for part, entries in r2gen.read(path).items():
        listing.parts[part] = []
        seen: set[str] = set()
        for number, entry in enumerate(entries):
            images = [annotated.image_root(root) / image for image in entry["image_path"]]
            item = annotated.item_of(entry, images)
            if item.name in seen:
                message = f"entry {number} of `{part}` repeats `{item.name}`"
                listing.faults.append(Fault(str(path), message))
            seen.add(item.name)
            for image in images:
                listing.images[str(image)] = Case(str(image), item.patient, image, ())
                listing.parts[part].append(str(image))
            reports.append(item.report)
            words.append(len(item.report.split()))
            rows.append((item.name, *map(str, images), fingerprint.of_text(item.report), part))
    empty = sum(not report for report in reports)
    if empty:
        listing.notes.append(f"{empty} reports are empty and will be left out")
    listing.facts |= {
        "records": {part: len(names) for part, names in listing.parts.items()},
        "reports": len(reports),
        "empty_reports": empty,
        "distinct_reports": len(set(reports)),
        "words_of_a_report": {"median": statistics.median(words), "most": max(words)},
        "fingerprint": fingerprint.of_rows(rows),
    }
    return listing


def siim_acr(root: Path) -> Inventory:
    """Describe images, masks and lists of SIIM-ACR Pneumothorax."""
    known, facts = siim.index(root)
    images = {name: siim.with_patient(case) for name, case in known.items()}
    for name, path in siim.find_images(root).items():
        images.setdefault(name, siim.with_patient(Case(name, name, path, (0,))))
    listing = Inventory(images, facts=facts)
    if facts["not_annotated"]:
        listing.notes.append(f"{facts['not_annotated']} images have no mask and no mark for none")
    lists = siim.clean_lists(root)
    if lists and lists[0].name == siim.LISTS[0]:
        listing.images = siim.as_listed(images, lists[0], root)
        _take_parts(listing, lists)
    elif not _take_lists(listing, root):
        _take_drawn(listing, siim.read(root, 100))
    _count_labels(listing, ("pneumothorax",))
    return listing


def shenzhen_set(root: Path) -> Inventory:
    """Describe images, lung masks and lists of the Shenzhen set."""
    split = shenzhen.read(root, 100, allow_overlap=True)
    masks, patients = shenzhen.find_masks(root), shenzhen.read_patients(root)
    images = {case.name: case for case in (*split.train, *split.val, *split.test)}
    listed = len(images)
    for name, path in shenzhen.find_images(root).items():
        case = Case(name, patients.get(name, name), path, (0,), masks.get(name))
        images.setdefault(name, case)
    listing = Inventory(images, facts={k: v for k, v in split.facts.items() if k != "ratio"})
    _take_drawn(listing, split)
    if len(images) > listed:
        listing.notes.append(f"{len(images) - listed} images are in no list")
    for name in sorted(masks.keys() - images.keys()):
        listing.faults.append(Fault(str(masks[name]), "is the mask of no image"))
    _count_labels(listing, shenzhen.CLASSES)
    return listing


def nih_set(root: Path) -> Inventory:
    """Describe images, labels and lists of ChestX-ray14; without its table the lists' labels."""
    table = nih.find_table(root)
    files = nih.find_images(root)
    listing = Inventory({}, facts={"images": len(files.images), "folders": files.folders})
    if files.twice:
        other, taken = files.twice[0]
        listing.notes.append(
            f"{len(files.twice)} files have the name of another image and are not used, such as "
            f"{other}, for which {taken} is"
        )
    if table is not None:
        listing.facts |= {"table": table.name, "sha256": tables.sha256(table)}
        _take_entries(listing, table, root, files)
    elif cases.find_list(root, LISTS[0]) is None:
        raise MissingError(f"{root} holds no `Data_Entry_2017_v2020.csv` and no `{LISTS[0]}`")
    else:
        listing.notes.append("there is no csv table: the labels are those of the lists")
        _take_listed(listing, root, files)
    strangers = files.images.keys() - listing.images.keys()
    for name in strangers:
        listing.images[name] = Case(name, nih.patient_of(name), files.images[name], ())
    if strangers:
        where = table.name if table else "any list"
        listing.notes.append(f"{len(strangers)} images have no row in {where}")
    if not _take_lists(listing, root, of_nih=True):
        listing.notes.append("no lists are there")
    nested = nih.nesting(root)
    if nested:
        listing.facts["nested"] = nested
        if not nested["train_1_is_part_of_train_10"]:
            listing.notes.append(
                f"{SUBSETS[1]} is no part of {SUBSETS[0]}: they share {nested['shared']} of its "
                f"{nested[SUBSETS[1]]} images, so the two are different draws"
            )
    _count_labels(listing, FINDINGS)
    return listing


def _take_entries(listing: Inventory, table: Path, root: Path, files: nih.Files) -> None:
    """Read the rows of NIH's table into `listing`; what is wrong with one is a fault."""
    for line, row in tables.rows(table, nih.TABLE_COLUMNS):
        image = row["Image Index"].strip()
        name = cases.bare_name(image)
        if name in listing.images:
            listing.faults.append(Fault(f"{table}:{line}", f"image `{name}` has a second row"))
        wrong = nih.unknown_label(row["Finding Labels"])
        if wrong:
            listing.faults.append(Fault(f"{table}:{line}", wrong))
        path = files.images.get(name, root / "images" / image)
        patient = nih.plain_patient(row["Patient ID"].strip())
        labels = nih.labels_of(row["Finding Labels"])
        listing.images[name] = Case(name, patient, path, labels)


def _take_listed(listing: Inventory, root: Path, files: nih.Files) -> None:
    """Read the images that lists name into `listing`, with the labels that stand there."""
    paths = [cases.find_list(root, name) for name in LISTS[:2]]
    for path in (*paths, nih.find_test_list(root, labelled=True)):
        for line in cases.read_list(path) if path else ():
            image = files.images.get(line.name, root / "images" / f"{line.name}.png")
            labels = tuple(map(int, line.fields))
            found = Case(line.name, nih.patient_of(line.name), image, labels)
            listing.images.setdefault(line.name, found)


def covid_set(root: Path) -> Inventory:
    """Describe images, masks, labels and groups of the COVID-19 Image Data Collection."""
    split = covid.read(root, "covid", 100, allow_overlap=True)
    images = {case.name: case for case in (*split.train, *split.val, *split.test)}
    listed = len(images)
    masks = {cases.bare_name(path.name): path for path in sorted((root / "masks").glob("*.png"))}
    patients = covid.patients(root)
    for path in sorted((root / "images").glob("*")):
        name = cases.bare_name(path.name)
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            images.setdefault(name, Case(name, patients.get(name, name), path, ()))
    with_masks = {name: case._replace(mask=masks.get(name)) for name, case in images.items()}
    facts = {key: value for key, value in split.facts.items() if key != "ratio"}
    listing = Inventory(with_masks, facts=facts | {"images": len(images), "masks": len(masks)})
    _take_drawn(listing, split)
    if len(images) > listed:
        listing.notes.append(f"{len(images) - listed} images are in no part")
    for name in sorted(masks.keys() - images.keys()):
        listing.faults.append(Fault(str(masks[name]), "is the mask of no image"))
    try:
        viral = covid.read(root, "viral", 100, allow_overlap=True)
        listing.facts["viral"] = {key: viral.facts[key] for key in ("by", "records", "positive")}
    except (InputError, MissingError) as error:
        listing.notes.append(f"not for `covid_viral`: {error}")
    _count_labels(listing, ("covid",))
    return listing


def rsna_pneumonia(root: Path) -> Inventory:
    """Describe images, boxes and lists of RSNA Pneumonia."""
    table = rsna.table_of(root)
    listing = Inventory({}, facts={"table": table.name, "sha256": tables.sha256(table)})
    files = _find_images(listing, root, *rsna.FOLDERS)
    boxes: dict[str, list[rsna.Row]] = {}
    for row in rsna.rows(table):
        if row.fault:
            listing.faults.append(Fault(f"{table}:{row.line}", row.fault))
        boxes.setdefault(row.name, []).extend([] if row.fault else [row])
    for name, own in boxes.items():
        path = files.get(name, root / rsna.FOLDERS[0] / f"{name}.dcm")
        framed = tuple(row.box for row in own if row.box is not None)
        listing.images[name] = Case(name, name, path, (int(bool(framed)),), boxes=framed)
        for line, fault in rsna.outside(own, path):
            listing.faults.append(Fault(f"{table}:{line}", fault))
    listing.facts["boxes"] = sum(len(case.boxes) for case in listing.images.values())
    _take_untabled(listing, files, table)
    if not _take_lists(listing, root):
        if listing.faults:
            listing.notes.append("no lists are there, and none is drawn while there are faults")
        else:
            _take_drawn(listing, rsna.read(root, 100, allow_overlap=True))
    _count_labels(listing, ("pneumonia",))
    return listing


READERS: dict[str, Callable[[Path], Inventory]] = {
    "mimic_cxr": mimic_cxr,
    "siim": siim_acr,
    "shenzhen": shenzhen_set,
    "nih": nih_set,
    "covid": covid_set,
    "rsna": rsna_pneumonia,
}


def _find_images(listing: Inventory, root: Path, *patterns: str) -> dict[str, Path]:
    """Return image files below the folders `patterns` by name; a second of a name is a fault."""
    found: dict[str, Path] = {}
    folders = (folder for pattern in patterns for folder in sorted(root.glob(pattern)))
    paths = (path for folder in folders for path in sorted(folder.rglob("*")))
    for path in paths:
        if path.suffix.lower() in _IMAGE_SUFFIXES:
            name = cases.bare_name(path.name)
            if name in found:
                message = f"has the name of another image, {found[name]}"
                listing.faults.append(Fault(str(path), message))
            found.setdefault(name, path)
    if not found:
        names = " or ".join(f"`{pattern}`" for pattern in patterns)
        raise MissingError(f"{root} holds no images in folders named {names}")
    listing.facts["images"] = len(found)
    return found


def _take_untabled(listing: Inventory, files: dict[str, Path], table: Path) -> None:
    strangers = files.keys() - listing.images.keys()
    for name in strangers:
        listing.images[name] = Case(name, name, files[name], ())
    if strangers:
        listing.notes.append(f"{len(strangers)} images have no row in {table.name}")


def _take_lists(listing: Inventory, root: Path, *, of_nih: bool = False) -> bool:
    """Read whatever list files there are into `listing`; returns whether there was one.

    Where both NIH's own lists and others are there, the others are taken; of two test lists that
    with labels goes with those, as training has it.
    """
    names = LISTS if cases.find_list(root, LISTS[0]) else OFFICIAL_LISTS
    found = {name: cases.find_list(root, name) for name in names}
    if of_nih:
        own = nih.find_test_list(root, labelled=names == LISTS)
        found["test_list.txt"] = own or found["test_list.txt"]
    read = {name: (path, cases.read_list(path)) for name, path in found.items() if path}
    for path, lines in read.values():
        for line in lines:
            if line.name not in listing.images:
                message = f"image `{line.name}` is unknown: it has no row and no file"
                listing.faults.append(Fault(f"{path}:{line.number}", message))
    listed = {name: [line.name for line in lines] for name, (_, lines) in read.items()}
    whole = listed.get(names[0], [])
    for name in SUBSETS:
        beyond = set(listed.get(name, ())) - set(whole)
        if beyond:
            message = f"{len(beyond)} images are not in {names[0]}: {_some(beyond)}"
            listing.faults.append(Fault(str(read[name][0]), message))
    train = [*whole, *(n for name in SUBSETS for n in listed.get(name, ()))]
    listing.parts = {
        "train": list(dict.fromkeys(train)),
        "val": listed.get("val_list.txt", []),
        "test": listed.get("test_list.txt", []),
    }
    listing.facts["lists"] = {path.name: len(lines) for path, lines in read.values()}
    _take_labels(listing, {line.name: line.fields for _, ls in read.values() for line in ls})
    return bool(read)


def _take_parts(listing: Inventory, lists: Sequence[Path]) -> None:
    """Take lists to train, validate and test on as they are; an unknown image is a fault."""
    for part, path in zip(("train", "val", "test"), lists, strict=True):
        lines = cases.read_list(path)
        for line in lines:
            if line.name not in listing.images:
                message = f"image `{line.name}` is unknown: it has no row and no file"
                listing.faults.append(Fault(f"{path}:{line.number}", message))
        listing.parts[part] = [line.name for line in lines]
    listing.facts["lists"] = {path.name: len(listing.parts[path.stem]) for path in lists}


def _take_labels(listing: Inventory, listed: dict[str, tuple[str, ...]]) -> None:
    """Prefer the labels of the lists to the table's, and note how many images differ."""
    differ = 0
    for name, fields in listed.items():
        case = listing.images.get(name)
        if case and fields and len(fields) == len(case.labels):
            labels = tuple(map(int, fields))
            differ += labels != case.labels
            listing.images[name] = case._replace(labels=labels)
    if differ:
        listing.notes.append(f"images whose labels differ between table and lists: {differ}")


def _take_drawn(listing: Inventory, split: cases.Split) -> None:
    parts = {"train": split.train, "val": split.val, "test": split.test}
    listing.parts = {name: [case.name for case in part] for name, part in parts.items()}
    for key in ("lists", "test"):
        if isinstance(split.facts.get(key), str):
            listing.notes.append(f"{key}: {split.facts[key]}")


def _count_labels(listing: Inventory, classes: Sequence[str]) -> None:
    def positives(names: Iterable[str]) -> dict[str, int]:
        rows = [listing.images[n].labels for n in names if n in listing.images]
        rows = [row for row in rows if len(row) == len(classes)]
        return {name: sum(row[i] for row in rows) for i, name in enumerate(classes)}

    listing.facts["positive"] = {
        "all": positives(listing.images),
        **{part: positives(names) for part, names in listing.parts.items()},
    }
    listing.facts["records"] = {part: len(names) for part, names in listing.parts.items()}


def _some(names: Iterable[str]) -> str:
    first = sorted(names)
    return ", ".join(first[:3]) + (", ..." if len(first) > 3 else "")
