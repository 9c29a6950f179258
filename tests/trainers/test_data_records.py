"""Records: every csv a person may bring, and no patient on both sides."""

import csv
import gzip
import hashlib
import zlib
from pathlib import Path

import pytest

from trainers.config import InputError, MissingError
from trainers.data.records import read_records

REAL = Path("../shared/data")
needs_real = pytest.mark.skipif(
    not REAL.is_dir(), reason="the sample of real radiographs is not beside this checkout"
)


def write(folder, rows, columns=("image_path", "report_content"), delimiter=",", bom=False):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "training.csv"
    encoding = "utf-8-sig" if bom else "utf-8"
    with path.open("w", newline="", encoding=encoding) as file:
        out = csv.writer(file, delimiter=delimiter)
        out.writerow(columns)
        out.writerows(rows)
    for row in rows:
        (folder / row[0]).parent.mkdir(parents=True, exist_ok=True)
        (folder / row[0]).touch()
    return path


def rows(count):
    return [(f"images/{i}.jpg", f"Report {i}.") for i in range(count)]


def test_paths_are_relative_to_the_csv_and_may_hold_blanks_and_chinese(tmp_path):
    folder = tmp_path / "胸部 X 光"
    write(folder, [("图 像/甲 1.jpg", "正常\nnormal,  clear"), ("b.jpg", "Effusion.")])
    found = read_records(folder)
    by_name = {r.image.name: r for r in (*found.train, *found.val)}
    assert by_name["甲 1.jpg"].image == folder / "图 像/甲 1.jpg"
    assert by_name["甲 1.jpg"].report == "正常 normal, clear"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("bom", [False, True])
def test_a_byte_order_mark_and_other_delimiters_change_nothing(tmp_path, delimiter, bom):
    write(tmp_path, [*rows(5), ("c.jpg", 'He said: "a, b; c".')], delimiter=delimiter, bom=bom)
    found = read_records(tmp_path)
    assert found.facts["records"] == {"train": 5, "val": 1, "test": 0}
    assert 'He said: "a, b; c".' in {r.report for r in (*found.train, *found.val)}


def test_the_facts_hold_counts_and_the_tables_digest(tmp_path):
    path = write(tmp_path, [*rows(4), ("e.jpg", ""), ("f.jpg", " \n "), rows(1)[0]])
    facts = read_records(tmp_path).facts
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["empty_reports"] == 2
    assert facts["repeated_rows"] == 1
    assert facts["records"]["train"] + facts["records"]["val"] == 4


def test_without_a_split_patients_are_held_out_by_their_digest(tmp_path):
    columns = ("image_path", "report_content", "patient_id")
    table = [(f"{i}.jpg", "Clear.", f"p{i % 200}") for i in range(600)]
    write(tmp_path, table, columns)
    found = read_records(tmp_path)
    expected = {f"p{i}" for i in range(200) if zlib.crc32(f"p{i}".encode()) / 2**32 < 0.05}
    assert {r.patient for r in found.val} == expected
    assert not {r.patient for r in found.train} & expected
    assert len(found.train) + len(found.val) == 600
    write(tmp_path, [*table[:300], ("new.jpg", "Clear.", "newcomer")], columns)
    smaller = read_records(tmp_path)
    assert {r.patient for r in smaller.val} - {"newcomer"} == expected


def test_at_least_one_patient_is_held_out_and_one_is_left(tmp_path):
    write(tmp_path, rows(2))
    found = read_records(tmp_path)
    assert (len(found.train), len(found.val)) == (1, 1)
    write(tmp_path, rows(1))
    with pytest.raises(InputError, match="two or more patients"):
        read_records(tmp_path)


def test_the_split_column_is_followed_and_test_rows_are_not_trained_on(tmp_path):
    table = [
        (f"{i}.jpg", "Clear.", s)
        for i, s in enumerate(["train", "Validate", "test", "val", "train"])
    ]
    write(tmp_path, table, ("image_path", "report_content", "split"))
    found = read_records(tmp_path)
    assert [r.image.name for r in found.train] == ["0.jpg", "4.jpg"]
    assert [r.image.name for r in found.val] == ["1.jpg", "3.jpg"]
    assert [r.image.name for r in found.test] == ["2.jpg"]


def test_patients_are_read_from_mimics_folder_names(tmp_path):
    table = [(f"files/p10/p1000000{i // 2}/s5000000{i}/a.jpg", "Clear.") for i in range(6)]
    write(tmp_path, table)
    found = read_records(tmp_path)
    record = min((*found.train, *found.val), key=lambda r: r.image)
    assert (record.patient, record.study) == ("10000000", "50000000")
    assert sum(found.facts["patients"].values()) == 3


FAULTY = [
    ("image_path,report\na.jpg,x\n", r"training.csv:1: no column `report_content`"),
    ("image,report_content\na.jpg,x\n", r"did you mean `image`\?"),
    ("image_path,report_content\na.jpg,x\nb.jpg,x, y\n", r"training.csv:3: 3 fields; expected 2"),
    ('image_path,report_content\na.jpg,"x\ny"\nb.jpg\n', r"training.csv:4: 1 fields"),
    ("image_path,report_content\n,x\n", r"training.csv:2: `image_path` is empty"),
    ("image_path,report_content\na.jpg,x\na.jpg,y\n", r"training.csv:3: .*a.jpg has a second rep"),
    ("", r"training.csv is empty"),
    ("image_path,report_content\n", r"has no row with a report"),
    ("image_path,report_content,image_path\n", r"column `image_path` is there twice"),
    ("image_path,report_content,split\na.jpg,x,holdout\n", r"csv:2: `split` is `holdout`; exp"),
    ("image_path,report_content,patient_id\na.jpg,x,\n", r"csv:2: `patient_id` is empty"),
]


@pytest.mark.parametrize(("content", "message"), FAULTY)
def test_a_faulty_table_is_refused_with_file_and_line(tmp_path, content, message):
    (tmp_path / "training.csv").write_text(content)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match=message):
        read_records(tmp_path)


def test_a_table_that_is_not_utf8_is_refused_with_what_to_do(tmp_path):
    (tmp_path / "training.csv").write_bytes("image_path,report_content\na.jpg,正常\n".encode("gbk"))
    with pytest.raises(InputError, match=r"not UTF-8.*CSV UTF-8"):
        read_records(tmp_path)


def test_an_image_or_patient_in_two_splits_is_refused_unless_allowed(tmp_path):
    columns = ("image_path", "report_content", "patient_id", "split")
    write(tmp_path, [("a.jpg", "x", "p1", "train"), ("b.jpg", "x", "p1", "val")], columns)
    with pytest.raises(
        InputError, match=r"csv:3: patient `p1` is in val, but was in train at .*:2"
    ):
        read_records(tmp_path)
    write(tmp_path, [("a.jpg", "x", "p1", "train"), ("a.jpg", "x", "p1", "test")], columns)
    with pytest.raises(InputError, match=r"csv:3: image `.*a.jpg` is in test, but was in train"):
        read_records(tmp_path)
    write(
        tmp_path,
        [("a.jpg", "x", "p1", "train"), ("a.jpg", "x", "p1", "val"), ("c.jpg", "x", "p1", "val")],
        columns,
    )
    found = read_records(tmp_path, allow_overlap=True)
    assert found.facts["records"] == {"train": 1, "val": 2, "test": 0}


def test_a_wrong_folder_is_noticed_at_once(tmp_path):
    with pytest.raises(MissingError, match="nowhere does not exist"):
        read_records(tmp_path / "nowhere")
    with pytest.raises(MissingError, match=r"neither `training.csv` nor `files/`"):
        read_records(tmp_path)
    (tmp_path / "training.csv").write_text("image_path,report_content\na.jpg,x\nb.jpg,x\n")
    with pytest.raises(MissingError, match=r"none of 2 images looked for exists; .*a.jpg"):
        read_records(tmp_path)


IMAGES = [  # dicom, subject, study, split
    ("aa-1", "10000001", "50000001", "train"),
    ("aa-2", "10000001", "50000001", "train"),
    ("bb-1", "10000002", "50000002", "validate"),
    ("cc-1", "11000003", "50000003", "test"),
    ("dd-1", "11000004", "50000004", "train"),
    ("ee-1", "11000005", "50000005", "train"),
]
TEXTS = {"50000001": "FINAL REPORT\n \n Clear.", "50000002": "Effusion.", "50000003": "Mass."}


def write_mimic(root, reports="", packed=True):
    for dicom, subject, study, _ in IMAGES:
        folder = root / "files" / f"p{subject[:2]}" / f"p{subject}"
        (folder / f"s{study}").mkdir(parents=True, exist_ok=True)
        (folder / f"s{study}" / f"{dicom}.jpg").touch()
        texts = TEXTS | {"50000005": "  \n"}
        if study in texts:
            text = root / reports / "files" / f"p{subject[:2]}" / f"p{subject}" / f"s{study}.txt"
            text.parent.mkdir(parents=True, exist_ok=True)
            text.write_text(texts[study])
    tables = {
        "metadata": ["dicom_id,subject_id,study_id,ViewPosition"]
        + [f"{d},{p},{s},PA" for d, p, s, _ in IMAGES],
        "split": ["dicom_id,study_id,subject_id,split"]
        + [f"{d},{s},{p},{part}" for d, p, s, part in IMAGES],
    }
    for name, lines in tables.items():
        content = ("\n".join(lines) + "\n").encode()
        path = root / f"mimic-cxr-2.0.0-{name}.csv"
        if packed:
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content))
        else:
            path.write_bytes(content)


@pytest.mark.parametrize("reports", ["", "reports", "mimic-cxr-reports"])
@pytest.mark.parametrize("packed", [True, False])
def test_mimic_is_read_as_physionet_ships_it(tmp_path, reports, packed):
    write_mimic(tmp_path, reports, packed)
    found = read_records(tmp_path)
    assert [(r.image.stem, r.patient, r.study) for r in found.train] == [
        ("aa-1", "10000001", "50000001"),
        ("aa-2", "10000001", "50000001"),
    ]
    assert found.train[0].image.is_file()
    assert found.train[0].report == "FINAL REPORT Clear."
    assert [r.image.stem for r in found.val] == ["bb-1"]
    assert [r.image.stem for r in found.test] == ["cc-1"]
    assert found.facts["without_report"] == 1
    assert found.facts["empty_reports"] == 1


def test_mimic_without_reports_or_with_an_image_without_a_split_is_refused(tmp_path):
    write_mimic(tmp_path, packed=False)
    split = tmp_path / "mimic-cxr-2.0.0-split.csv"
    whole = split.read_text()
    split.write_text(whole.replace("bb-1,", "xx-1,"))
    with pytest.raises(InputError, match=r"metadata.csv:4: image `bb-1` has no row"):
        read_records(tmp_path)
    split.write_text(whole)
    for text in tmp_path.rglob("*.txt"):
        text.unlink()
    with pytest.raises(MissingError, match="unpack the reports"):
        read_records(tmp_path)
    split.unlink()
    with pytest.raises(MissingError, match=r"2.0.0-split.csv"):
        read_records(tmp_path)


def test_a_torn_archive_is_refused(tmp_path):
    write_mimic(tmp_path)
    path = tmp_path / "mimic-cxr-2.0.0-split.csv.gz"
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(InputError, match=r"split.csv.gz cannot be unpacked"):
        read_records(tmp_path)


@pytest.mark.data
@needs_real
def test_real_pairs_are_read_with_their_published_split():
    found = read_records(REAL / "pairs.csv")
    assert found.facts["records"] == {"train": 551, "val": 82, "test": 15}
    whole = read_records(REAL)
    assert len(whole.train) + len(whole.val) == 551
    assert all(r.image.is_file() for r in (*whole.train, *whole.val))
