"""REFERS's lists: trained on what `train.txt` names, held out what `test.txt` does."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from trainers.config import InputError, MissingError
from trainers.data import split_lists
from trainers.data.records import read_records

STUDIES = [  # patient, study, images, official split
    ("10000001", "50000001", 2, "train"),
    ("10000001", "50000002", 1, "train"),
    ("10000002", "50000003", 1, "train"),
    ("11000003", "50000004", 1, "validate"),
    ("11000004", "50000005", 2, "test"),
    ("11000005", "50000006", 1, "validate"),
]


def line(patient: str, study: str) -> str:
    return f"/data/MIMIC/files/p{patient[:2]}/p{patient}/s{study}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """MIMIC-CXR-JPG in miniature."""
    root = tmp_path / "mimic"
    rows = []
    for patient, study, images, split in STUDIES:
        folder = root / "files" / f"p{patient[:2]}" / f"p{patient}" / f"s{study}"
        folder.mkdir(parents=True)
        folder.with_suffix(".txt").write_text("FINDINGS: Clear.\n")
        for number in range(images):
            (folder / f"{study}-{number}.jpg").touch()
            rows.append((f"{study}-{number}", patient, study, split))
    tables = {
        "metadata": [("dicom_id", "subject_id", "study_id"), *(row[:3] for row in rows)],
        "split": [("dicom_id", "subject_id", "study_id", "split"), *rows],
    }
    for name, lines in tables.items():
        with (root / f"mimic-cxr-2.0.0-{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(lines)
    return root


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Lists that leave a study of each kind out, and name one that is nowhere."""
    folder = tmp_path / "lists"
    folder.mkdir()
    named = [STUDIES[0], STUDIES[2], ("19999999", "59999999", 1, "")]
    (folder / "train.txt").write_text("".join(line(*study[:2]) for study in named))
    (folder / "test.txt").write_text("".join(line(*study[:2]) for study in STUDIES[3:5]))
    return folder


def test_the_listed_studies_are_trained_on_and_held_out_and_no_others(
    tree: Path, lists: Path
) -> None:
    found = read_records(tree, lists=lists)
    assert [r.study for r in found.train] == ["50000001", "50000001", "50000003"]
    assert [r.study for r in found.val] == ["50000004"]
    assert [r.study for r in found.test] == ["50000005", "50000005"]
    facts = found.facts["split_lists"]
    assert (facts["listed"], facts["found"], facts["rows_left_out"]) == (5, 4, 2)
    assert set(facts["sha256"]) == {"train.txt", "test.txt"}


def test_without_a_test_list_the_official_held_out_studies_are_held_out(
    tree: Path, lists: Path
) -> None:
    (lists / "test.txt").unlink()
    found = read_records(tree, lists=lists)
    assert [r.study for r in found.val] == ["50000004", "50000006"]
    assert [r.study for r in found.test] == ["50000005", "50000005"]
    assert [r.study for r in found.train] == ["50000001", "50000001", "50000003"]


def test_a_study_that_the_official_split_holds_out_is_never_trained_on(
    tree: Path, lists: Path
) -> None:
    with (lists / "train.txt").open("a") as file:
        file.write(line(*STUDIES[5][:2]))
    (lists / "test.txt").write_text(line(*STUDIES[1][:2]) + line(*STUDIES[3][:2]))
    found = read_records(tree, lists=lists)
    studies = {r.study for part in (found.train, found.val, found.test) for r in part}
    assert "50000006" not in studies  # validated on officially
    assert "50000002" not in studies  # trained on officially


def test_a_table_without_a_split_takes_it_from_the_lists(tmp_path: Path, lists: Path) -> None:
    with (tmp_path / "training.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["image_path", "report_content"])
        for patient, study, *_ in STUDIES:
            name = f"files/p{patient[:2]}/p{patient}/s{study}/x.jpg"
            (tmp_path / name).parent.mkdir(parents=True)
            (tmp_path / name).touch()
            out.writerow([name, "Clear."])
    found = read_records(tmp_path, lists=lists)
    assert [r.study for r in found.train] == ["50000001", "50000003"]
    assert [r.study for r in found.val] == ["50000004", "50000005"]


@pytest.mark.parametrize(
    ("train", "test", "says"),
    [
        ("files/p10/p10000001\n", None, r"train.txt:1: `files/p10/p10000001` names no study"),
        ("\n \n", None, r"train.txt is empty"),
        (line("1", "5"), line("2", "6") + line("1", "5"), r"test.txt:2: .*`p1/s5`.*train.txt:1"),
        (line("1", "5"), line("1", "6"), r"none of the 2 studies listed is in the data"),
    ],
)
def test_lists_that_cannot_be_right_are_refused_with_the_line(
    tree: Path, tmp_path: Path, train: str, test: str | None, says: str
) -> None:
    folder = tmp_path / "wrong"
    folder.mkdir()
    (folder / "train.txt").write_text(train)
    if test is not None:
        (folder / "test.txt").write_text(test)
    with pytest.raises(InputError, match=says):
        read_records(tree, lists=folder)


def test_other_line_ends_marks_and_slashes_change_nothing(lists: Path) -> None:
    before = split_lists.read(lists)
    text = (lists / "train.txt").read_text()
    written = "\ufeff" + text.replace("\n", "/\r\n").replace("/data", "D:\\data")
    (lists / "train.txt").write_bytes(written.encode())
    after = split_lists.read(lists)
    assert (after.train, after.test) == (before.train, before.test)
    assert split_lists.digest(lists)


def test_a_folder_without_lists_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"holds no `train.txt`"):
        split_lists.digest(tmp_path)
