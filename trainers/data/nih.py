"""Which radiographs of NIH ChestX-ray14 are trained, validated and tested on, with which labels?

Two divisions are in use, and a number of one says nothing of the other:

- `mrm`: lists with lines `NAME l1 ... l14`, as released with MRM (`00000001_000.png 0 1 ...`) and
  with REFERS (`images_001/00000001_000.png 0 1 ...`): 78,468 images to train, 11,219 to validate,
  22,433 to test, disjoint by patient. Their labels count; 181 images differ from the csv table of
  2020.
- `official`: NIH's own `train_val_list.txt` and `test_list.txt`, a file name a line, with the
  labels of `Data_Entry_2017.csv` or `Data_Entry_2017_v2020.csv`. Validation is drawn from the
  first.

Both publishers have a `test_list.txt`. It is told by its labels; where NIH's keeps the name, the
other may be called `mrm_test_list.txt`. All lists may lie in `splits/` as well. Images lie in
`images_001` to `images_012`, with or without another `images` inside, in `images/`, or beside the
lists.
Source: Wang et al., CVPR 2017; lists as released with MRM (Zhou et al., ICLR 2023) and REFERS.
"""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, spread, tables
from trainers.data.cases import Case, ListLine, Split

CLASSES = (
    "Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia",
    "Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening",
    "Hernia",
)  # fmt: skip
"""In the order of the published lists."""
NOTHING = "No Finding"
TABLE_COLUMNS = ("Image Index", "Finding Labels", "Patient ID")
VAL_SHARE = 0.125
"""Of the images to train and validate on, where no list says which; as MRM's lists have it."""
MRM_TEST = "mrm_test_list.txt"
"""MRM's `test_list.txt` where NIH's own has taken that name."""
_NAME = re.compile(r"(\d{8})_\d{3}$")
_NUMBERED = re.compile(r"images(_0\d\d)?$")

Which = Literal["auto", "mrm", "official"]


class Files(NamedTuple):
    """The image files of a folder."""

    images: dict[str, Path]
    """By name."""
    folders: dict[str, int]
    """How many of them lie in each folder; `.` is the data set's own."""
    twice: list[tuple[Path, Path]]
    """Files that have the name of an image that is taken from elsewhere, and that one."""


class Entry(NamedTuple):
    """What the csv table says of one image."""

    patient: str
    labels: tuple[int, ...]
    line: int


def which_split(root: Path, asked: Which = "auto") -> Literal["mrm", "official"]:
    """Return the division to use: the one `asked` for, else MRM's where its lists are there.

    Raises:
        MissingError: its lists are not there.
    """
    there = {
        "mrm": cases.find_list(root, "train_list.txt"),
        "official": cases.find_list(root, "train_val_list.txt"),
    }
    if asked != "official" and there["mrm"]:
        return "mrm"
    if asked != "mrm" and there["official"]:
        return "official"
    needed = {
        "mrm": "`train_list.txt` (MRM's lists)",
        "official": "`train_val_list.txt` (NIH's own lists)",
    }
    wanted = needed.get(asked) or " and no ".join(needed.values())
    raise MissingError(f"{root} holds no {wanted}")


def read(
    data_path: Path,
    ratio: int,
    *,
    seed: int = 0,
    split: Which = "auto",
    allow_overlap: bool = False,
) -> Split:
    """Return the cases of `data_path` that `ratio` percent of the labels leave to train on.

    Where MRM's lists come without a test list, the validation list is the test set, and a share of
    the training list is drawn for validation. What is drawn is disjoint by patient and nested, with
    each label in proportion.

    Args:
        data_path: the data set's folder.
        ratio: percent of the training images: MRM's `train_<ratio>.txt`, else drawn.
        seed: of whatever no list fixes.
        split: the division; `auto` takes MRM's lists where they are there, else NIH's own.
        allow_overlap: take lists that share images or patients; the facts then say how many.

    Raises:
        MissingError: the folder, its images, lists or table are not there.
        InputError: a list or the table is not what it should be, or two lists share an image or a
            patient.
    """
    which = which_split(data_path, split)
    files = find_images(data_path)
    facts: dict[str, Any] = {"images": len(files.images), "folders": files.folders}
    if files.twice:
        facts["same_name_elsewhere"] = len(files.twice)
    division = _mrm if which == "mrm" else _official
    found = division(data_path, files, ratio, seed=seed, allow_overlap=allow_overlap)
    every = (*found.train, *found.val, *found.test)
    facts["without_file"] = sum(case.name not in files.images for case in every)
    whole = Split(found.train, found.val, found.test, facts | found.facts)
    cases.count(whole)
    return whole


def _mrm(root: Path, files: Files, ratio: int, *, seed: int, allow_overlap: bool) -> Split:
    names = ["train_list.txt", "val_list.txt"]
    paths = cases.needed_lists(root, names) or []
    test = find_test_list(root, labelled=True)
    if test:
        paths.append(test)
    elif find_test_list(root, labelled=False):
        raise MissingError(
            f"{root} holds MRM's `train_list.txt`, but its `test_list.txt` has no labels and is "
            f"NIH's own; put MRM's beside it as `{MRM_TEST}`, or take `--split official`"
        )
    facts: dict[str, Any] = {
        "split": "MRM's lists",
        "labels": "the lists' own",
        "lists": [cases.list_facts(path, cases.read_list(path)) for path in paths],
    }
    parts = [_listed(path, root, files) for path in paths]
    cases.refuse_leaks(_whole(parts, facts), allow_overlap=allow_overlap)
    if len(parts) == 2:
        val, train = spread.draw(parts[0], VAL_SHARE, seed=seed)
        parts = [train, val, parts[1]]
        facts["test"] = (
            "no test list: the validation list is the test set, and "
            f"{VAL_SHARE:.1%} of the training images, drawn by patient, seed {seed}, are the "
            "validation set"
        )
    parts[0], facts["ratio"] = cases.take_ratio(root, parts[0], ratio, seed=seed, draw=spread.draw)
    nested = nesting(root)
    if nested:
        facts["nested"] = nested
    return Split(*parts, facts)


def _official(root: Path, files: Files, ratio: int, *, seed: int, allow_overlap: bool) -> Split:
    table = find_table(root)
    test_list = find_test_list(root, labelled=False)
    train_list = cases.find_list(root, "train_val_list.txt")
    if table is None:
        raise MissingError(f"{root} holds no `Data_Entry_2017_v2020.csv`, nor one of another year")
    if test_list is None or train_list is None:
        raise MissingError(
            f"{root} holds `train_val_list.txt`, but no `test_list.txt` of file names alone"
        )
    entries = read_table(table)
    facts: dict[str, Any] = {
        "split": "official",
        "labels": {"file": table.name, "sha256": tables.sha256(table), "images": len(entries)},
    }
    parts, facts["lists"] = [], []
    for path in (train_list, test_list):
        lines = cases.read_list(path)
        facts["lists"].append(cases.list_facts(path, lines))
        parts.append(_tabled(path, lines, table, entries, root, files))
    known, test = parts
    cases.refuse_leaks(Split(known, [], test, facts), allow_overlap=allow_overlap)
    val, train = spread.draw(known, VAL_SHARE, seed=seed)
    facts["val"] = (
        f"{VAL_SHARE:.1%} of the images of {train_list.name}, drawn by patient with each label in "
        f"proportion, seed {seed}"
    )
    # lists of 1 and 10 % belong to the other division
    train, facts["ratio"] = cases.take_ratio(None, train, ratio, seed=seed, draw=spread.draw)
    return Split(train, val, test, facts)


def _whole(parts: Sequence[list[Case]], facts: dict[str, Any]) -> Split:
    """Return the lists as they are, before anything is drawn from them."""
    train, val, test = (*parts, [])[:3]
    return Split(train, val, test, facts)


def find_test_list(root: Path, *, labelled: bool) -> Path | None:
    """Return the `test_list.txt` of `root` whose lines have labels, or that whose lines have none.

    Raises:
        InputError: one cannot be read.
    """
    for name in (MRM_TEST, "test_list.txt"):
        for path in (root / name, root / "splits" / name):
            lines = cases.read_list(path) if path.is_file() else []
            if lines and bool(lines[0].fields) is labelled:
                return path
    return None


def nesting(root: Path) -> dict[str, Any]:
    """Return whether MRM's 1 % list is part of its 10 % list, with counts; empty without both.

    The published one is not: scores at 1 and 10 % are then of two draws.
    """
    paths = [cases.find_list(root, f"train_{ratio}.txt") for ratio in (1, 10)]
    if not all(paths):
        return {}
    one, ten = ({line.name for line in cases.read_list(path)} for path in paths if path)
    return {"train_1.txt": len(one), "train_10.txt": len(ten), "shared": len(one & ten),
            "train_1_is_part_of_train_10": one <= ten}  # fmt: skip


def _listed(path: Path, root: Path, files: Files) -> list[Case]:
    found = []
    for line in cases.read_list(path):
        if len(line.fields) != len(CLASSES):
            raise InputError(
                f"{path}:{line.number}: `{line.name}` has {len(line.fields)} labels; expected "
                f"{len(CLASSES)} of 0 and 1"
            )
        labels = tuple(map(int, line.fields))
        found.append(Case(line.name, patient_of(line.name), _image(line.name, root, files), labels))
    _some_there(found, path, root, files)
    return found


def _tabled(
    path: Path,
    lines: Sequence[ListLine],
    table: Path,
    entries: Mapping[str, Entry],
    root: Path,
    files: Files,
) -> list[Case]:
    found = []
    for line in lines:
        if line.name not in entries:
            raise InputError(f"{path}:{line.number}: `{line.name}` has no row in {table}")
        entry = entries[line.name]
        image = _image(line.name, root, files)
        found.append(Case(line.name, entry.patient, image, entry.labels))
    _some_there(found, path, root, files)
    return found


def _image(name: str, root: Path, files: Files) -> Path:
    # an image that is not there is named, and skipped, when its item is asked for
    return files.images.get(name, root / "images" / f"{name}.png")


def _some_there(found: Sequence[Case], path: Path, root: Path, files: Files) -> None:
    if not any(case.name in files.images for case in found):
        raise MissingError(f"none of the {len(found)} images of {path} is in {root}")


def find_images(root: Path) -> Files:
    """Return the image files of `root` by name.

    Where a name is there more than once, `images_001` and the like come first, then `images`, then
    what lies beside the lists, then other folders `images*`, the fullest first.

    Raises:
        MissingError: there is none.
    """
    within = [folder for folder in root.glob("images*") if folder.is_dir()]
    places = [(folder, _files(folder)) for folder in within]
    places.append((root, _files(root, deep=False)))

    def rank(place: tuple[Path, list[Path]]) -> tuple[int, int, str]:
        folder, paths = place
        if folder != root and _NUMBERED.match(folder.name):
            return (0, 0, "~" if folder.name == "images" else folder.name)
        return (1, 0, "") if folder == root else (2, -len(paths), folder.name)

    found: dict[str, Path] = {}
    counts: Counter[str] = Counter()
    twice = []
    for folder, paths in sorted(places, key=rank):
        for path in paths:
            name = cases.bare_name(path.name)
            if name in found:
                twice.append((path, found[name]))
                continue
            found[name] = path
            counts["." if folder == root else folder.name] += 1
    if not found:
        raise MissingError(f"{root} holds no images, neither in folders `images*` nor beside them")
    return Files(found, dict(counts), twice)


def _files(folder: Path, *, deep: bool = True) -> list[Path]:
    """Return the image files in `folder`, and below it where it is to be `deep`, by their names."""
    found = []
    for here, inner, names in os.walk(folder, followlinks=True):
        inner[:] = sorted(inner) if deep else []
        images = (name for name in sorted(names) if name.lower().endswith(labelled.ENDINGS))
        found += [Path(here, name) for name in images if not name.startswith(".")]
    return found


def find_table(root: Path) -> Path | None:
    """Return the csv table of `root`: that of 2017 where there are several, as published work."""
    return next(iter(sorted(root.glob("Data_Entry_2017*.csv"))), None)


def read_table(path: Path) -> dict[str, Entry]:
    """Return what the csv table at `path` says of each image, by name.

    Raises:
        MissingError: no such file.
        InputError: it is no such table, a label is none of the fourteen, or an image is there twice
            with different labels; the message names file and line.
    """
    found: dict[str, Entry] = {}
    for line, row in tables.rows(path, TABLE_COLUMNS):
        name = cases.bare_name(row["Image Index"].strip())
        if not name:
            raise InputError(f"{path}:{line}: `Image Index` is empty")
        wrong = unknown_label(row["Finding Labels"])
        if wrong:
            raise InputError(f"{path}:{line}: {wrong}")
        entry = Entry(
            plain_patient(row["Patient ID"].strip()) or patient_of(name),
            labels_of(row["Finding Labels"]),
            line,
        )
        first = found.setdefault(name, entry)
        if first[:2] != entry[:2]:
            raise InputError(
                f"{path}:{line}: image `{name}` is there twice with different labels or patients, "
                f"first at line {first.line}"
            )
    return found


def labels_of(text: str) -> tuple[int, ...]:
    """Return the labels that a text such as `Effusion|Mass` names."""
    there = {label.strip() for label in text.split("|")}
    return tuple(int(name in there) for name in CLASSES)


def unknown_label(text: str) -> str:
    """Return what is wrong with a text such as `Effusion|Mass`; empty where nothing is."""
    there = [label.strip() for label in text.split("|")]
    for label in there:
        if label not in (*CLASSES, NOTHING):
            near = difflib.get_close_matches(label, (*CLASSES, NOTHING), n=1)
            hint = f"; did you mean `{near[0]}`?" if near else f"; known: {', '.join(CLASSES)}"
            return f"the label `{label}` is none of the fourteen{hint}"
    if NOTHING in there and len(there) > 1:
        return f"the labels `{text.strip()}` contradict each other"
    return ""


def patient_of(name: str) -> str:
    """Return the patient whose image is called `name`, as `00000001_000` is of `1`."""
    match = _NAME.match(name)
    return plain_patient(match[1]) if match else name


def plain_patient(text: str) -> str:
    """Return a patient's number without zeros in front, as the table has it; or other text."""
    return str(int(text)) if text.isdecimal() else text


def named(labels: Path) -> list[Case]:
    """Return the cases that a label file names, whose images are yet to be found.

    Args:
        labels: NIH's csv table, a list `NAME l1 ... l14`, or a csv table with the image's name and
            a column for each of `CLASSES`.

    Raises:
        MissingError: no such file.
        InputError: it is none of these; the message names the line.
    """
    if labels.is_file() and _is_nihs(labels):
        entries = read_table(labels).items()
        return [Case(name, e.patient, Path(name), e.labels) for name, e in entries]
    found = []
    for row in labelled.read_labels(labels, [(name,) for name in CLASSES]):
        if len(row.labels) != len(CLASSES):
            raise InputError(
                f"{labels}:{row.line}: `{row.name}` has {len(row.labels)} labels; expected "
                f"{len(CLASSES)} of 0 and 1"
            )
        patient = patient_of(row.name) if row.patient == row.name else plain_patient(row.patient)
        found.append(Case(row.name, patient, Path(row.name), row.labels))
    return found


def _is_nihs(path: Path) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return TABLE_COLUMNS[1] in file.readline()
