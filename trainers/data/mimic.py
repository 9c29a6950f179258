"""What does MIMIC-CXR-JPG look like as PhysioNet ships it?

`files/pXX/pSUBJECT/sSTUDY/DICOM.jpg`, the tables `mimic-cxr-2.0.0-metadata.csv` and `-split.csv`
(packed with gzip or not), and the reports `files/pXX/pSUBJECT/sSTUDY.txt` in the same folder, or
below `reports/` or `mimic-cxr-reports/`, as the separate archive unpacks them.
Source: https://physionet.org/content/mimic-cxr-jpg/ and https://physionet.org/content/mimic-cxr/.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from trainers.config import InputError, MissingError
from trainers.data import tables

REPORT_FOLDERS = (".", "reports", "mimic-cxr-reports")


class MimicImage(NamedTuple):
    """One row of the metadata table with what belongs to it."""

    path: Path
    report: str
    """As it is in the file, with its line breaks."""
    subject: str
    study: str
    split: str
    where: str
    """File and line of its row."""


def is_tree(root: Path) -> bool:
    """Return whether `root` looks like MIMIC-CXR-JPG."""
    return (root / "files").is_dir() and _table(root, "metadata") is not None


def _table(root: Path, name: str) -> Path | None:
    found = sorted(root.glob(f"mimic-cxr-2*-{name}.csv")) + sorted(
        root.glob(f"mimic-cxr-2*-{name}.csv.gz")
    )
    return found[0] if found else None


def _needed(root: Path, name: str) -> Path:
    found = _table(root, name)
    if found is None:
        raise MissingError(f"{root} holds no `mimic-cxr-2.0.0-{name}.csv` (or `.csv.gz`)")
    return found


def image_path(root: Path, subject: str, study: str, dicom: str) -> Path:
    """Return where an image lies; subject and study without their letters."""
    return root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}" / f"{dicom}.jpg"


def report_path(root: Path, subject: str, study: str) -> Path:
    """Return where a study's report lies below one of the report folders."""
    return root / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"


def read(root: Path) -> tuple[list[MimicImage], dict[str, Any]]:
    """Return every image of the metadata table whose report is there, and facts about them.

    Opens each study's report once; 227,000 of them take about ten seconds on a local disk and
    much longer over a network.

    Raises:
        MissingError: a table or every report is missing.
        InputError: a table is not what it should be, or an image has no split.
    """
    metadata, split_table = _needed(root, "metadata"), _needed(root, "split")
    splits = {
        row["dicom_id"]: row["split"]
        for _, row in tables.rows(split_table, ("dicom_id", "study_id", "subject_id", "split"))
    }
    reports: dict[str, str | None] = {}
    images, missing = [], 0
    for line, row in tables.rows(metadata, ("dicom_id", "subject_id", "study_id")):
        dicom, subject, study = row["dicom_id"], row["subject_id"], row["study_id"]
        where = f"{metadata}:{line}"
        if dicom not in splits:
            raise InputError(f"{where}: image `{dicom}` has no row in {split_table.name}")
        if study not in reports:
            reports[study] = _report(root, subject, study)
        report = reports[study]
        if report is None:
            missing += 1
            continue
        path = image_path(root, subject, study, dicom)
        images.append(MimicImage(path, report, subject, study, splits[dicom], where))
    if not images:
        raise MissingError(
            f"{root} holds no report at `files/pXX/pSUBJECT/sSTUDY.txt`; unpack the reports "
            "archive there or below `reports/`"
        )
    facts = {
        "table": metadata.name,
        "sha256": tables.sha256(metadata),
        "split_table": split_table.name,
        "split_sha256": tables.sha256(split_table),
        "patients_from": "column subject_id",
        "without_report": missing,
    }
    return images, facts


def _report(root: Path, subject: str, study: str) -> str | None:
    for folder in REPORT_FOLDERS:
        path = report_path(root / folder, subject, study)
        try:
            return path.read_text(encoding="utf-8-sig")
        except FileNotFoundError:
            continue
        except UnicodeDecodeError:
            raise InputError(f"{path} is not UTF-8 text") from None
    return None
