"""How do predictions that were made elsewhere become arrays as our own runs save them?

Three forms are taken. Our own `predictions.npz`, of any task. For a classification a csv table with
a header, one image a row: `name`, optionally `patient`, and for each class `label_CLASS` (0 or 1)
and `score_CLASS` (any number, the higher the likelier); with a single class also `label` and
`score`. Or text files, one a class and called after it (`Hernia.txt`; a single class may have any
name), each line `label probability` of one image, the same images in the same order in all of them.
Text files name neither image nor patient, so that each line counts as a patient of its own.
Source: the text form is that of the results released with REFERS (Zhou et al., 2022).
Shapes: N images, C classes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np

from trainers.config import InputError, MissingError
from trainers.data import tables
from trainers.predictions import Arrays, Scored, join_scores

NAMELESS = "the files name no patients: each image counts as one in the bootstrap"
TABLES = (".csv", ".tsv", ".gz")


def read(files: Sequence[Path], task: str, module: ModuleType) -> tuple[Arrays, list[str]]:
    """Return the predictions in `files`, and what a reader of their numbers must know.

    Args:
        files: one table or `predictions.npz`; or text files, or a folder of them.
        task: what the task is called.
        module: the task's file.

    Raises:
        MissingError: a file is not there.
        InputError: a file is not what it should be; the message names its line.
    """
    for path in files:
        if not path.exists():
            raise MissingError(f"predictions {path} do not exist")
    if len(files) == 1 and files[0].suffix == ".npz":
        return _read_npz(files[0], task, module), []
    classes = module.join([]).get("classes", np.array([])).tolist()
    if not classes:
        raise InputError(f"{files[0]}: `{task}` is no classification; expected predictions.npz")
    if len(files) == 1 and files[0].is_file() and files[0].suffix.lower() in TABLES:
        return _read_table(files[0], classes)
    return _read_texts(_texts(files), classes), [NAMELESS]


def _read_npz(path: Path, task: str, module: ModuleType) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = dict(file)
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    for name, empty in module.join([]).items():
        if name not in arrays:
            raise InputError(f"{path} lacks `{name}`, which `{task}` needs")
        if arrays[name].ndim != empty.ndim:
            raise InputError(
                f"{path}: `{name}` has {arrays[name].ndim} axes; expected {empty.ndim}, as in "
                f"predictions of `{task}`"
            )
    if len(arrays["names"]) == 0:
        raise InputError(f"{path} holds no predictions")
    if "classes" in arrays and "score" in arrays:
        _check_scores(path, arrays, len(module.join([])["classes"]))
    return arrays


def _check_scores(path: Path, arrays: Arrays, classes: int) -> None:
    shape = (len(arrays["names"]), classes)
    for name in ("score", "label"):
        if arrays[name].shape != shape:
            raise InputError(f"{path}: `{name}` is {arrays[name].shape}; expected {shape}")
    if not np.isfinite(arrays["score"].astype(np.float64)).all():
        raise InputError(f"{path}: a score is not a number")
    if not np.isin(arrays["label"], (0, 1)).all():
        raise InputError(f"{path}: a label is neither 0 nor 1")


def _read_table(path: Path, classes: Sequence[str]) -> tuple[Arrays, list[str]]:
    names = [(f"label_{name}", f"score_{name}") for name in classes]
    if len(classes) == 1:
        for _, first in tables.rows(path, ("name",)):
            if names[0][0] not in first:
                names = [("label", "score")]
            break
    needed = ("name", *(column for pair in names for column in pair))
    found: dict[str, Scored] = {}
    patients = False
    for line, row in tables.rows(path, needed):
        where = f"{path}:{line}"
        name = row["name"].strip()
        if not name:
            raise InputError(f"{where}: `name` is empty")
        if name in found:
            raise InputError(f"{where}: `{name}` is there twice")
        patient = row.get("patient", "").strip()
        patients = patients or bool(patient)
        label = [_label(where, column, row[column]) for column, _ in names]
        score = [_number(where, column, row[column]) for _, column in names]
        found[name] = Scored(name, patient or name, score, label)
    if not found:
        raise InputError(f"{path} holds no predictions")
    return join_scores([list(found.values())], classes=classes), [] if patients else [NAMELESS]


def _texts(files: Sequence[Path]) -> list[Path]:
    """Return the text files that are meant: those given, and those in the folders given."""
    found: list[Path] = []
    for path in files:
        found += sorted(path.glob("*.txt")) if path.is_dir() else [path]
    if not found:
        raise MissingError(f"{files[0]} holds no text files")
    return found


def _read_texts(files: Sequence[Path], classes: Sequence[str]) -> Arrays:
    by_class = {classes[0]: files[0]} if len(classes) == len(files) == 1 else _named(files, classes)
    columns = {name: _read_text(path) for name, path in by_class.items()}
    first = classes[0]
    for name in classes:
        if len(columns[name]) != len(columns[first]):
            raise InputError(
                f"{by_class[name]} has {len(columns[name])} lines, {by_class[first]} has "
                f"{len(columns[first])}; expected the same images in all of them"
            )
    rows = zip(*(columns[name] for name in classes), strict=True)
    scored = [
        Scored(str(number), str(number), [score for _, score in row], [label for label, _ in row])
        for number, row in enumerate(rows, 1)
    ]
    return join_scores([scored], classes=classes)


def _named(files: Sequence[Path], classes: Sequence[str]) -> dict[str, Path]:
    known = {name.lower(): name for name in classes}
    found: dict[str, Path] = {}
    for path in files:
        name = known.get(path.stem.lower())
        if name is None:
            raise InputError(f"{path} is called after no class; there are {', '.join(classes)}")
        if name in found:
            raise InputError(f"{path} and {found[name]} are both of `{name}`")
        found[name] = path
    absent = [name for name in classes if name not in found]
    if absent:
        raise InputError(f"{files[0].parent} lacks the classes {', '.join(absent)}")
    return found


def _read_text(path: Path) -> list[tuple[int, float]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise InputError(f"{path} is not UTF-8 text") from None
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        where, fields = f"{path}:{number}", line.split()
        if not fields:
            continue
        if len(fields) != 2:
            raise InputError(f"{where}: {len(fields)} fields; expected `label probability`")
        found.append((_label(where, "label", fields[0]), _number(where, "probability", fields[1])))
    if not found:
        raise InputError(f"{path} is empty; expected lines `label probability`")
    return found


def _label(where: str, column: str, text: str) -> int:
    if text.strip() not in ("0", "1", "0.0", "1.0"):
        raise InputError(f"{where}: `{column}` is `{text.strip()}`; expected 0 or 1")
    return int(float(text))


def _number(where: str, column: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"{where}: `{column}` is `{text.strip()}`; expected a number")
    return number
