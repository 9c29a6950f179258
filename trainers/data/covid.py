"""Which radiographs of the COVID-19 Image Data Collection are trained, validated and tested on?

Two questions are asked of it. `covid`: is it COVID-19 (1), or something else (0), which is mostly
another pneumonia: SARS, bacteria, Pneumocystis, ARDS. `viral`: is the pneumonia viral (1; COVID-19,
SARS, MERS and others) or bacterial (0; Streptococcus, Legionella and others); images of neither are
left out of that one.

Images lie in `images/`; `metadata.csv` has their labels (`is_covid`, `is_viral`; or the
collection's own `finding`), patients and splits. Lists have lines `NAME label`, or `NAME other
covid` as REFERS has them. The division is one of these:

- `groups`: by lists `iscovid_train.txt`, `iscovid_val.txt` and `iscovid_test.txt` (`isviral_...`),
  else by the column `split`, else drawn. Patients are not torn apart, nor are a figure's panels.
- `mrm`: the first of MRM's five draws, by `covid1/iscovid_train.txt` and the like (`viral1/`), else
  by a column. It tears some patients apart.
- `refers`: REFERS's, by `train.txt`, `val.txt` and `test.txt`, else by a column; `covid` alone.

Source: Cohen et al., arXiv:2006.11988; lists as released with MRM (Zhou et al., ICLR 2023) and
REFERS (Zhou et al., 2022).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import cases, labelled, tables
from trainers.data.cases import Case, ListLine, Split

Question = Literal["covid", "viral"]
Division = Literal["groups", "mrm", "refers"]

PARTS = ("train", "val", "test")
VAL_SHARE, TEST_SHARE = 0.2, 0.2
"""Of the groups, where no list and no column says which."""
LABEL_COLUMNS = {
    "covid": ("is_covid", "covid", "label"),
    "viral": ("is_viral", "viral", "label"),
}
SPLIT_COLUMNS = {
    "covid": {"groups": "split", "mrm": "mrm_covid1_split", "refers": "refers_split"},
    "viral": {"groups": "split", "mrm": "mrm_viral1_split"},
}
LISTS = {
    "covid": {"groups": "iscovid_{}.txt", "mrm": "covid1/iscovid_{}.txt", "refers": "{}.txt"},
    "viral": {"groups": "isviral_{}.txt", "mrm": "viral1/isviral_{}.txt"},
}
TITLES = {
    "groups": "by patient group",
    "mrm": "MRM's first lists",
    "refers": "REFERS's lists",
}
_VIRAL = re.compile(r"viral|covid|sars|mers\b|influenza|varicella|herpes", re.IGNORECASE)
_BACTERIAL = re.compile(
    r"bacterial|strepto|staphylo|klebsiella|legionella|e\.coli|mycoplasma|chlamyd|nocardia",
    re.IGNORECASE,
)
_UNTOLD = ("", "todo", "unknown")


class Row(NamedTuple):
    """What `metadata.csv` says of one image."""

    name: str
    patient: str
    label: int | None
    """None where the question does not apply to it."""
    cells: Mapping[str, str]
    line: int


def read(
    data_path: Path,
    question: Question,
    ratio: int,
    *,
    division: Division = "groups",
    seed: int = 0,
    allow_overlap: bool = False,
) -> Split:
    """Return the cases of `data_path` that `ratio` percent of the labels leave to train on.

    Args:
        data_path: the data set's folder.
        question: `covid` or `viral`.
        ratio: percent of the training images, drawn by group.
        division: the published ones may tear a group apart; the facts then say how many.
        seed: of whatever is drawn.
        allow_overlap: take `groups` that share images or patients as well.

    Raises:
        MissingError: the folder, its images, or what the division needs is not there.
        InputError: a list or the table is not what it should be, a group is torn apart by lists
            that should not, or a part to be tested on has images of one label only.
    """
    table = data_path / "metadata.csv"
    rows = read_table(table, question) if table.is_file() else {}
    facts: dict[str, Any] = {"split": TITLES[division], "division": division}
    if rows:
        facts["table"] = {"file": table.name, "sha256": tables.sha256(table)}
    else:
        facts["patients"] = "not known: each image counts as a patient of its own"
    paths = _lists(data_path, question, division)
    column = SPLIT_COLUMNS[question].get(division, "")
    if paths:
        parts = [_listed(path, rows) for path in paths]
        facts["lists"] = [cases.list_facts(p, part) for p, part in zip(paths, parts, strict=True)]
        facts["by"] = "lists"
    elif not rows:
        needed = LISTS[question].get(division, "").format("train")
        raise MissingError(f"{data_path} holds no `metadata.csv` and no `{needed}`")
    elif _serves(rows, column, whole=division == "groups"):
        parts = _by_column(rows, column)
        facts["by"] = f"column `{column}`"
    elif division == "groups":
        parts = _drawn(rows, seed)
        facts["by"] = (
            f"drawn by group, stratified by label, seed {seed}: {VAL_SHARE:.0%} of the groups to "
            f"validate, {TEST_SHARE:.0%} to test"
        )
    else:
        raise MissingError(f"{table} has no column `{column}` that divides `{question}`")
    parts = _with_images(parts, data_path)
    found = Split(*parts, facts)
    cases.refuse_leaks(found, allow_overlap=allow_overlap or division != "groups")
    _need_both(found, data_path, question, division)
    train, facts["ratio"] = cases.take_ratio(None, found.train, ratio, seed=seed)
    found = Split(train, found.val, found.test, facts)
    cases.count(found)
    return found


def read_table(path: Path, question: Question) -> dict[str, Row]:
    """Return what `metadata.csv` says of each radiograph, by name.

    Of the collection's own table, which has CT slices and lateral views as well, frontal
    radiographs are kept.

    Raises:
        MissingError: no such file.
        InputError: it is no such table, a label is neither 0 nor 1, or an image is there twice with
            different labels; the message names file and line.
    """
    found: dict[str, Row] = {}
    own = LABEL_COLUMNS[question][0]
    for line, cells in tables.rows(path, ()):
        image = next((c for c in ("image_path", "filename") if c in cells), None)
        if image is None or not (own in cells or "finding" in cells):
            raise InputError(
                f"{path}:1: expected the columns image_path and {own}, or filename and finding, "
                f"among {', '.join(cells)}"
            )
        name = cases.bare_name(cells[image].strip())
        if not name:
            raise InputError(f"{path}:{line}: `{image}` is empty")
        if not _is_frontal(cells):
            continue
        patient = (cells.get("patient_id") or cells.get("patientid") or "").strip()
        label = _told(path, line, own, cells) if own in cells else _from_finding(cells, question)
        row = Row(name, patient or name, label, cells, line)
        first = found.setdefault(name, row)
        if first[:3] != row[:3]:
            raise InputError(
                f"{path}:{line}: image `{name}` is there twice with different labels or patients, "
                f"first at line {first.line}"
            )
    return found


def patients(root: Path) -> dict[str, str]:
    """Return the patient of each image that `metadata.csv` names; empty without that file."""
    table = root / "metadata.csv"
    rows = read_table(table, "covid").values() if table.is_file() else ()
    return {row.name: row.patient for row in rows}


def _is_frontal(cells: Mapping[str, str]) -> bool:
    """Return False for what the collection's own table calls a CT slice, or a lateral view."""
    if cells.get("modality", "X-ray").strip() != "X-ray":
        return False
    view = cells.get("view", "").strip().lower()
    return not view or view.startswith(("pa", "ap", "frontal"))


def _told(path: Path, line: int, column: str, cells: Mapping[str, str]) -> int | None:
    text = cells[column].strip()
    if text not in ("", "0", "1"):
        raise InputError(f"{path}:{line}: `{column}` is `{text}`; expected 0, 1, or nothing")
    return int(text) if text else None


def _from_finding(cells: Mapping[str, str], question: Question) -> int | None:
    """Return the label that a finding such as `Pneumonia/Viral/COVID-19` gives."""
    finding = cells["finding"].strip()
    if finding.lower() in _UNTOLD:
        return None
    if question == "covid":
        return int("covid" in finding.lower())
    viral, bacterial = _VIRAL.search(finding), _BACTERIAL.search(finding)
    return int(bool(viral)) if bool(viral) != bool(bacterial) else None


def _lists(root: Path, question: Question, division: Division) -> list[Path]:
    """Return the three lists of a division; empty where there is none, or it has none."""
    form = LISTS[question].get(division)
    if form is None:
        raise InputError(f"there are no lists `{division}` for `{question}`")
    return cases.needed_lists(root, [form.format(part) for part in PARTS]) or []


def _listed(path: Path, rows: Mapping[str, Row]) -> list[Case]:
    found = []
    for line in cases.read_list(path):
        name, label = _label_of(path, line)
        patient = rows[name].patient if name in rows else name
        found.append(Case(name, patient, Path(name), (label,)))
    return found


def _label_of(path: Path, line: ListLine) -> tuple[str, int]:
    """Return name and label of a line `NAME label`, or `NAME other covid`."""
    # one line of MRM's viral1/isviral_test.txt reads `gr1_lrg-a.jpg 11`
    misprint = re.fullmatch(r"(.+) 11", line.name)
    if misprint and not line.fields:
        return cases.bare_name(misprint[1]), 1
    if line.fields not in (("0",), ("1",), ("1", "0"), ("0", "1")):
        raise InputError(
            f"{path}:{line.number}: labels of `{line.name}` are `{' '.join(line.fields)}`; "
            "expected `0` or `1`, or one of two columns"
        )
    return line.name, int(line.fields[-1])


def _serves(rows: Mapping[str, Row], column: str, *, whole: bool) -> bool:
    """Return whether `column` names a part; a `whole` division must have both labels in each."""
    labels: dict[str, set[int]] = {part: set() for part in PARTS}
    for row in rows.values():
        part = row.cells.get(column, "").strip()
        if row.label is not None and part in labels:
            labels[part].add(row.label)
    return all(len(said) == 2 for said in labels.values()) if whole else any(labels.values())


def _by_column(rows: Mapping[str, Row], column: str) -> list[list[Case]]:
    cells = [(row.cells.get(column, "").strip(), case) for row, case in _labelled(rows)]
    return [[case for said, case in cells if said == part] for part in PARTS]


def _drawn(rows: Mapping[str, Row], seed: int) -> list[list[Case]]:
    test, rest = cases.draw([case for _, case in _labelled(rows)], TEST_SHARE, seed=seed)
    val, train = cases.draw(rest, VAL_SHARE / (1 - TEST_SHARE), seed=seed)
    return [train, val, test]


def _labelled(rows: Mapping[str, Row]) -> list[tuple[Row, Case]]:
    return [
        (row, Case(row.name, row.patient, Path(row.name), (row.label,)))
        for row in rows.values()
        if row.label is not None
    ]


def _with_images(parts: Sequence[list[Case]], root: Path) -> list[list[Case]]:
    folder = root / "images" if (root / "images").is_dir() else root
    found = labelled.find_images(folder, {case.name for part in parts for case in part})
    if not found:
        raise MissingError(f"none of the {sum(map(len, parts))} images is in {folder}")
    # an image that is not there is named, and skipped, when its item is asked for
    return [
        [case._replace(image=found.get(case.name, folder / f"{case.name}.jpg")) for case in part]
        for part in parts
    ]


def _need_both(split: Split, root: Path, question: Question, division: Division) -> None:
    for part, found in (("train", split.train), ("val", split.val), ("test", split.test)):
        labels = {case.labels for case in found}
        if len(labels) < 2:
            only = f"only label {labels.pop()[0]}" if labels else "no image"
            raise InputError(
                f"{root}: the {part} part of the split `{division}` of `{question}` has {only}, "
                "so AUROC is not defined; take another `--split`"
            )


def named(labels: Path, question: Question) -> list[Case]:
    """Return the cases that a label file names, whose images are yet to be found.

    Args:
        labels: a list `NAME label` or `NAME other covid`, `metadata.csv`, of which rows without a
            label are left out, or a csv table with the image's name and one of `LABEL_COLUMNS`.
        question: whose labels a table is asked for.

    Raises:
        MissingError: no such file.
        InputError: it is none of these; the message names the line.
    """
    if labels.is_file() and _is_metadata(labels, question):
        return [case for _, case in _labelled(read_table(labels, question))]
    if labels.is_file() and labels.suffix == ".txt":
        return _listed(labels, {})
    found = []
    for row in labelled.read_labels(labels, [LABEL_COLUMNS[question]]):
        line = ListLine(row.name, tuple(map(str, row.labels)), row.line)
        name, label = _label_of(labels, line)
        found.append(Case(name, row.patient, Path(name), (label,)))
    return found


def _is_metadata(path: Path, question: Question) -> bool:
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = re.split(r"[,;\t]", file.readline().strip())
    known = {"image_path", LABEL_COLUMNS[question][0]}, {"filename", "finding"}
    return any(columns <= set(header) for columns in known)
