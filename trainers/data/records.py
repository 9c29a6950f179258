"""Which radiographs and reports is an encoder pre-trained on, and which are held out?

Reads MRM's `training.csv`, MIMIC-CXR-JPG as PhysioNet ships it (`mimic`), or a prepared copy of
either (`prepared`).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import fingerprint, mimic, prepared, sections, split_lists, store, tables
from trainers.data.sections import TextField

VALIDATION_SHARE = 0.05
"""Of the patients, where the table has no column `split`."""

SPLITS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validate": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
}
_MIMIC_PATH = re.compile(r"(?:^|/)p(\d{8})/s(\d{8})/")
_LOOK_AT = 16
MOST_WORDS = 4
"""Of what a patient is called."""
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")


class Record(NamedTuple):
    """One radiograph with its report."""

    image: Path
    report: str
    """On one line; never empty."""
    patient: str
    study: str


@dataclass(frozen=True)
class Records:
    """What there is to pre-train on, and what was found on the way."""

    train: list[Record]
    val: list[Record]
    test: list[Record]
    """What the table marks so; pre-training leaves it alone."""
    facts: dict[str, Any]
    """Counts, the table's SHA-256, and the rule by which `val` was held out; JSON."""


class Row(NamedTuple):
    """One row of a table: where it stands, its record with the report as written, its split."""

    where: str
    record: Record
    split: str | None


class Rows(NamedTuple):
    """Everything that a folder of records holds, before anything is left out."""

    root: Path
    """The folder that images are named from."""
    table: Path
    rows: list[Row]
    facts: dict[str, Any]


def read_records(
    data_path: Path,
    *,
    allow_overlap: bool = False,
    text_field: TextField = "raw",
    lists: Path | None = None,
) -> Records:
    """Return the records in `data_path`: a csv file, or a folder with `training.csv` or `files/`.

    Rows whose report is empty are left out and counted. Image files are not opened; a few are
    looked for, so that a wrong folder is noticed at once.

    Args:
        data_path: the csv file or the folder.
        allow_overlap: take tables in which two splits share images or patients; the facts then
            say how many.
        text_field: the part of each report that is kept; the facts say how often another had to
            stand in for it.
        lists: folder with REFERS's split lists, to keep the studies they name alone.

    Raises:
        MissingError: the folder, the table or every image looked for is not there.
        InputError: a table is not what it should be, an image has two reports or two splits, or a
            patient is both trained and validated on.
    """
    return sort_out(
        read_rows(data_path), allow_overlap=allow_overlap, text_field=text_field, lists=lists
    )


def read_rows(data_path: Path, *, official: bool = False) -> Rows:
    """Return every row in `data_path`, reports with their line breaks, and the fingerprint.

    Args:
        data_path: as in `read_records`.
        official: read PhysioNet's own tables, with their split, where MRM's table lies beside them.

    Raises:
        MissingError: the folder or the table is not there.
        InputError: a table is not what it should be.
    """
    table = data_path if data_path.suffix == ".csv" else data_path / "training.csv"
    known = prepared.read(table.parent)
    tree = mimic.is_tree(data_path)
    if table.is_file() and not (official and tree):
        rows, facts = _read_csv(table)
        root = table.parent
    elif tree:
        rows, facts = _read_mimic(data_path)
        root, table = data_path, data_path / facts["table"]
    elif not data_path.exists():
        raise MissingError(f"{data_path} does not exist")
    elif prepared.is_begun(data_path):
        raise MissingError(f"{data_path} is a prepared copy that is not finished; prepare it again")
    else:
        raise MissingError(
            f"{data_path} holds neither `training.csv` nor `files/` with "
            "`mimic-cxr-2.0.0-metadata.csv` and `mimic-cxr-2.0.0-split.csv`"
        )
    if known:
        facts |= prepared.facts(known, table, facts["sha256"])
    else:
        facts["fingerprint"] = _fingerprint(rows, root)
    return Rows(root, table, rows, facts)


def sort_out(
    read: Rows,
    *,
    allow_overlap: bool = False,
    text_field: TextField = "raw",
    lists: Path | None = None,
) -> Records:
    """Return the records that the rows `read` come to; arguments and errors as `read_records`."""
    found, facts = read.rows, dict(read.facts)
    if lists is not None:
        found, facts["split_lists"] = _listed(found, lists)
    found, facts["report_text"] = _with_text(found, text_field)
    kept = [row for row in found if row.record.report]
    facts["empty_reports"] = len(found) - len(kept)
    kept, facts["repeated_rows"] = _without_repeats(kept)
    if not allow_overlap:
        _refuse_overlap(kept)
    if not kept:
        raise InputError(f"{read.table} has no row with a report")
    _look_for_images([row.record.image for row in kept])
    return _divide(kept, facts, read.root)


def name_of(image: Path, root: Path) -> str:
    """Return an image's path from `root`, or in full where it lies elsewhere."""
    whole, start = image.as_posix(), root.as_posix().rstrip("/") + "/"
    return whole.removeprefix(start if start != "./" else "")


def _fingerprint(rows: Sequence[Row], root: Path) -> str:
    sizes = fingerprint.file_sizes([row.record.image for row in rows])
    return fingerprint.of_rows(
        (
            name_of(row.record.image, root),
            str(size),
            fingerprint.of_text(row.record.report),
            row.split or "",
        )
        for row, size in zip(rows, sizes, strict=True)
    )


def _listed(rows: Sequence[Row], folder: Path) -> tuple[list[Row], dict[str, Any]]:
    lists = split_lists.read(folder)
    kept = []
    for row in rows:
        split = lists.split_of(row.record.patient, row.record.study, row.split)
        if split is not None:
            kept.append(row._replace(split=split))
    facts = lists.facts({(row.record.patient, row.record.study) for row in rows})
    if not kept:
        raise InputError(f"{folder}: none of the {facts['listed']} studies listed is in the data")
    return kept, facts | {"rows_left_out": len(rows) - len(kept)}


def _with_text(rows: Sequence[Row], field: TextField) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows with the part of their reports that is asked for, on one line."""
    picked = {report: sections.pick(report, field) for report in {r.record.report for r in rows}}
    facts: dict[str, Any] = {"field": field}
    if field != "raw":
        facts["from"] = sections.count_sources(picked[row.record.report] for row in rows)
    lines = {report: _one_line(one.text) for report, one in picked.items()}
    # built anew and not by `_replace`, which takes twice as long, 370,000 times
    records = (
        Record(r.image, lines[r.report], r.patient, r.study) for r in (x.record for x in rows)
    )
    return [Row(x.where, record, x.split) for x, record in zip(rows, records, strict=True)], facts


def _read_csv(table: Path) -> tuple[list[Row], dict[str, Any]]:
    found = []
    patients = "column patient_id"
    for line, row in tables.rows(table, ("image_path", "report_content")):
        name, where = row["image_path"].strip(), f"{table}:{line}"
        if not name:
            raise InputError(f"{where}: `image_path` is empty")
        if len(name.split()) > 1 and not name.lower().endswith(IMAGE_ENDINGS):
            raise InputError(f"{where}: `image_path` is {tables.quoted(name)}; expected an image")
        in_path = _MIMIC_PATH.search(name)
        if "patient_id" in row:
            patient = row["patient_id"].strip()
            if not patient:
                raise InputError(f"{where}: `patient_id` is empty")
            if len(patient.split()) > MOST_WORDS:
                said = tables.quoted(patient)
                raise InputError(f"{where}: `patient_id` is {said}; expected who it is")
        elif in_path:
            patient, patients = in_path[1], "folder names"
        else:
            patient, patients = name, "unknown: each image counts as a patient"
        study = row.get("study_id", "").strip() or (in_path[2] if in_path else name)
        record = Record(table.parent / name, row["report_content"], patient, study)
        found.append(Row(where, record, _split(row["split"], where) if "split" in row else None))
    return found, {"table": table.name, "sha256": tables.sha256(table), "patients_from": patients}


def _read_mimic(root: Path) -> tuple[list[Row], dict[str, Any]]:
    images, facts = mimic.read(root)
    rows = [
        Row(
            image.where,
            Record(image.path, image.report, image.subject, image.study),
            _split(image.split, image.where),
        )
        for image in images
    ]
    return rows, facts


def _one_line(report: str) -> str:
    return " ".join(report.split())


def _split(value: str, where: str) -> str:
    known = SPLITS.get(value.strip().lower())
    if known is None:
        said = tables.quoted(value)
        raise InputError(f"{where}: `split` is {said}; expected train, validate or test")
    return known


def _without_repeats(found: Sequence[Row]) -> tuple[list[Row], int]:
    """Return the rows without those that say again what an earlier one said, and how many."""
    first: dict[tuple[Path, str | None], Row] = {}
    for row in found:
        earlier = first.setdefault((row.record.image, row.split), row)
        if earlier.record.patient != row.record.patient:
            raise InputError(
                f"{row.where}: image {row.record.image} has a second patient; "
                f"the first is at {earlier.where}"
            )
        if earlier.record.report != row.record.report:
            raise InputError(
                f"{row.where}: image {row.record.image} has a second report; "
                f"the first is at {earlier.where}"
            )
    return list(first.values()), len(found) - len(first)


def _refuse_overlap(found: Sequence[Row]) -> None:
    """Raise `InputError` for the first image or patient that two splits share."""
    for what in ("image", "patient"):
        first: dict[object, Row] = {}
        for row in found:
            value = getattr(row.record, what)
            earlier = first.setdefault(value, row)
            if earlier.split != row.split:
                raise InputError(
                    f"{row.where}: {what} `{value}` is in {row.split}, but was in "
                    f"{earlier.split} at {earlier.where}"
                )


def _look_for_images(paths: Sequence[Path]) -> None:
    some = paths[:: max(1, len(paths) // _LOOK_AT)]
    if not any(store.is_there(path) for path in some):
        raise MissingError(f"none of {len(some)} images looked for exists; the first is {some[0]}")


def _divide(found: Sequence[Row], facts: dict[str, Any], root: Path) -> Records:
    train = [row.record for row in found if row.split in (None, "train")]
    val = [row.record for row in found if row.split == "val"]
    test = [row.record for row in found if row.split == "test"]
    if not train:
        raise InputError(f"{found[0].where.rpartition(':')[0]} has no row to train on")
    if val:
        facts["validation"] = "the rows marked so in `split`"
    else:
        train, val = _hold_out(train)
        facts["validation"] = (
            f"patients whose CRC-32 is in the lowest {VALIDATION_SHARE:.0%} of its range, "
            "at least one"
        )
    parts = {"train": train, "val": val, "test": test}
    facts["records"] = {name: len(part) for name, part in parts.items()}
    facts["split_sha256"] = {
        name: fingerprint.of_rows((name_of(r.image, root),) for r in part)
        for name, part in parts.items()
    }
    facts["patients"] = {name: len({r.patient for r in part}) for name, part in parts.items()}
    return Records(train, val, test, facts)


def _hold_out(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Divide by a digest of the patient, which stays the same when others are added."""
    digests = {r.patient: zlib.crc32(r.patient.encode()) for r in records}
    if len(digests) < 2:
        raise InputError(
            f"all {len(records)} records are of patient `{records[0].patient}`; "
            "expected two or more patients, so that one can be held out"
        )
    ordered = sorted(digests, key=lambda patient: (digests[patient], patient))
    below = sum(digest < VALIDATION_SHARE * 2**32 for digest in digests.values())
    held = set(ordered[: min(max(below, 1), len(ordered) - 1)])
    train = [r for r in records if r.patient not in held]
    return train, [r for r in records if r.patient in held]
